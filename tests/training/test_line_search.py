import math

import pytest

from gdopt.training.line_search import DECREASE, LinePoint, search


def first(s, beta=2.0):
    """Return value and slope of Moré & Thuente 1994, (5.1)."""
    return -s / (s**2 + beta), (s**2 - beta) / (s**2 + beta) ** 2


def second(s, beta=0.004):
    """Return value and slope of (5.2)."""
    return (s + beta) ** 5 - 2 * (s + beta) ** 4, 5 * (s + beta) ** 4 - 8 * (
        s + beta
    ) ** 3


def third(s, beta=0.01, waves=39):
    """Return value and slope of (5.3), which oscillates."""
    if s <= 1 - beta:
        value, slope = 1 - s, -1.0
    elif s >= 1 + beta:
        value, slope = s - 1, 1.0
    else:
        value, slope = (s - 1) ** 2 / (2 * beta) + beta / 2, (s - 1) / beta
    turn = waves * math.pi / 2
    value += 2 * (1 - beta) / (waves * math.pi) * math.sin(turn * s)
    return value, slope + (1 - beta) * math.cos(turn * s)


def searched(function, step, **options):
    tried = []

    def evaluate(s):
        tried.append(s)
        return LinePoint(s, *function(s))

    start = LinePoint(0.0, *function(0.0))
    return start, search(evaluate, start, step, **options), tried


@pytest.mark.parametrize("function", [first, second, third])
@pytest.mark.parametrize("step", [1e-3, 1e-1, 1e1, 1e3])
@pytest.mark.parametrize("curvature", [0.1, 0.4, 0.9])
def test_both_conditions_hold_wherever_the_search_starts(function, step, curvature):
    start, found, tried = searched(function, step, curvature=curvature)
    assert found.value <= start.value + DECREASE * found.step * start.slope
    assert abs(found.slope) <= curvature * abs(start.slope)
    assert found.step == tried[-1]
    assert len(tried) <= 15  # the paper's tables need at most 12, with other constants


def walled(s):
    return ((s - 0.9) ** 2, 2 * (s - 0.9)) if s < 1 else (math.inf, 0.0)


@pytest.mark.parametrize("step", [0.5, 1.0, 5.0, 1e3])
def test_a_value_that_is_not_finite_is_a_step_that_is_too_long(step):
    start, found, tried = searched(walled, step, curvature=0.4)
    assert abs(found.slope) <= 0.4 * abs(start.slope)
    assert found.step < 1
    assert len(tried) <= 8


def test_no_step_exceeds_the_longest():
    _, found, tried = searched(first, 0.1, curvature=0.1, longest=0.7)
    assert found.step == max(tried) == 0.7


def test_the_lowest_step_is_returned_where_the_evaluations_run_out():
    _, found, tried = searched(lambda s: (-s, -1.0), 1.0, curvature=0.9)
    assert len(tried) == 20
    assert found.step == max(tried)


def test_nothing_is_returned_where_every_step_is_higher():
    assert searched(lambda s: (s, -1.0), 1.0, curvature=0.9)[1] is None


def test_the_slope_decides_where_rounding_hides_the_decrease():
    def flat(s):
        return 1.0 + (s > 0) * 2**-52, s - 1e-9

    assert searched(flat, 1e-9, curvature=0.4)[1] is None
    assert searched(flat, 1e-9, curvature=0.4, noise=1e-15)[1].step == 1e-9
