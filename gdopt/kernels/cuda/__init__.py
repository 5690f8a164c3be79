"""Prints programs as CUDA C for `cupy.ElementwiseKernel`, and launches them."""
