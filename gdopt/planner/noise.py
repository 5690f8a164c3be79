"""The gradient noise scale: the batch size at which noise and gradient are even."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.checks import (
    Range,
    as_number,
    check_count,
    check_number,
    holds_numbers,
    shown,
)
from gdopt.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class GradientStats:
    """Measurements of the gradients of a batch."""

    squares: np.ndarray  # |g_i|^2 of each group of examples, float64, on the host
    dots: np.ndarray | None  # g_i . d along a direction d, if there is one
    mean: list[Array]  # the mean gradient over the batch; the next call overwrites it
    group: int  # examples in a group: 1 where the gradient of every example is known


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale ``B = tr(S) / |G|^2``, in examples.

    S is the covariance of the gradients of single examples, G their mean. A batch of B
    examples has a mean gradient as long as its noise: more examples mostly average what
    agrees already. It grows during training.

    Attributes:
        value: the estimate; infinite where |G|^2 is not distinct from 0.
        low: lower end of the 95 % interval, by Fieller's method.
        high: upper end, infinite where |G|^2 is not distinct from 0.
        trace: tr(S), unbiased.
        squared_norm: |G|^2, unbiased; it may be negative.
        examples: how many were measured.

    Source: McCandlish et al. 2018, An empirical model of large-batch training,
    arXiv 1812.06162, section 2.2 and appendix A.
    """

    value: float
    low: float
    high: float
    trace: float
    squared_norm: float
    examples: int


def noise_scale(
    squares: Any, dots: Any, total: float, *, group: int = 1, confidence: float = 0.95
) -> NoiseScale:
    """Estimate the noise scale from gradients of n groups of examples.

    ``tr S = (mean|g_i|^2 - |G|^2) n / (n - 1)`` times the size of a group, and
    ``|G|^2 = (n |G_n|^2 - mean|g_i|^2) / (n - 1)``. The interval takes the covariance
    of both from the jackknife, in closed form, and Fieller's theorem for their ratio.

    Args:
        squares: ``|g_i|^2``, (n,), n at least 3.
        dots: ``g_i . G_n`` with G_n the mean of all g_i, (n,).
        total: ``|G_n|^2``.
        group: examples in a group.
        confidence: of the interval, in (0, 1).

    Raises:
        ArgumentError: there are fewer than 3 groups.

    >>> import numpy as np
    >>> g = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0], [1.0, 0.0]])
    >>> mean = g.mean(0)
    >>> round(noise_scale((g * g).sum(1), g @ mean, mean @ mean).value, 3)
    0.8
    """
    for name, numbers in {"squares": squares, "dots": dots}.items():
        if not holds_numbers(numbers) or np.shape(numbers) != (np.size(squares),):
            message = f"{name} must be a number for each group, got {shown(numbers)}"
            raise ArgumentTypeError(message)
    total, group = as_number("total", total), check_count("group", group)
    confidence = check_number("confidence", confidence, Range.parse("(0, 1)"))
    squares, dots = np.asarray(squares, float), np.asarray(dots, float)
    n = len(squares)
    if n < 3:
        message = f"a noise scale needs gradients of at least 3 groups, got {n}"
        raise ArgumentError(message)
    trace, signal = map(float, _moments(squares.mean(), total, n, group))
    # Each group left out once.
    means = (squares.sum() - squares) / (n - 1)
    totals = (n * n * total - 2 * n * dots + squares) / (n - 1) ** 2
    deviations = [part - part.mean() for part in _moments(means, totals, n - 1, group)]
    covariance = [
        [(n - 1) / n * float(one @ other) for other in deviations] for one in deviations
    ]
    low, high = _fieller(trace, signal, covariance, confidence)
    value = trace / signal if signal > 0 else math.inf
    return NoiseScale(value, low, high, trace, signal, n * group)


def _moments(mean: Any, total: Any, n: int, group: int) -> tuple[Any, Any]:
    trace = (mean - total) * n / (n - 1) * group
    return trace, (n * total - mean) / (n - 1)


def _fieller(
    x: float, y: float, covariance: list[list[float]], confidence: float
) -> tuple[float, float]:
    """Return the ratios x / y that the data do not contradict; both are positive."""
    from statistics import NormalDist  # noqa: PLC0415 - takes 10 ms to import

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    (xx, xy), (_, yy) = covariance
    a, b, c = y * y - z * z * yy, x * y - z * z * xy, x * x - z * z * xx
    root = b * b - a * c
    if root < 0:
        return 0.0, math.inf
    far = b + math.sqrt(root)
    low = max(0.0, c / far) if far > 0 else 0.0
    return low, far / a if a > 0 and y > 0 else math.inf


def measure_noise(
    gradient_stats: Callable[[tuple[Array, ...], list[Array] | None], GradientStats],
    batches: Callable[[], Iterable[tuple[Array, ...]]],
    done: Callable[[], None],
) -> NoiseScale:
    """Measure all batches twice, the same each time: for their mean, then along it."""
    mean: list[Array] = []
    squares, dots = list[Any](), list[Any]()
    for batch in batches():
        seen = gradient_stats(batch, None)
        if mean:
            for total, part in zip(mean, seen.mean, strict=True):
                total[...] += part
        else:
            mean = [part.copy() for part in seen.mean]
        squares.append(seen.squares)
        done()
    for total in mean:
        total[...] /= len(squares)
    for batch in batches():
        dots.append(gradient_stats(batch, mean).dots)
        done()
    found, along = np.concatenate(squares), np.concatenate(dots)
    # The mean of all g_i . G is |G|^2.
    return noise_scale(found, along, float(along.mean()), group=seen.group)
