"""Losses with their gradients, and the penalty on weights."""
