"""Prints a program as a kernel for arrays of any strides, an element a thread.

Every array is read into a local, everything is computed, then all is written, so that
possible aliasing costs no second load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.kernels.cuda.text import (
    C_TYPES,
    KernelText,
    print_statements,
    scalar_names,
    value_name,
)
from gdopt.kernels.trace import Program


def print_kernel(
    program: Program, dtypes: Sequence[Any], compute: Any, *, table: bool = False
) -> KernelText:
    """Print a program as the text of an element-wise kernel.

    Args:
        program: the traced rule.
        dtypes: in which each input is stored.
        compute: the dtype of the arithmetic, float32 or float64.
        table: read the hoisted values from an array on the device, not by value.
    """
    compute = np.dtype(compute).name
    kind = C_TYPES[compute]
    inputs, outputs, body = list[str](), list[str](), list[str]()
    for place, (symbol, dtype) in enumerate(zip(program.inputs, dtypes, strict=True)):
        group = outputs if program.writes(place) else inputs
        group.append(f"{np.dtype(dtype).name} {symbol.name}")
        if program.reads(symbol):
            body.append(f"const {kind} {value_name(symbol.name)} = {symbol.name};")
    names = {symbol: value_name(symbol.name) for symbol in program.inputs}
    names |= scalar_names(program.places)
    if table:
        inputs.append(f"raw {compute} scalars_")
        body += [
            f"const {kind} s{k} = scalars_[{k}];" for k in range(len(program.hoisted))
        ]
    else:
        inputs += [f"{compute} s{k}" for k in range(len(program.hoisted))]
    body += print_statements(program.tape, names, kind)
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{program.inputs[place].name} = {names[result]};")
    return KernelText(
        ", ".join(inputs), ", ".join(outputs), "\n".join(body), f"gdopt_{program.name}"
    )
