import math
import re

import numpy as np
import pytest

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.schedules import (
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    halving,
    interpolate,
    inv_sqrt,
    inverse_time,
    join,
    one_cycle,
    per_epoch,
    piecewise,
    polynomial,
    warmup,
)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (math.nan, ArgumentError),
        (math.inf, ArgumentError),
        (True, ArgumentTypeError),
        ("0.1", ArgumentTypeError),
        (None, ArgumentTypeError),
        (np.ones(2), ArgumentTypeError),
    ],
)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (constant, "value"),
        (lambda value: inverse_time(value, 1), "start"),
        (lambda value: inverse_time(1, value), "rate"),
        (lambda value: exponential(value, 0.9), "start"),
        (lambda value: inverse_time(1, 1, power=value), "power"),
        (lambda value: exponential(1, value), "rate"),
        (lambda value: exponential(1, 2, end=[] if value is None else value), "end"),
        (lambda value: halving(value, 2), "start"),
        (inv_sqrt, "start"),
        (lambda value: inv_sqrt(1, value), "k"),
        (lambda value: piecewise([1], [0.1, value]), r"values\[1\]"),
        (lambda value: polynomial(value, 0, 2), "start"),
        (lambda value: polynomial(1, value, 2), "end"),
        (lambda value: polynomial(1, 0, 2, power=value), "power"),
        (lambda value: cosine(value, 0, 2), "start"),
        (lambda value: cosine(1, value, 2), "end"),
        (lambda value: cosine(1, 0, 2, power=value), "power"),
        (lambda value: cosine_restarts(value, 0, 2), "start"),
        (lambda value: cosine_restarts(1, value, 2), "end"),
        (lambda value: cosine_restarts(1, 0, 2, t_mul=value), "t_mul"),
        (lambda value: cosine_restarts(1, 0, 2, m_mul=value), "m_mul"),
        (lambda value: cyclic(value, 1, 2), "start"),
        (lambda value: cyclic(0, value, 2), "peak"),
        (lambda value: cyclic(0, 1, 2, form="exp_range", gamma=value), "gamma"),
        (lambda value: interpolate([0, value], [1, 2]), r"steps\[1\]"),
        (lambda value: interpolate([0, 5], [1, value]), r"values\[1\]"),
        (lambda value: one_cycle(value, 5), "peak"),
        (lambda value: one_cycle(1, 5, pct_start=value), "pct_start"),
        (lambda value: one_cycle(1, 5, div_factor=value), "div_factor"),
        (lambda value: one_cycle(1, 5, final_div_factor=value), "final_div_factor"),
        (lambda value: one_cycle(1, 5, max_momentum=value), "max_momentum"),
        (lambda value: one_cycle(1, 5, base_momentum=value), "base_momentum"),
        (lambda value: warmup(value, 2), "schedule"),
        (lambda value: join([0.1, value], [2]), r"schedules\[1\]"),
        (lambda value: per_epoch(value, 2), "schedule"),
        (lambda value: constant(0.1) * value, "b"),
        (lambda value: value * constant(0.1), "a"),
    ],
)
def test_a_value_that_is_no_finite_number_is_refused(make, name, value, error):
    rule = r"(in [\[(].* and finite|a number), got "
    with pytest.raises(error, match=rf"^{name} must be {rule}"):
        make(value)


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (0, ArgumentError),
        (-1, ArgumentError),
        (2.0, ArgumentTypeError),
        (True, ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda steps: exponential(0.1, 0.9, steps), "steps"),
        (lambda steps: halving(0.1, steps), "every"),
        (lambda steps: polynomial(0.1, 0, steps), "steps"),
        (lambda steps: cosine(0.1, 0, steps), "steps"),
        (lambda steps: inverse_time(0.1, 1, steps), "steps"),
        (lambda steps: cosine_restarts(0.1, 0, steps), "steps"),
        (lambda steps: cyclic(0, 0.1, steps), "steps_up"),
        (lambda steps: one_cycle(0.1, steps), "steps"),
        (lambda steps: warmup(0.1, steps), "steps"),
        (lambda steps: per_epoch(0.1, steps), "steps"),
        (lambda steps: piecewise([steps], [0.1, 0.2]), r"boundaries\[0\]"),
        (lambda steps: join([0.1, 0.2], [steps]), r"boundaries\[0\]"),
    ],
)
def test_steps_that_are_no_positive_count_are_refused(make, name, steps, error):
    with pytest.raises(error, match=rf"^{name} must be a whole number of at least 1"):
        make(steps)


