"""What a curve of costs says: falling, noisy, rising, on a plateau, or stalled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.checks import NOT_NEGATIVE, check_flag, check_number
from gdopt.errors import ArgumentError
from gdopt.ewa import ewa, ewa_window
from gdopt.training.diagnosis.series import read_costs, read_norms
from gdopt.training.loop import RISE, blame

SMALLEST_WINDOW, PARTS = 10, 10  # costs in an average, and averages in a series
SIGMAS = 3  # times what noise does to a difference of averages is a change

FALLING = ("go on: the cost falls",)
NOISY = (
    "mini-batch noise hides what the cost does: average over more of them",
    "around a minimum a decaying learning rate comes closer (gdopt.schedules)",
    "larger mini-batches have less noise",
)
RISING = (
    "a lower learning rate",
    "a warm-up (gdopt.schedules.warmup), or clip_norm where gradients explode",
    "gradients that are right: gdopt.check_gradient",
)
PLATEAU = (
    "Adam, RMSprop or momentum, which leave plateaus and saddles faster",
    "weights that start at random and at the right size: layer_norms tells",
    "where the cost is good enough, nothing: this may be the minimum",
)
STALLED = (
    "a lower learning rate, where steps jump from wall to wall of a valley",
    "Adam or momentum, which damp such jumps",
    "a higher one, where it is tiny",
    "gradients that are right: gdopt.check_gradient",
)


@dataclass(frozen=True)
class CostCurve:
    """What a curve of costs does in its second half; `cost_curve` makes it.

    Attributes:
        verdict: ``"falling"``, ``"noisy"``, ``"rising"``, ``"plateau"`` or
            ``"stalled"``.
        reason: the same in a sentence, with the numbers.
        advice: what helps.
        middle: the average cost where the second half begins.
        end: the average cost at the end.
        change: from `middle` to `end`, as a share of the larger of them.
        noise: standard deviation around the average, as a share of the same.
        limit: what a change has to exceed to be one.
        gradient_norm: largest average of the norms in the second half, or None.
        beta: of the averages.
    """

    verdict: str
    reason: str
    advice: tuple[str, ...]
    middle: float
    end: float
    change: float
    noise: float
    limit: float
    gradient_norm: float | None
    beta: float

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.reason}", *(f"- {one}" for one in self.advice)]
        return "\n".join(lines)


def cost_curve(
    costs: Any,
    *,
    gradient_norms: Any = None,
    beta: float | None = None,
    flat: float = 0.01,
    noisy: float = 0.05,
    small_gradient: float = 1e-3,
    full_batch: bool = False,
) -> CostCurve:
    """Say what a series of costs does in its second half, and what helps.

    The costs are averaged by `gdopt.ewa`, and the average at the end is compared with
    that at the middle. With noise s around the average, the change is one where it
    exceeds ``max(flat, 3 s sqrt(2 (1 - beta) / (1 + beta)))``, both as shares of the
    larger average. The first of these that holds is the verdict:

    - "rising": the average rose; or any cost did, with `full_batch`.
    - "falling": the average fell.
    - "plateau": gradients are known and stay small.
    - "noisy": s exceeds `noisy`.
    - "stalled": gradients are known, and are not small.
    - "plateau": all else.

    Args:
        costs: in the order of the steps, numbers or records of `gdopt.fit`, all finite,
            at least two windows of the average.
        gradient_norms: as many, at least 0; ``optimizer.grad_norm`` with ``clip_norm``
            tells them.
        beta: of the average, in [0, 1); by default it is over a tenth of the costs, at
            least 10 of them.
        flat: share below which a change is none, at least 0.
        noisy: share above which noise is called so, at least 0.
        small_gradient: norm up to which a gradient is near zero, at least 0.
        full_batch: whether every cost is that of all examples, which must not rise at
            all; by 1e-5 of max(1, cost) it is rounding.

    Raises:
        ArgumentError: there are too few costs, one is not finite, or a number is out of
            its range.
        ArgumentTypeError: something is of the wrong kind.

    Source:
        Ng, Improving deep neural networks, week 2, "Understanding mini-batch gradient
        descent" and "The problem of local optima"; the limits are gdopt's.

    >>> cost_curve([2.0 * 0.99**k for k in range(100)]).verdict
    'falling'
    >>> print(cost_curve([0.7] * 40, gradient_norms=[1e-5] * 40))
    plateau: the average cost stays at 0.7 (+0.00%), with gradients of up to 1e-05
    - Adam, RMSprop or momentum, which leave plateaus and saddles faster
    - weights that start at random and at the right size: layer_norms tells
    - where the cost is good enough, nothing: this may be the minimum
    """
    limits = {"flat": flat, "noisy": noisy, "small_gradient": small_gradient}
    flat, noisy, small_gradient = (
        check_number(name, limit, NOT_NEGATIVE) for name, limit in limits.items()
    )
    series, lr = read_costs(costs)
    norms = read_norms(gradient_norms, len(series))
    beta = _beta(beta, len(series))
    half = len(series) // 2
    average = ewa(series, beta)
    middle, end = float(average[half - 1]), float(average[-1])
    level = max(abs(middle), abs(end)) or 1.0
    noise = _noise(series[half:] - average[half:], beta)
    sure = SIGMAS * noise * math.sqrt(2 * (1 - beta) / (1 + beta))
    norm = None if norms is None else float(ewa(norms, beta)[half:].max())
    found = _Found(
        middle=middle,
        end=end,
        change=(end - middle) / level,
        noise=noise / level,
        limit=max(flat, sure / level),
        gradient_norm=norm,
        beta=beta,
    )
    rise = _rise(series) if check_flag("full_batch", full_batch) else None
    verdict, reason, advice = _judge(found, noisy, small_gradient, rise)
    if verdict == "rising":
        reason = f"{reason}; {blame(lr)}"
    return CostCurve(verdict, reason, advice, **vars(found))


@dataclass
class _Found:
    """What was measured; see `CostCurve`."""

    middle: float
    end: float
    change: float
    noise: float
    limit: float
    gradient_norm: float | None
    beta: float


def _judge(
    found: _Found, noisy: float, small: float, rise: str | None
) -> tuple[str, str, tuple[str, ...]]:
    """Give the verdict, the reason and the advice: the first rule that holds."""
    ends = f"from {found.middle:.4g} to {found.end:.4g} ({found.change:+.2%})"
    if rise is not None:
        return "rising", rise, RISING
    if found.change > found.limit:
        return "rising", f"the average cost rises {ends}", RISING
    if found.change < -found.limit:
        return "falling", f"the average cost falls {ends}", FALLING
    stays = f"the average cost stays at {found.end:.4g} ({found.change:+.2%})"
    norm = found.gradient_norm
    known = "" if norm is None else f", with gradients of up to {norm:.3g}"
    if found.noise > noisy and (norm is None or norm > small):
        return "noisy", f"{stays} in noise of {found.noise:.1%}{known}", NOISY
    if norm is None or norm <= small:
        return "plateau", f"{stays}{known}", PLATEAU
    return "stalled", f"{stays}{known}", STALLED


def _noise(left: np.ndarray, beta: float) -> float:
    """Estimate the costs' standard deviation from what the average leaves of it.

    The average holds (1 - beta) of the cost at hand, so that less than all is left.
    """
    share = math.sqrt(2 * beta**2 / (1 + beta))
    return float(left.std()) / share if share else 0.0


def _rise(series: np.ndarray) -> str | None:
    """Name the first cost that is above the one before it by more than rounding."""
    before = series[:-1]
    rose = np.diff(series) > RISE * np.maximum(1.0, before)
    if not rose.any():
        return None
    place = int(rose.argmax())
    return (
        f"the cost of all examples rises from {series[place]:.6g} to "
        f"{series[place + 1]:.6g} after {place + 1} costs, and must fall at every step"
    )


def _beta(beta: float | None, count: int) -> float:
    """Choose beta where there is none, and refuse a series that is too short."""
    if beta is None:
        beta = 1 - 1 / max(SMALLEST_WINDOW, count / PARTS)
    least = 2 * math.ceil(ewa_window(beta) - 1e-6)
    if count < least:
        message = (
            f"costs must be at least {least}, two windows of an average with beta = "
            f"{beta:g}, got {count}"
        )
        raise ArgumentError(message)
    return beta
