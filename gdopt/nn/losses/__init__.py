"""Costs with their gradients, and what weights cost."""
