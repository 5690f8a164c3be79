"""The formula of Muon: a step whose singular values are all about 1."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, backend_of
from gdopt.checks import Range
from gdopt.optim.rule import RANGES, BuiltInRule

RATIOS: dict[str, Callable[[int, int], float]] = {  # of the rate, by rows and columns
    "columns": lambda m, n: max(1, n / max(1, m)) ** 0.5,
    "rows": lambda m, n: max(1, m / max(1, n)) ** 0.5,
    "match_rms_adamw": lambda m, n: 0.2 * max(m, n) ** 0.5,
    "none": lambda m, n: 1.0,
}
AHEAD: dict[str, Callable[..., Array]] = {  # of the mean, what becomes orthogonal
    "mean": lambda m, g, beta, t: m,
    "nesterov": lambda m, g, beta, t: (1 - beta) * g + beta * m,
    "corrected": lambda m, g, beta, t: (
        (1 - beta) / (1 - beta**t) * g + beta / (1 - beta ** (t + 1)) * m
    ),
}


@dataclass(frozen=True, eq=False, repr=False)
class MatrixRule(BuiltInRule):
    """A formula of whole matrices, which is called as it is and never traced."""

    form: tuple[Any, ...] = ()  # what `muon_rule` made it of

    def __str__(self) -> str:
        from gdopt.kernels.describe import print_source  # noqa: PLC0415

        return f"{self!r}\n\n{print_source(self.function)}"

    def __reduce__(self) -> Any:
        return muon_rule, self.form

    def check_axes(self, axes: Iterable[int], elements: Collection[str] = ()) -> None:
        """Check nothing: its optimizer sorts out the matrices."""


@functools.cache
def muon_rule(
    ahead: str, coefficients: tuple[float, ...], steps: int, adjust_lr: str
) -> MatrixRule:
    """Return the rule of Muon in one of its forms: the same one each time."""
    from gdopt.optim.families.muon import Muon  # noqa: PLC0415 - which imports this

    look, ratio = AHEAD[ahead], RATIOS[adjust_lr]

    def muon(p, m, g, *, lr, momentum, weight_decay, eps, t):
        """Jordan 2024; the decay is that of Liu et al. 2025, eq. 4."""
        g = g.astype(p.dtype, copy=False)  # which clipping has made float64
        m = momentum * m + (1 - momentum) * g
        x = orthogonalize(look(m, g, momentum, t), eps, coefficients, steps)
        return (1 - lr * weight_decay) * p - lr * ratio(*p.shape) * x, m

    if ahead != "nesterov":
        muon.__name__ = f"muon_{ahead}"
    names = inspect.signature(muon).parameters
    ranges = {name: Range.parse(RANGES[name]) for name in names if name in RANGES}
    form = ahead, coefficients, steps, adjust_lr
    return MatrixRule(muon, {}, ranges, kind=Muon, form=form)


def orthogonalize(
    u: Array, eps: float, coefficients: Sequence[float], steps: int
) -> Array:
    """Return a matrix with the singular vectors of `u`, and values of about 1."""
    from gdopt.kernels.products import (  # noqa: PLC0415
        COLUMNS,
        Product,
        multiply,
        run_step,
    )

    backend = backend_of(u)
    a, b, c = coefficients

    def product(left: Array, right: Array) -> Array:
        shape = left.shape[0], right.shape[1]
        out = backend.xp.empty(shape, left.dtype)
        run_step(backend, multiply(backend, Product(left, right, out, COLUMNS)))
        return out

    if not u.size:
        return u
    rows, columns = u.shape
    x = u if rows <= columns else u.T
    power = -backend.xp.frexp(abs(x).max())[1]  # so that no square overflows
    x = backend.xp.ldexp(x, power)
    eps_scaled = backend.xp.ldexp(x.dtype.type(eps), power)
    x /= np.sqrt((x * x).sum()) + eps_scaled
    for _ in range(steps):
        gram = product(x, x.T)
        x = a * x + product(b * gram + c * product(gram, gram), x)
    return x if rows <= columns else x.T
