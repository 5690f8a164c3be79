import copy
import math
import pickle

import numpy as np
import pytest

from gdopt import schedules
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

EVERY_SCHEDULE = [
    constant(0.1),
    inverse_time(0.2, 1),
    exponential(0.1, 0.96, 100),
    exponential(0.1, 0.96, 100, staircase=True),
    halving(0.1, 50),
    inv_sqrt(0.2, 0.5),
    piecewise([100, 200], [0.1, 0.03, 0.01]),
    piecewise([100, 200], [0.1, 0.03, 0.01], at_boundary="old"),
    polynomial(0.1, 0.01, 100, power=2),
    cosine(0.1, 0.01, 100),
    warmup(cosine(0.1, 0.01, 100), 10),
    join([warmup(0.1, 10), halving(0.1, 5), 0.01], [10, 100]),
    per_epoch(inverse_time(0.2, 1), 10, first=1),
    inverse_time(0.2, 1, 100, staircase=True, power=0.5),
    exponential(0.1, 1.5, 100, end=3),
    interpolate([0.5, 20, 99], [0.1, 0.2, -0.3], curve="cosine"),
    *one_cycle(0.1, 100),
    *one_cycle(0.1, 100, phases="paper"),
    polynomial(-0.1, -0.2, 100) * cosine(0.1, 0.01, 100, power=2) * 0.5,
    2.0 * (halving(0.1, 50) * constant(-0.1)),
]
FOREVER = [  # these have no last value
    cosine_restarts(0.1, 0.01, 10),
    cosine_restarts(-0.1, 0.01, 10, t_mul=2, m_mul=0.9),
    cyclic(0.01, 0.1, 5),
    cyclic(0.9, 0.8, 5, 2, form="triangular2"),
    cyclic(0.9, 0.8, 5, 2, form="exp_range", gamma=0.99),
    polynomial(0.1, 0.01, 10, cycle=True),
]
every_schedule = pytest.mark.parametrize("schedule", EVERY_SCHEDULE + FOREVER, ids=repr)


def values(schedule, steps):
    return [schedule(step) for step in steps]


def test_every_public_constructor_is_in_the_table():
    made = {type(schedule) for schedule in EVERY_SCHEDULE + FOREVER}
    public = {getattr(schedules, name) for name in schedules.__all__}
    assert public - made == {halving, one_cycle, schedules.Schedule}


@every_schedule
def test_far_on_a_schedule_is_finite(schedule):
    far = values(schedule, (10**6, 10**12, 10**18))
    assert all(math.isfinite(value) for value in far)


@pytest.mark.parametrize("schedule", EVERY_SCHEDULE, ids=repr)
def test_past_its_end_a_schedule_settles(schedule):
    far = values(schedule, (10**6, 10**12, 10**18))
    assert far == sorted(far, reverse=True)


@every_schedule
def test_a_python_float_comes_back(schedule):
    assert type(schedule(3)) is float


@every_schedule
def test_a_numpy_whole_number_is_a_step(schedule):
    assert schedule(np.int64(7)) == schedule(np.uint8(7)) == schedule(7)


@every_schedule
def test_calls_do_not_depend_on_earlier_calls(schedule):
    forward = values(schedule, range(300))
    assert values(schedule, reversed(range(300))) == forward[::-1]


@every_schedule
def test_schedules_compare_copy_and_pickle_by_value(schedule):
    again = pickle.loads(pickle.dumps(schedule))  # noqa: S301 - our own bytes
    assert again == schedule == copy.deepcopy(schedule)
    assert hash(again) == hash(schedule)


@every_schedule
def test_a_schedule_prints_as_the_call_that_makes_it(schedule):
    assert eval(repr(schedule)) == schedule  # noqa: S307 - our own text


def test_a_schedule_cannot_be_changed():
    with pytest.raises(AttributeError):
        constant(0.1).value = 0.2


@every_schedule
@pytest.mark.parametrize(
    ("step", "error"),
    [
        (-1, ArgumentError),
        (1.0, ArgumentTypeError),
        (True, ArgumentTypeError),
        (np.True_, ArgumentTypeError),
        ("1", ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_a_step_that_is_no_count_is_refused(schedule, step, error):
    with pytest.raises(error, match="step must be a whole number of at least 0, got"):
        schedule(step)
