import numpy as np
import pytest

from gdopt import SGD, Adagrad
from gdopt.problems import bowl, rosenbrock

trajectories = pytest.importorskip("gdopt.guide.pictures.trajectories")
optimizers = pytest.importorskip("gdopt.guide.pictures.optimizers")
descend, RATES = trajectories.descend, trajectories.RATES


def test_descents_side_by_side_are_those_one_by_one():
    problem, rates = rosenbrock(), np.array([1e-4, 1e-3, 2e-3])
    points = descend(problem, SGD, rates, 7)
    assert points.shape == (8, 3, 2)
    for column, rate in enumerate(rates):
        p = np.array(problem.start)
        for k in range(8):
            np.testing.assert_array_equal(points[k, column], p)
            p = p - rate * problem.gradient(p)


def test_descents_from_many_starts_are_those_from_each():
    starts = np.random.default_rng(0).standard_normal((5, 2))
    points = descend(bowl(), SGD, RATES[:2], 4, starts)
    assert points.shape == (5, 2, 5, 2)
    alone = descend(bowl(), SGD, RATES[:2], 4, starts[3])
    np.testing.assert_array_equal(points[:, :, 3], alone)


def test_arrived_is_who_stays():
    inside = np.array(
        [[1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool
    )
    assert trajectories.arrivals(inside).tolist() == [0, 3, 4, 4]


def test_adagrads_first_step_has_the_size_of_the_rate_and_then_shrinks():
    p = np.zeros(2)
    optimizer = Adagrad(p, lr=0.5)
    ways = []
    for _ in range(4):
        before = p.copy()
        optimizer.step(np.array([3.0, -0.1]))
        ways.append(np.abs(p - before))
    expected = 0.5 / np.sqrt([1, 2, 3, 4])  # Duchi et al. for equal gradients
    np.testing.assert_allclose(np.transpose(ways), [expected, expected], rtol=1e-6)


def test_where_no_rate_arrives_the_lowest_end_is_taken():
    problem = bowl(100.0)
    found = trajectories.best_trajectory(problem, "SGD", SGD, 3)
    assert found.arrived is None
    ends = problem.value(descend(problem, SGD, RATES, 3)[-1])
    assert found.values[-1] == ends.min()
    assert found.rate == RATES[ends.argmin()]
    label = f"SGD, rate {found.rate:.2g}: not in 3 steps"
    assert trajectories.legend_label(found) == label


def test_to_arrive_may_be_to_come_down_to_a_level():
    problem = bowl(1.0)
    found = trajectories.best_trajectory(problem, "SGD", SGD, 9, level=1e-3)
    assert found.arrived == 1
    assert found.rate == 1.0  # the curvature is 1: one step leads to the minimum
    assert trajectories.legend_label(found) == "SGD, rate 1: 1 step"


def test_the_optimizers_have_colours_and_widths():
    names = list(trajectories.RACERS)
    assert names == list(trajectories.TINTS) == list(trajectories.WIDTHS)
    assert len(set(trajectories.TINTS.values())) == 4
