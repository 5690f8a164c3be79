"""Runs rules on a GPU: one launch for each dtype, and nothing that waits for it."""
