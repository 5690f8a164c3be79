"""Every variant in which a rule's kernel is printed, and what its text takes."""

from dataclasses import replace

from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda.fused import KernelVariant, print_fused, print_kernel
from gdopt.kernels.cuda.text import BYTES

# Parameter and gradient, state, and the dtype of a copy where there is a master.
STORAGE = {
    "float32": ("float32", "float32", None),
    "float64": ("float64", "float64", None),
    "float16": ("float16", "float32", None),
    "bfloat16": ("bfloat16", "float32", None),
    "float32, random state": ("float32", "bfloat16", None),
    "bfloat16, all random": ("bfloat16", "bfloat16", None),
    "float16, master": ("float16", "float32", "float16"),
    "bfloat16, master, random state": ("bfloat16", "bfloat16", "bfloat16"),
}
LAYOUTS = ("arena", "apart", "parameters in an arena", "strided")
VALUES = {
    "by value": {},
    "by a table": {"table": True},
    "by name": {"table": True, "rows": True},
    "gated": {"table": True, "may_skip": True, "device_counter": True},
    "all": {"table": True, "rows": True, "may_skip": True, "device_counter": True},
}


def stored_inputs(program, storage, layout="arena"):
    """Say how each input of a step is stored: parameter, state, gradient."""
    parameter, state, copy = STORAGE[storage]
    count = len(program.results)
    compute = "float64" if parameter == "float64" else "float32"
    own = compute if copy else parameter
    random = storage.endswith("all random")
    stored, draw = [], 0
    for place in range(len(program.inputs)):
        if place == 0:
            kind, at_random = own, random
        elif place < count:
            kind, at_random = state, True
        elif place == count:
            kind, at_random = parameter, False
        else:
            kind, at_random = compute, False
        draws = at_random and kind == "bfloat16"
        stored.append(Storage(kind, draw if draws else None))
        draw += draws
    separate = layout in {"apart", "strided"}
    if separate and not copy:
        stored[0] = replace(stored[0], separate=True)
    if layout != "arena" and count < len(stored):
        stored[count] = replace(stored[count], separate=True)
    return tuple(stored), (Storage(copy, separate=separate) if copy else None), compute


def variant_of(program, storage, layout="arena", values="by value"):
    """Make a variant of a kernel."""
    stored, copy, compute = stored_inputs(program, storage, layout)
    strided = layout == "strided" and any(one.separate for one in stored)
    return KernelVariant(stored, compute, copy=copy, strided=strided, **VALUES[values])


def text_of(program, storage, layout="arena", values="by value"):
    """Print a kernel in one of its variants."""
    return print_fused(program, variant_of(program, storage, layout, values))


def strided_text(program, dtype, compute):
    """Print the kernel for arrays of any strides."""
    return print_kernel(
        program, KernelVariant((Storage(dtype),) * len(program.inputs), compute)
    )


def pack_bytes(variant):
    """Return the bytes that a thread moves of each array of a pass."""
    return [variant.width * BYTES[one.dtype] for one in variant.all_stored]
