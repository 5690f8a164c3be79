"""Describes a kernel: its formula, what it costs, and what is printed of it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cpu.blocks import print_block
from gdopt.kernels.cpu.loop_passes import Printer
from gdopt.kernels.cpu.loops import print_loop
from gdopt.kernels.cuda.fused import KernelVariant, print_fused
from gdopt.kernels.cuda.pass_text import PassPrinter
from gdopt.kernels.cuda.text import KernelText
from gdopt.kernels.passes import ReducingProgram
from gdopt.kernels.trace import BaseProgram, Program, expression, print_host


class Costs(NamedTuple):
    """What a program costs; loads, stores and operations are those of an element."""

    passes: int
    loads: int
    stores: int
    operations: int


def count_costs(program: BaseProgram) -> Costs:
    """Count what a program does."""
    passes = element_passes(program)
    return Costs(
        len(passes),
        sum(one.loads for one in passes),
        sum(one.stores for one in passes),
        sum(len(one.instructions) for one in passes),
    )


def element_passes(program: BaseProgram) -> list[Program]:
    """Return what is done for every element, a program for each pass."""
    if isinstance(program, ReducingProgram):
        return [one.program for one in program.passes]
    assert isinstance(program, Program)  # noqa: S101 - or it would reduce
    return [program]


def describe(function: Callable[..., Any], program: BaseProgram) -> str:
    """Describe a formula in sections: source, costs, scalars, text of each engine."""
    costs = count_costs(program)._asdict().items()
    lines, values = print_host(program.hoisted, expression, "{}")
    scalars = [line.strip() for line in lines]
    scalars += [f"s{place} = {value}" for place, value in enumerate(values)]
    sections = {
        "Source": print_source(function),
        "Costs": ", ".join(f"{name} {count}" for name, count in costs),
        "Scalars, once a step in float64": "\n".join(scalars),
    }
    if isinstance(program, ReducingProgram):
        sections |= _texts_of_passes(program)
    else:
        sections |= _texts(element_passes(program)[0])
    return "\n\n".join(
        f"{title}:\n{textwrap.indent(text.strip(), '    ')}"
        for title, text in sections.items()
        if text
    )


def _texts_of_passes(program: ReducingProgram) -> dict[str, str]:
    texts = {}
    for number, one in enumerate(program.passes, start=1):
        text, _ = print_block(one.program)
        known = [
            f"s{program.places[symbol]} of above"
            if symbol in program.places
            else f"one value for each {symbol.kind}"
            for symbol in one.program.hoisted
        ]
        known = [f"s{k} is {what}" for k, what in enumerate(known)]
        text = "\n".join([*(f"# {line}" for line in known), text])
        sums = [f"{value.operation} for each {value.kind}" for value in one.reductions]
        title = f"NumPy, pass {number}"
        texts[f"{title}, then {', '.join(sums)}" if sums else title] = text
    numba = Printer(program, np.dtype(np.float32), flush=False).print()
    loop = numba[numba.index("def run(") :]  # after the functions that join sums
    stored = tuple(
        Storage("float32" if symbol.element else "float64", separate=True)
        for symbol in program.inputs
    )
    printer = PassPrinter(program, KernelVariant(stored, "float32"))
    cuda = {
        f"CUDA, launch {number + 1}, for float32": _shown(printer.print(number))
        for number in range(len(printer.launches))
    }
    return texts | {"Numba, all passes": loop} | cuda


def _shown(text: KernelText) -> str:
    return f"// reads {text.inputs}\n// writes {text.outputs}\n{text.body}"


def _texts(program: Program) -> dict[str, str]:
    stored = (Storage("float32"),) * len(program.inputs)
    cuda = print_fused(program, KernelVariant(stored, "float32"))
    return {
        "NumPy, block by block": print_block(program)[0],
        "Numba": print_loop(program, flush=False),
        "CUDA, for float32 in arenas": _shown(cuda),
    }


def print_source(function: Callable[..., Any] | None) -> str:
    """Return the source of a function, and of that which it wraps."""
    sources = []
    while function is not None:
        try:
            source = inspect.getsource(getattr(function, "__code__", function))
        except (OSError, TypeError):
            source = f"{function!r}: its source is not in a file"
        sources.append(textwrap.dedent(source).strip())
        function = getattr(function, "__wrapped__", None)
    return "\n\n".join(sources)
