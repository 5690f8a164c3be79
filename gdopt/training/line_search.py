"""A search for a step that satisfies the strong Wolfe conditions, on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

DECREASE = 1e-4  # c1
EVALUATIONS = 20  # of one search, as in L-BFGS-B
RESOLUTION = 1e-10  # relative length of an interval that is not divided


class LinePoint(NamedTuple):
    """A step along a direction, with the value and the slope at its end."""

    step: float
    value: float
    slope: float

    def tilted(self, slope: float) -> LinePoint:
        """Return the trial of the function less a linear one of that slope."""
        return LinePoint(self.step, self.value - self.step * slope, self.slope - slope)

    def distance(self, step: float) -> float:
        """Return how far another step ends from this one."""
        return abs(step - self.step)


def search(
    evaluate: Callable[[float], LinePoint],
    start: LinePoint,
    step: float,
    *,
    curvature: float,
    longest: float = math.inf,
    noise: float = 0.0,
) -> LinePoint | None:
    """Find a step s with f(s) <= f(0) + c1 s f'(0) and |f'(s)| <= c2 |f'(0)|.

    Where rounding hides the decrease, f'(s) <= (2 c1 - 1) f'(0) takes its place.

    Args:
        evaluate: tries a step; an infinite value means that it is too long.
        start: the trial of step 0, whose slope is negative.
        step: the first one to try.
        curvature: c2, in (c1, 1).
        longest: what no step exceeds.
        noise: by how much rounding may change a value.

    Returns:
        The trial of that step, or else the lowest; None if none is below the start.

    Source: Moré & Thuente 1994, Line search algorithms with guaranteed sufficient
    decrease; for rounding Hager & Zhang 2005, A new conjugate gradient method, (4.1).
    """
    best, other = start, None  # ends of an interval with such a step, once bracketed
    low, high = 0.0, 5 * step
    widths = math.inf, math.inf
    least, first_stage = DECREASE * start.slope, True
    for _ in range(EVALUATIONS):
        new = evaluate(step)
        if new.value == math.inf:
            other, step = new, best.step + (step - best.step) / 10
            low, high = sorted((best.step, other.step))
            continue
        enough = new.value <= start.value + step * least
        level = abs(new.value - start.value) <= noise
        level = level and new.slope <= 2 * least - start.slope
        if (enough or level) and abs(new.slope) <= -curvature * start.slope:
            return new
        if enough and step == longest and new.slope <= least:
            return new
        first_stage = first_stage and not (enough and new.slope >= 0)
        # Where a step is low, but not low enough, the tilted function is searched.
        tilt = least if first_stage and not enough and new.value <= best.value else 0.0
        was, now = best.tilted(tilt), new.tilted(tilt)
        step = _next_step(was, other and other.tilted(tilt), now, low, high)
        if now.value > was.value:
            other = new
        else:
            best, other = new, best if now.slope * was.slope < 0 else other
        if other is None:
            low, high = (step + k * (step - best.step) for k in (1.1, 4.0))
            step = min(step, longest)
            continue
        width = abs(other.step - best.step)
        if width >= 0.66 * widths[0]:
            step = (best.step + other.step) / 2
        widths = widths[1], width
        low, high = sorted((best.step, other.step))
        if not low < step < high or width <= RESOLUTION * high:
            break
    return best if best.value < start.value else None


def _next_step(
    best: LinePoint, other: LinePoint | None, new: LinePoint, low: float, high: float
) -> float:
    """Choose the next step by the four cases of Moré & Thuente 1994, section 4."""
    cubic, secant = _cubic(best, new), _secant(best, new)
    ahead = new.step > best.step
    if new.value > best.value:
        way = new.step - best.step
        bend = best.slope - (new.value - best.value) / way
        quadratic = best.step + best.slope / bend / 2 * way
        if cubic is None or best.distance(cubic) <= best.distance(quadratic):
            step = quadratic if cubic is None else cubic
        else:
            step = (cubic + quadratic) / 2
    elif new.slope * best.slope < 0:
        step = max(secant, secant if cubic is None else cubic, key=new.distance)
    elif abs(new.slope) < abs(best.slope):
        if cubic is None or (cubic > new.step) is not ahead:
            cubic = high if ahead else low
        if other is None:
            return min(max(max(secant, cubic, key=new.distance), low), high)
        limit = new.step + 0.66 * (other.step - new.step)
        step = (min if ahead else max)(min(secant, cubic, key=new.distance), limit)
    elif other is None:
        step = high if ahead else low
    else:
        found = _cubic(other, new)
        step = (new.step + other.step) / 2 if found is None else found
    return step


def _secant(one: LinePoint, two: LinePoint) -> float:
    """Return where the slope is 0 if it is linear."""
    change = two.slope - one.slope
    return two.step - two.slope * (two.step - one.step) / change if change else math.inf


def _cubic(one: LinePoint, two: LinePoint) -> float | None:
    """Return the minimum of the cubic through both, if any: N&W 2006, (3.59)."""
    way = two.step - one.step
    middle = one.slope + two.slope - 3 * (two.value - one.value) / way
    scale = max(abs(middle), abs(one.slope), abs(two.slope))
    if not 0 < scale < math.inf:
        return None
    square = (middle / scale) ** 2 - one.slope / scale * (two.slope / scale)
    root = math.copysign(scale * math.sqrt(max(square, 0.0)), way)
    over = two.slope - one.slope + 2 * root
    if square < 0 or not over:
        return None
    return two.step - way * (two.slope + root - middle) / over
