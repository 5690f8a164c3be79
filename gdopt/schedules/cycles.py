# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Schedules that rise and fall: in cycles, in one cycle, or through given values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Annotated, Literal

from gdopt.checks import (
    Range,
    check_choice,
    check_count,
    check_finite,
    check_increasing,
    check_number,
    check_optional,
    check_positive,
)
from gdopt.errors import ArgumentError
from gdopt.schedules.schedule import (
    Count,
    Factor,
    NotNegative,
    Number,
    Numbers,
    Schedule,
    half_cosine,
    mixed,
)


@dataclass(frozen=True)
class cosine_restarts(Schedule):
    """Half a cosine that starts again: ``end + (start - end) * m_mul**k * c``.

    ``c = (1 + cos(pi * t)) / 2``, where t is the part done of cycle k, counted from 0,
    of ``steps * t_mul**k`` steps. The step that ends a cycle begins the next.

    Args:
        start: value at step 0.
        end: value that each cycle falls to.
        steps: of the first cycle, at least 1.
        t_mul: factor of the steps from one cycle to the next, at least 1.
        m_mul: factor of the height above the end, likewise, at least 0.

    Source: Loshchilov & Hutter 2017, SGDR, equation 5.

    >>> alpha = cosine_restarts(0.1, 0.0, steps=2, t_mul=2, m_mul=0.5)
    >>> [round(alpha(step), 4) for step in range(7)]
    [0.1, 0.05, 0.05, 0.0427, 0.025, 0.0073, 0.025]
    """

    start: Number
    end: Number
    steps: Count
    _: KW_ONLY
    t_mul: Annotated[float, partial(check_number, bounds=Range.parse("[1, inf)"))] = 1.0
    m_mul: NotNegative = 1.0

    def _at(self, step: int) -> float:
        cycle, done, length = 0, float(step), float(self.steps)
        if self.t_mul == 1:
            cycle, done = divmod(step, self.steps)
        while done >= length:
            cycle, done, length = cycle + 1, done - length, length * self.t_mul
        share = self.m_mul**cycle * half_cosine(done, length)
        return mixed(self.start, self.end, share)


@dataclass(frozen=True)
class cyclic(Schedule):
    """Rise and fall in lines, without an end: ``start + (peak - start) * x * s``.

    x goes from 0 to 1 and back; s is 1 in the form "triangular", is halved after every
    cycle in "triangular2", and is ``gamma**step`` in "exp_range". Momentum that falls
    as the rate rises, as in torch, is ``cyclic(0.9, 0.8, ...)``.

    Args:
        start: value at step 0.
        peak: value after ``steps_up`` steps; it may be below the start.
        steps_up: at least 1.
        steps_down: at least 1; None for as many as up.
        form: ``"triangular"``, ``"triangular2"`` or ``"exp_range"``.
        gamma: above 0, for "exp_range" alone.

    Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks.

    >>> [cyclic(0.0, 1.0, 2, form="triangular2")(step) for step in range(8)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]
    """

    start: Number
    peak: Number
    steps_up: Count
    steps_down: Annotated[int | None, partial(check_optional, check_count)] = None
    _: KW_ONLY
    form: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: Factor = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma != 1 and self.form != "exp_range":
            message = f"gamma must be 1 for the form {self.form!r}, got {self.gamma}"
            raise ArgumentError(message)

    def _at(self, step: int) -> float:
        up, down = self.steps_up, self.steps_down or self.steps_up
        cycle, done = divmod(step, up + down)
        height = min(done / up, (up + down - done) / down)
        scale = 0.5**cycle if self.form == "triangular2" else self.gamma**step
        return mixed(self.peak, self.start, height * scale)