@pytest.mark.parametrize("steps", [0, -1, 2.0, True])
def test_steps_down_are_a_positive_count_or_none(steps):
    rule = "^steps_down must be a whole number of at least 1, got"
    with pytest.raises((ArgumentError, ArgumentTypeError), match=rule):
        cyclic(0, 0.1, 2, steps)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: exponential(0.1, 0), r"rate must be in \(0, inf\) and finite, got 0"),
        (
            lambda: inverse_time(0.1, -1),
            r"rate must be in \[0, inf\) and finite, got -1",
        ),
        (
            lambda: polynomial(1, 0, 2, power=0),
            r"power must be in \(0, inf\) and finite, got 0",
        ),
        (lambda: cosine(1, 0, 2, power=0), r"power must be in \(0, inf\) .* got 0"),
        (
            lambda: cosine_restarts(1, 0, 2, t_mul=0.9),
            r"t_mul must be in \[1, inf\) and finite, got 0.9",
        ),
        (
            lambda: cosine_restarts(1, 0, 2, m_mul=-0.1),
            r"m_mul must be in \[0, inf\) and finite, got -0.1",
        ),
        (lambda: cyclic(0, 1, 2, form="x"), "form must be one of .* got 'x'"),
        (
            lambda: cyclic(0, 1, 2, gamma=0.9),
            "gamma must be 1 for the form 'triangular', got 0.9",
        ),
        (lambda: cyclic(0, 1, 2, form="exp_range", gamma=0), r"gamma must be in \(0"),
        (lambda: interpolate([], []), "steps must be at least one, .* 0 values for 0"),
        (lambda: interpolate([1, 2], [3]), "as many, got 1 values for 2 steps"),
        (lambda: interpolate([2, 2], [3, 3]), r"steps must be strictly .*\(2.0, 2.0\)"),
        (lambda: interpolate([1], [3], curve="x"), "curve must be one of .* got 'x'"),
        (lambda: one_cycle(1, 5, curve="x"), "curve must be one of .* got 'x'"),
        (lambda: one_cycle(1, 5, phases="x"), "phases must be one of .* got 'x'"),
        (lambda: one_cycle(1, 5, pct_start=1.1), r"pct_start must be in \[0, 1\]"),
        (lambda: one_cycle(1, 5, div_factor=0), r"div_factor must be in \(0, inf\)"),
        (lambda: per_epoch(0.1, 5, first=2), "first must be 0 or 1, got 2"),
        (
            lambda: piecewise([5, 5], [1, 2, 3]),
            r"boundaries must be strictly .*\(5, 5\)",
        ),
        (lambda: join([1, 2, 3], [9, 5]), r"boundaries must be strictly .*\(9, 5\)"),
        (lambda: piecewise([5], [1]), "values must be one more .* got 1 values for 1"),
        (lambda: join([1], [5]), "schedules must be one more .* got 1 schedules for 1"),
        (lambda: piecewise([5], [1, 2], at_boundary="x"), "one of new, old, got 'x'"),
        (lambda: join([lambda _: math.nan], [])(7), "finite at every step, got nan at"),
    ],
)
def test_other_bad_arguments_are_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda flag: exponential(0.1, 0.9, staircase=flag),
        lambda flag: inverse_time(0.1, 0.9, staircase=flag),
        lambda flag: polynomial(0.1, 0.9, 2, cycle=flag),
    ],
)
def test_flags_are_true_or_false(make):
    with pytest.raises(ArgumentTypeError, match="must be True or False, got 1"):
        make(1)


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (exponential(1.0, 2), 1023),
        (exponential(-1.0, 2, 3, staircase=True), 3071),
        (cosine_restarts(1.0, 0.0, 1, m_mul=2), 1023),
        (cyclic(0.0, 1.0, 3, form="exp_range", gamma=2), 1023),
        (exponential(1e200, 10) * exponential(1e100, 10), 4),
        (join([lambda step: math.exp(step + 700)], []), 9),
        (warmup(exponential(1.0, 2), 2), 1023),
    ],
    ids=repr,
)
def test_a_value_that_no_float_holds_is_refused_at_its_step(schedule, last):
    assert math.isfinite(schedule(last))
    named = getattr(schedule, "schedule", schedule)
    rule = f"{re.escape(repr(named))} must be finite at every step, got"
    with pytest.raises(ArgumentError, match=f"^{rule} -?(inf|nan) at step {last + 1}$"):
        schedule(last + 1)


def test_ranges_are_checked_where_a_value_is_used():
    opt = gdopt.SGD(
        np.ones(1), lr=polynomial(0.1, -0.1, 2), momentum=cyclic(-0.9, 0.9, 1)
    )
    with pytest.raises(ArgumentError, match=r"^momentum at step 0 must be in \[0, 1\)"):
        opt.step(np.ones(1))
    with pytest.warns(UserWarning, match="momentum was a schedule"):
        opt.hyper["momentum"] = 0.0
    assert opt.step(np.ones(1))
    assert opt.step(np.ones(1))
    with pytest.raises(ArgumentError, match=r"^lr at step 2 must be in .* got -0.1$"):
        opt.step(np.ones(1))
    assert opt.t == 2


def test_containers_without_order_are_refused():
    with pytest.raises(ArgumentTypeError, match="boundaries must be a list or tuple"):
        piecewise({5}, [1, 2])
