"""Engines of the CPU: blocks of NumPy, and loops of Numba."""
