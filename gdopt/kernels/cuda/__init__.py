"""Prints programs as CUDA C for `cupy.ElementwiseKernel`, and launches them."""

from gdopt.arrays.dtypes import Storage
from gdopt.exports import public_dir
from gdopt.kernels.cuda.engine import Cuda, Launch, as_bits
from gdopt.kernels.cuda.fused import KernelVariant, print_fused, print_kernel
from gdopt.kernels.cuda.prologue import (
    PrologueOptions,
    pack_width,
    print_lanes,
    print_prologue,
    print_totals,
    split_hoisted,
)
from gdopt.kernels.cuda.text import KernelText

__all__ = [
    "Cuda",
    "KernelText",
    "KernelVariant",
    "Launch",
    "PrologueOptions",
    "Storage",
    "as_bits",
    "pack_width",
    "print_fused",
    "print_kernel",
    "print_lanes",
    "print_prologue",
    "print_totals",
    "split_hoisted",
]
__dir__ = public_dir(__name__)
