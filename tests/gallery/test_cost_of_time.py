"""Times are a clock's, and no test depends on them: here one ticks as it is told."""

import numpy as np
import pytest

from gdopt import gallery
from gdopt.gallery.optimization import cost_of_time
from gdopt.gallery.optimization.cost_of_time import EXAMPLES, GOAL, RATES, SIZES


@pytest.fixture(scope="module")
def problem():
    """Give the features and targets."""
    return cost_of_time._Regression()


def descend(problem, size, rate, steps):
    """Descend in plain NumPy; give the costs of all examples, the start's first."""
    X, y = problem.X, problem.y
    p = np.zeros(X.shape[1])
    costs = [np.mean((X @ p - y) ** 2) / 2]
    for step in range(steps):
        first = step * size % EXAMPLES
        x, target = X[first : first + size], y[first : first + size]
        p -= rate * x.T @ (x @ p - target) / size
        costs.append(np.mean((X @ p - y) ** 2) / 2)
    return np.array(costs)


def test_one_example_takes_many_more_steps_and_all_many_more_examples(numbers):
    steps = numbers(gallery.cost_of_time)["steps"]
    assert list(steps) == list(SIZES) == [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]
    assert steps[1] == pytest.approx(2717, rel=0.05)
    assert steps[256] == pytest.approx(22, abs=2)
    assert steps[EXAMPLES] == 17
    examples = {size: size * count for size, count in steps.items()}
    assert examples[1] < 0.1 * EXAMPLES  # long before the end of the first pass
    assert examples[256] < 0.1 * EXAMPLES
    assert examples[EXAMPLES] == 17 * EXAMPLES


def test_more_examples_a_step_never_take_more_steps(numbers):
    steps = list(numbers(gallery.cost_of_time)["steps"].values())
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 3 * steps[1] > 9 * steps[2]  # as many as the noise asks for
    assert steps[-3] == steps[-1]  # as many as the contours ask for


def test_every_descent_ends_where_it_first_is_there(numbers):
    for size, above in numbers(gallery.cost_of_time)["above"].items():
        goal = GOAL * above[0]
        assert above[-1] <= goal < above[:-1].min()
        assert len(above) == numbers(gallery.cost_of_time)["steps"][size] + 1


@pytest.mark.parametrize("size", [256, 4096])
def test_the_costs_are_those_of_a_descent_in_plain_numpy(numbers, problem, size):
    case = numbers(gallery.cost_of_time)
    rest = np.linalg.lstsq(problem.X, problem.y)[1][0]
    found = case["above"][size] + rest / EXAMPLES / 2
    expected = descend(problem, size, case["rates"][size], case["steps"][size])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_no_other_rate_is_there_sooner(numbers, problem):
    case = numbers(gallery.cost_of_time)
    best = np.linalg.lstsq(problem.X, problem.y)[0]
    goal = (
        descend(problem, 1, 0.0, 0)[0]
        - np.mean((problem.X @ best - problem.y) ** 2) / 2
    )
    assert case["above"][256][0] == pytest.approx(goal)
    with np.errstate(all="ignore"):
        for rate in RATES[:6]:
            above = descend(problem, 256, rate, case["steps"][256] - 1)
            low = above - np.mean((problem.X @ best - problem.y) ** 2) / 2
            assert not (low <= GOAL * goal).any()


def test_the_descent_of_all_is_the_one_of_theory(numbers, problem):
    """Along each axis of the contours the error is multiplied by 1 - rate curvature."""
    case = numbers(gallery.cost_of_time)
    curvatures, axes = np.linalg.eigh(problem.square)
    start = axes.T @ problem.best
    t = np.arange(case["steps"][EXAMPLES] + 1)[:, None]
    left = start * (1 - case["rates"][EXAMPLES] * curvatures) ** t
    expected = (left**2) @ curvatures / 2
    np.testing.assert_allclose(case["above"][EXAMPLES], expected, rtol=1e-8)


def test_times_are_steps_by_the_shortest_of_the_rounds(numbers):
    case = numbers(gallery.cost_of_time)
    for size in SIZES:
        assert case["seconds"][size] == pytest.approx(3 / cost_of_time._count(size))
        assert case["times"][size] == case["steps"][size] * case["seconds"][size]


def test_the_times_are_drawn_as_they_were_measured(numbers, laid_out):
    case = numbers(gallery.cost_of_time)
    gallery.cost_of_time.paint(case, "unused.png", "claim")
    left, middle, right = laid_out[0].axes
    for size, text in {1: "1", 256: "256", EXAMPLES: "all 65,536"}.items():
        by_steps, by_time = (
            next(line for line in axis.get_lines() if line.get_label() == text)
            for axis in (left, middle)
        )
        np.testing.assert_array_equal(by_steps.get_xdata()[-1], case["steps"][size])
        np.testing.assert_array_equal(by_steps.get_ydata(), case["above"][size][1:])
        ratio = by_time.get_xdata() / by_steps.get_xdata()
        assert ratio == pytest.approx(1000 * case["seconds"][size])
    until, step = right.get_lines()[:2]
    expected = [1000 * seconds for seconds in case["times"].values()]
    np.testing.assert_allclose(until.get_ydata(), expected)
    expected = [1000 * seconds for seconds in case["seconds"].values()]
    np.testing.assert_allclose(step.get_ydata(), expected)


def test_the_time_is_taken_from_the_machines_clock_by_default():
    assert cost_of_time._measure.__kwdefaults__["clock"].__name__ == "perf_counter"
