"""Batches to try, and what trials show: speed, and the noise of the gradients."""
