"""Clips between scalars by one of NumPy's ufuncs, to the bits of a rule's two."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np

from gdopt.kernels.cpu.flush import FlushToZero
from gdopt.kernels.symbol import SCALAR, Symbol, is_among
from gdopt.kernels.trace import Program

CHAIN = ["copy", "maximum", "copy", "minimum"]
NORMAL = {"f": 2.0**-126, "d": 2.0**-1022}  # the least number that is not denormal
REST = 16  # elements at the end of an array, which may not fill a vector


def order(program: Program) -> list[Symbol]:
    """Return the instructions, with copies of scalars right before what reads them."""
    written = *program.results, *program.kept
    ordered: dict[Symbol, None] = {}
    for node in program.instructions:
        copied = node.operation == "copy" and node.arguments[0] in program.places
        if not copied or is_among(node, written):
            ordered |= {a: None for a in node.arguments if a.operation == "copy"}
            ordered[node] = None
    return list(ordered)


def find_clips(program: Program, ordered: list[Symbol]) -> dict[int, list[Symbol]]:
    """Find minima of maxima with scalars: what `clip` takes, by where they begin."""
    uses = Counter(a for node in ordered for a in node.arguments)
    uses.update((*program.results, *program.kept))
    found = {}
    for k in range(len(ordered) - 3):
        low, larger, high, smaller = chain = ordered[k : k + 4]
        bounds = [low.arguments[0], high.arguments[0]]
        if (
            [node.operation for node in chain] == CHAIN
            and all(uses[node] == 1 for node in (low, larger, high))
            and all(bound.kind == SCALAR for bound in bounds)
            and is_among(low, larger.arguments)
            and is_among(larger, smaller.arguments)
        ):
            (x,) = (a for a in larger.arguments[:2] if a is not low)
            found[k] = [x, *bounds, larger.arguments[2], smaller]
    return found


def clip(x: Any, low: Any, high: Any, one: Any, out: Any) -> bool:
    """Clip as a maximum and then a minimum do; return whether it was done.

    It is not where a bound is zero, denormal or NaN: of two zeros NumPy's clip may take
    the other one than its maximum and minimum do. Where its loops do not flush
    denormals, a product with `one` does.
    """
    tiny = NORMAL[x.dtype.char]
    if not (abs(low.item()) >= tiny and abs(high.item()) >= tiny):
        return False
    x.clip(low, high, out)
    if x.dtype.char == "f":
        kept = out[-REST:] if out.ndim == 1 and _vectors_flush() else out
        np.multiply(kept, one, out=kept)
    return True


@functools.cache
def _vectors_flush() -> bool:
    """Return whether NumPy's clip flushes denormals where they fill vectors."""
    bound, bits = np.float32(1.0), []
    for start in range(4 * REST):
        x = np.full(8 * REST, 1e-40, np.float32)[start:]
        with FlushToZero():
            x.clip(-bound, bound, x)
        bits.append(x[:-REST].view(np.uint32))
    return not np.concatenate(bits).any()
