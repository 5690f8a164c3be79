"""What CuPy leaves to be called by hand: cuBLAS and CUDA graphs."""
