"""Times are a clock's, and no test depends on them: here one ticks as it should."""

import itertools

import numpy as np
import pytest

mini_batches = pytest.importorskip("gdopt.guide.pictures.mini_batches")
EXAMPLES, GOAL, SIZES = mini_batches.MANY, mini_batches.GOAL, mini_batches.TIMED
ROUNDS = (100.0, 4.0, 5.0, 3.0, 7.0, 4.0)  # seconds


@pytest.fixture
def numbers(run_script):
    """Return what was computed."""
    return run_script(mini_batches).numbers["steps"]


@pytest.fixture
def steps(numbers):
    """Return by size how many steps it took."""
    return {size: len(above) - 1 for size, above in numbers["above"].items()}


@pytest.fixture(scope="module")
def examples():
    """Return the features and targets, and their best parameters."""
    X, y = mini_batches.many_examples()
    return X, y, np.linalg.lstsq(X, y)[0]


def descend(examples, size, rate, steps):
    """Descend in plain NumPy; return the losses of all examples, the start's first."""
    X, y, _ = examples
    p = np.zeros(X.shape[1])
    losses = [np.mean((X @ p - y) ** 2) / 2]
    for step in range(steps):
        first = step * size % EXAMPLES
        x, target = X[first : first + size], y[first : first + size]
        p -= rate * x.T @ (x @ p - target) / size
        losses.append(np.mean((X @ p - y) ** 2) / 2)
    return np.array(losses)


def test_one_example_takes_many_more_steps_and_all_many_more_examples(steps):
    assert list(steps) == list(SIZES) == [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]
    assert steps[1] == pytest.approx(2717, rel=0.05)
    assert steps[256] == pytest.approx(22, abs=2)
    assert steps[EXAMPLES] == 17
    examples = {size: size * count for size, count in steps.items()}
    assert examples[1] < 0.1 * EXAMPLES  # long before the end of the first pass
    assert examples[256] < 0.1 * EXAMPLES
    assert examples[EXAMPLES] == 17 * EXAMPLES


def test_more_examples_a_step_never_take_more_steps(steps):
    counts = list(steps.values())
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 3 * counts[1] > 9 * counts[2]  # as many as the noise asks for
    assert counts[-3] == counts[-1]  # as many as the contours ask for


def test_every_descent_ends_where_it_first_is_there(numbers):
    for above in numbers["above"].values():
        assert above[-1] <= GOAL * above[0] < above[:-1].min()


@pytest.mark.parametrize("size", [256, 4096])
def test_the_losses_are_those_of_a_descent_in_plain_numpy(
    numbers, steps, examples, size
):
    X, y, best = examples
    least = np.mean((X @ best - y) ** 2) / 2
    expected = descend(examples, size, numbers["rates"][size], steps[size])
    np.testing.assert_allclose(numbers["above"][size] + least, expected, rtol=1e-9)


def test_no_other_rate_is_there_sooner(numbers, steps, examples):
    X, y, best = examples
    least = np.mean((X @ best - y) ** 2) / 2
    start = np.mean(y**2) / 2 - least
    assert numbers["above"][256][0] == pytest.approx(start)
    with np.errstate(all="ignore"):
        for rate in mini_batches.RATES[:6]:
            low = descend(examples, 256, rate, steps[256] - 1) - least
            assert not (low <= GOAL * start).any()


def test_the_descent_of_all_is_the_one_of_theory(numbers, steps, examples):
    """Along each axis of the contours the error is multiplied by 1 - rate curvature."""
    X, _, best = examples
    curvatures, axes = np.linalg.eigh(X.T @ X / EXAMPLES)
    t = np.arange(steps[EXAMPLES] + 1)[:, None]
    left = (axes.T @ best) * (1 - numbers["rates"][EXAMPLES] * curvatures) ** t
    expected = (left**2) @ curvatures / 2
    np.testing.assert_allclose(numbers["above"][EXAMPLES], expected, rtol=1e-8)


def test_a_steps_time_is_that_of_the_shortest_round():
    pauses = itertools.chain.from_iterable((0.0, pause) for pause in ROUNDS)
    ticks = itertools.accumulate(itertools.cycle(pauses))
    seconds = mini_batches.compute_seconds(clock=lambda: next(ticks))
    assert seconds == {
        size: pytest.approx(3 / max(2, 256 // size), rel=1e-6) for size in SIZES
    }


def test_the_times_are_drawn_as_they_were_measured(numbers, steps, run_script):
    drawn = run_script(mini_batches)
    seconds = drawn.numbers["seconds"]
    left, middle, right = drawn.figures["cost-of-time.png"].axes
    for size, text in {1: "1", 256: "256", EXAMPLES: "all 65,536"}.items():
        by_steps, by_time = (
            next(line for line in axis.get_lines() if line.get_label() == text)
            for axis in (left, middle)
        )
        np.testing.assert_array_equal(by_steps.get_xdata()[-1], steps[size])
        np.testing.assert_array_equal(by_steps.get_ydata(), numbers["above"][size][1:])
        ratio = by_time.get_xdata() / by_steps.get_xdata()
        assert ratio == pytest.approx(1000 * seconds[size])
    until, step = right.get_lines()[:2]
    expected = [1000 * seconds[size] * steps[size] for size in SIZES]
    np.testing.assert_allclose(until.get_ydata(), expected)
    expected = [1000 * seconds[size] for size in SIZES]
    np.testing.assert_allclose(step.get_ydata(), expected)


def test_the_time_is_taken_from_the_machines_clock_by_default():
    (clock,) = mini_batches.compute_seconds.__defaults__
    assert clock.__name__ == "perf_counter"
