"""Checkpoints, and what a resumed run needs."""
