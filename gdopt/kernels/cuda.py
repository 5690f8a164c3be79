"""Prints a program as CUDA C for `cupy.ElementwiseKernel`: one launch, one pass.

Every array is read into a local, everything is computed, then all is written, so that
possible aliasing costs no second load. ``-fmad=false`` keeps products and sums apart,
which makes the GPU equal NumPy bit for bit; CuPy itself adds ``-ftz=true``.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.errors import BackendError
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.packing import cast
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program

OPTIONS = ("-fmad=false",)
C_TYPES = {"float32": "float", "float64": "double"}
# The sign is a bit: -x and fabs(x) would flush denormals, which NumPy's do not.
PREAMBLE = """
__device__ inline float gdopt_negative(float x) {
  return __uint_as_float(__float_as_uint(x) ^ 0x80000000u);
}
__device__ inline float gdopt_absolute(float x) {
  return __uint_as_float(__float_as_uint(x) & 0x7fffffffu);
}
__device__ inline double gdopt_negative(double x) { return -x; }
__device__ inline double gdopt_absolute(double x) { return fabs(x); }
"""


@dataclass(frozen=True)
class KernelText:
    """What a `cupy.ElementwiseKernel` is made of."""

    inputs: str
    outputs: str
    body: str
    name: str
    options: tuple[str, ...] = OPTIONS
    preamble: str = PREAMBLE

    def build(self, cupy: Any) -> Any:
        """Make the kernel; CuPy compiles it when it is first launched."""
        return cupy.ElementwiseKernel(
            self.inputs,
            self.outputs,
            self.body,
            self.name,
            preamble=self.preamble,
            options=self.options,
            no_return=True,
        )


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
            body.append(f"const {kind} {symbol.name}_ = {symbol.name};")
    names = {symbol: f"{symbol.name}_" for symbol in program.inputs}
    names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
    if table:
        inputs.append(f"raw {compute} scalars_")
        body += [
            f"const {kind} s{k} = scalars_[{k}];" for k in range(len(program.hoisted))
        ]
    else:
        inputs += [f"{compute} s{k}" for k in range(len(program.hoisted))]
    body += _statements(program.tape, names, kind)
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{program.inputs[place].name} = {names[result]};")
    return KernelText(
        ", ".join(inputs), ", ".join(outputs), "\n".join(body), f"gdopt_{program.name}"
    )


def print_prologue(
    program: Program, on_device: Collection[str], compute: Any
) -> KernelText:
    """Print the one-thread kernel that fills the table of hoisted values in float64.

    Args:
        program: the traced rule.
        on_device: the scalars that are 0-d arrays on the device; of any dtype.
        compute: the dtype of the table.
    """
    letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    inputs, body, names = [], [], dict[Symbol, str]()
    for scalar in program.scalars:
        kind = next(letters) if scalar in on_device else "float64"
        inputs.append(f"{kind} {scalar}")
        body.append(f"const double {scalar}_ = {scalar};")
    tape: dict[Symbol, None] = {}
    for value in program.hoisted:
        _visit(value, tape, names)
    body += _statements(tuple(tape), names, "double")
    compute = np.dtype(compute).name
    for place, value in enumerate(program.hoisted):
        body.append(f"scalars_[{place}] = {names[value]};")
    return KernelText(
        ", ".join(inputs),
        f"raw {compute} scalars_",
        "\n".join(body),
        f"gdopt_{program.name}_scalars",
    )


def _visit(node: Symbol, tape: dict[Symbol, None], names: dict[Symbol, str]) -> None:
    if node.operation is None:
        names[node] = f"{node.name}_" if node.name else _literal(node.value)
    elif node not in tape:
        for argument in node.arguments:
            _visit(argument, tape, names)
        tape[node] = None


def _literal(value: float | None) -> str:
    """Write a constant in C, where infinity and NaN have no name of their own."""
    named = {"inf": "(1.0 / 0.0)", "-inf": "(-1.0 / 0.0)", "nan": "(0.0 / 0.0)"}
    return named.get(repr(value), repr(value))


def _statements(
    tape: Sequence[Symbol], names: dict[Symbol, str], kind: str
) -> list[str]:
    """Print one statement for each operation, and name its value."""
    lines = []
    for k, node in enumerate(tape):
        arguments = [names[argument] for argument in node.arguments]
        names[node] = f"x{k}"
        text = OPERATIONS[str(node.operation)].cuda.format(*arguments)
        lines.append(f"const {'bool' if node.boolean else kind} x{k} = {text};")
    return lines


class Cuda:
    """A program compiled for the GPU; runs on arrays of any strides."""

    def __init__(self, program: Program, dtypes: Sequence[Any], compute: Any) -> None:
        import cupy  # noqa: PLC0415 - optional, and takes half a second

        self._cupy = cupy
        self.dtype = np.dtype(compute)
        self.text = print_kernel(program, dtypes, compute)
        self._kernel = self.text.build(cupy)
        self._program = program
        self._dtypes = tuple(dtypes)
        self._read = [k for k in range(len(program.inputs)) if not program.writes(k)]
        self._written = [k for k in range(len(program.inputs)) if program.writes(k)]

    def cast(self, scalars: Sequence[float]) -> list[Any]:
        """Round the hoisted values once to the dtype of the arithmetic."""
        return list(cast(scalars, self.dtype))

    def run(self, arrays: Sequence[Any], values: Sequence[Any]) -> None:
        """Update the arrays in place with values by `cast` or a table from `fill`."""
        is_table = isinstance(values, self._cupy.ndarray)
        kernel = self._tabled if is_table else self._kernel
        scalars = [values] if is_table else values
        read = [arrays[k] for k in self._read]
        written = [arrays[k] for k in self._written]
        with arrays[0].device:
            try:
                kernel(*read, *scalars, *written)
            except self._cupy.cuda.compiler.CompileException as error:
                message = (
                    f"the CUDA compiler refused {self.text.name}: {error}\n"
                    f"{self.text.body}"
                )
                raise BackendError(message) from error

    @functools.cached_property
    def _tabled(self) -> Any:
        text = print_kernel(self._program, self._dtypes, self.dtype, table=True)
        return text.build(self._cupy)

    def fill(self, scalars: dict[str, Any]) -> Any:
        """Compute the hoisted values on the device, where some scalars live there.

        Args:
            scalars: each a float or a 0-d array on the device, which is not waited for.

        Returns:
            The table, to be given to `run`.
        """
        on_device = [n for n, v in scalars.items() if isinstance(v, self._cupy.ndarray)]
        with scalars[on_device[0]].device:
            table = self._cupy.empty(len(self._program.hoisted), self.dtype)
            text = print_prologue(self._program, on_device, self.dtype)
            kernel = _prologue_kernel(text)
            values = [scalars[name] for name in self._program.scalars]
            kernel(*values, table)
        return table


@functools.cache
def _prologue_kernel(text: KernelText) -> Any:
    import cupy  # noqa: PLC0415 - optional, and takes half a second

    return text.build(cupy)
