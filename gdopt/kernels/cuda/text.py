"""What all CUDA kernels share: options, statements, and functions in C."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.symbol import Symbol

# -fmad=false keeps products and sums apart, which makes the GPU equal NumPy bit for
# bit; CuPy itself adds -ftz=true. With 64 registers at most, 1,024 threads fit on a
# multiprocessor, enough reads under way to keep its memory busy.
OPTIONS = ("-fmad=false", "--maxrregcount=64")
C_TYPES = {"float32": "float", "float64": "double"}
# Signs are bits: -x and fabs(x) would flush denormals, which NumPy's do not. In
# assembler, as for Blackwell the compiler takes such bits for a negation after all.
SIGNS = """
#ifdef __CUDA_ARCH__
#define GDOPT_BITS(operation, x, mask) \\
  unsigned bits; \\
  asm(operation ".b32 %0, %1, %2;" : "=r"(bits) : "r"(__float_as_uint(x)), "n"(mask));
#else
#define GDOPT_BITS(operation, x, mask) \\
  const unsigned before = __float_as_uint(x); \\
  const unsigned bits = operation[0] == 'x' ? before ^ mask : before & mask;
#endif
__device__ inline float gdopt_negative(float x) {
  GDOPT_BITS("xor", x, 0x80000000u);
  return __uint_as_float(bits);
}
__device__ inline float gdopt_absolute(float x) {
  GDOPT_BITS("and", x, 0x7fffffffu);
  return __uint_as_float(bits);
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
    preamble: str = SIGNS

    @functools.cached_property
    def arguments(self) -> list[str]:
        """Name the kernel's arguments, in order."""
        both = ", ".join(part for part in (self.inputs, self.outputs) if part)
        return [part.split()[-1] for part in both.split(", ")]

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


def print_statements(
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


def value_name(name: str) -> str:
    """Name an argument's value; the printers' other names do not begin with v_."""
    return f"v_{name}_"


def scalar_names(places: Mapping[Symbol, int]) -> dict[Symbol, str]:
    """Name the hoisted values in a kernel's text."""
    return {symbol: f"s{place}" for symbol, place in places.items()}
