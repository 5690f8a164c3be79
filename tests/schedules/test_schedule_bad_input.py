import math

import numpy as np
import pytest

from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.schedules import (
    constant,
    cosine,
    exponential,
    halving,
    inv_sqrt,
    inverse_time,
    join,
    per_epoch,
    piecewise,
    polynomial,
    warmup,
)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-0.1, ArgumentError),
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
        (lambda value: exponential(1, value), "rate"),
        (lambda value: halving(value, 2), "start"),
        (inv_sqrt, "start"),
        (lambda value: inv_sqrt(1, value), "k"),
        (lambda value: piecewise([1], [0.1, value]), r"values\[1\]"),
        (lambda value: polynomial(value, 0, 2), "start"),
        (lambda value: polynomial(1, value, 2), "end"),
        (lambda value: polynomial(1, 0, 2, power=value), "power"),
        (lambda value: cosine(value, 0, 2), "start"),
        (lambda value: cosine(1, value, 2), "end"),
        (lambda value: warmup(value, 2), "schedule"),
        (lambda value: join([0.1, value], [2]), r"schedules\[1\]"),
        (lambda value: per_epoch(value, 2), "schedule"),
    ],
)
def test_a_value_that_is_no_rate_is_refused(make, name, value, error):
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
        (lambda steps: warmup(0.1, steps), "steps"),
        (lambda steps: per_epoch(0.1, steps), "steps"),
        (lambda steps: piecewise([steps], [0.1, 0.2]), r"boundaries\[0\]"),
        (lambda steps: join([0.1, 0.2], [steps]), r"boundaries\[0\]"),
    ],
)
def test_steps_that_are_no_positive_count_are_refused(make, name, steps, error):
    with pytest.raises(error, match=rf"^{name} must be a whole number of at least 1"):
        make(steps)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: exponential(0.1, 0), r"rate must be in \(0, 1\] and finite, got 0"),
        (
            lambda: exponential(0.1, 1.1),
            r"rate must be in \(0, 1\] and finite, got 1.1",
        ),
        (
            lambda: polynomial(1, 0, 2, power=0),
            r"power must be in \(0, inf\) and finite, got 0",
        ),
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


def test_containers_without_order_are_refused():
    with pytest.raises(ArgumentTypeError, match="boundaries must be a list or tuple"):
        piecewise({5}, [1, 2])
