import numpy as np
import pytest

from gdopt import SGD, Optimizer
from gdopt.gallery.parts.walks import (
    RATES,
    Walk,
    adagrad,
    arrivals,
    descend,
    make_adagrad,
    near,
    tuned,
)
from gdopt.problems import bowl, rosenbrock

pytestmark = pytest.mark.usefixtures("numpy_engine")


def test_descents_side_by_side_are_those_one_by_one():
    problem, rates = rosenbrock(), np.array([1e-4, 1e-3, 2e-3])
    points = descend(problem, SGD, rates, 7)
    assert points.shape == (8, 3, 2)
    for column, rate in enumerate(rates):
        p = np.array(problem.start)
        for k in range(8):
            np.testing.assert_array_equal(points[k, column], p)
            p = p - rate * problem.gradient(p)


def test_descents_from_many_starts_keep_the_last_points_where_asked():
    starts = np.random.default_rng(0).standard_normal((5, 2))
    whole = descend(bowl(), SGD, RATES[:2], 4, starts)
    assert whole.shape == (5, 2, 5, 2)
    last = descend(bowl(), SGD, RATES[:2], 4, starts, keep=False)
    np.testing.assert_array_equal(whole[-1], last)


def test_arrived_is_who_stays():
    inside = np.array(
        [[1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool
    )
    assert arrivals(inside).tolist() == [0, 3, 4, 4]


def test_adagrads_first_step_has_the_size_of_the_rate_and_then_shrinks():
    p = np.zeros(2)
    optimizer = make_adagrad(p, lr=0.5)
    assert isinstance(optimizer, Optimizer)
    assert optimizer.rule.function is adagrad
    ways = []
    for _ in range(4):
        before = p.copy()
        optimizer.step(np.array([3.0, -0.1]))
        ways.append(np.abs(p - before))
    expected = 0.5 / np.sqrt([1, 2, 3, 4])  # Duchi et al. for equal gradients
    np.testing.assert_allclose(np.transpose(ways), [expected, expected], rtol=1e-6)


def test_where_no_rate_arrives_the_lowest_end_is_taken():
    problem = bowl(100.0)
    walk = tuned(problem, "SGD", SGD, steps=3, there=near(problem, 1e-9))
    assert walk.arrived is None
    ends = problem.value(descend(problem, SGD, RATES, 3)[-1])
    assert walk.values[-1] == ends.min()
    assert walk.rate == RATES[ends.argmin()]


def test_a_walk_tells_when_it_first_was_at_a_level():
    values = np.array([3.0, 1.0, 2.0, 0.5])
    walk = Walk("SGD", 0.1, np.zeros((4, 2)), values, None)
    assert [walk.first(level) for level in (5, 1, 0.9, 0)] == [0, 1, 3, None]