@dataclass(frozen=True)
class interpolate(Schedule):
    """Go through given values: ``values[k]`` at ``steps[k]``.

    Before the first of the steps the first value holds, past the last one the last.

    Args:
        steps: numbers, also fractions, strictly increasing; at least one.
        values: one for each.
        curve: from a value to the next, ``"linear"`` or half a ``"cosine"``.

    >>> alpha = interpolate([0, 4, 6], [0.0, 1.0, 0.5])
    >>> [alpha(step) for step in range(8)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.5]
    """

    steps: Annotated[Sequence[float], partial(check_increasing, check=check_finite)]
    values: Numbers
    _: KW_ONLY
    curve: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < len(self.steps) == len(self.values):
            got = f"{len(self.values)} values for {len(self.steps)} steps"
            message = f"steps must be at least one, and values as many, got {got}"
            raise ArgumentError(message)

    def _at(self, step: int) -> float:
        k = bisect_right(self.steps, step)
        if k in {0, len(self.steps)}:
            return self.values[max(k - 1, 0)]
        done, total = step - self.steps[k - 1], self.steps[k] - self.steps[k - 1]
        left = half_cosine(done, total) if self.curve == "cosine" else 1 - done / total
        return mixed(self.values[k - 1], self.values[k], left)


def one_cycle(
    peak: float,
    steps: int,
    *,
    phases: Literal["two", "three", "paper"] = "two",
    curve: Literal["linear", "cosine"] | None = None,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    max_momentum: float = 0.95,
    base_momentum: float = 0.85,
) -> tuple[interpolate, interpolate]:
    """Return two schedules: a rate that rises once and falls, and its momentum.

    The peak and the end are at steps ``pct_start * steps - 1`` and ``steps - 1`` in
    torch's ``OneCycleLR``; the second of three phases falls to the first rate, in as
    many steps as the first one rose. The paper's three are at ``n = int(pct_start *
    steps)``, at 2 n and at ``steps``. Past the end both keep their last value.

    Args:
        peak: largest rate.
        steps: in all, at least 1.
        phases: torch's ``"two"`` or ``"three"``, or those of the ``"paper"``.
        curve: ``"linear"`` or ``"cosine"``; None for the paper's or torch's own.
        pct_start: fraction of the steps in which the rate rises, in [0, 1].
        div_factor: from the first rate to the peak.
        final_div_factor: from the last rate to the first one.
        max_momentum: at the first and the last rate.
        base_momentum: at the peak.

    Source: Smith & Topin 2018, Super-Convergence.

    >>> rate, momentum = one_cycle(1.0, steps=100, phases="paper")
    >>> [round(rate(step), 6) for step in (0, 15, 30, 60, 100)]
    [0.04, 0.52, 1.0, 0.04, 4e-06]
    >>> [round(momentum(step), 6) for step in (0, 15, 30, 60, 100)]
    [0.95, 0.9, 0.85, 0.95, 0.95]
    """
    peak, steps = check_finite("peak", peak), check_count("steps", steps)
    pct_start = check_number("pct_start", pct_start, Range.parse("[0, 1]"))
    check_choice("phases", phases, ("two", "three", "paper"))
    whole = phases == "paper"
    up = int(pct_start * steps) if whole else pct_start * steps - 1
    first = peak / check_positive("div_factor", div_factor)
    end = first / check_positive("final_div_factor", final_div_factor)
    base_momentum = check_finite("base_momentum", base_momentum)
    points = [(0.0, first, check_finite("max_momentum", max_momentum))]
    for point in (
        (up, peak, base_momentum),
        (2 * up, first, max_momentum),
        (steps if whole else steps - 1, end, max_momentum),
    )[:: 2 if phases == "two" else 1]:
        if point[0] <= 0:  # a phase of no steps, which torch skips in this way
            points = [point]
        elif point[0] > points[-1][0]:
            points.append(point)
    at, rates, momenta = zip(*points, strict=True)
    if curve is None:
        curve = "linear" if whole else "cosine"
    return interpolate(at, rates, curve=curve), interpolate(at, momenta, curve=curve)
