"""What the pictures of paths claim, with the steps that they show.

Steps are the best of the same 36 rates for every optimizer. Where a path is turned, or
there are exponentials in it, roundings move a count by a step or two.
"""

import numpy as np
import pytest

trajectories = pytest.importorskip("gdopt.guide.pictures.trajectories")
saddle_film = pytest.importorskip("gdopt.guide.pictures.saddle_film")
NAMES = ["SGD", "Momentum", "RMSprop", "Adam"]


@pytest.fixture
def numbers(run_script):
    """Return what was computed for each picture."""
    return run_script(trajectories).numbers


def arrived(numbers):
    return {name: one.arrived for name, one in numbers["trajectories"].items()}


def roughly(steps, within=4):
    return {name: pytest.approx(count, abs=within) for name, count in steps.items()}


def test_through_the_bowl_momentum_needs_a_quarter_of_the_steps(numbers):
    along, _ = numbers["bowl"].values()
    steps = {"SGD": 231, "Momentum": 56, "RMSprop": 115, "Adam": 56}
    assert steps == arrived(along)
    assert steps["Momentum"] < steps["SGD"] / 4


def test_a_turned_bowl_is_the_same_to_descent_and_momentum_and_harder_for_the_others(
    numbers,
):
    along, turned = numbers["bowl"].values()
    along, turned = arrived(along), arrived(turned)
    steps = {"SGD": 231, "Momentum": 56, "RMSprop": 182, "Adam": 78}
    assert roughly(steps) == turned
    for name in ("SGD", "Momentum"):
        assert along[name] == pytest.approx(turned[name], abs=1)
    for name in ("RMSprop", "Adam"):
        assert turned[name] > 1.3 * along[name]


def test_gradient_descent_is_as_fast_in_the_bowl_as_theory_says(numbers):
    along, _ = numbers["bowl"].values()
    trajectory = along["trajectories"]["SGD"]
    assert trajectory.rate < 2 / 100  # the limit of condition 100
    # Along the flat axis the error shrinks by 1 - rate each step, from 4 to 0.1.
    assert trajectory.arrived == np.ceil(np.log(0.1 / 4) / np.log(1 - trajectory.rate))


def test_along_rosenbrocks_valley_momentum_needs_the_fewest_steps(numbers):
    steps = {"SGD": 3576, "Momentum": 208, "RMSprop": 1966, "Adam": 660}
    (case,) = numbers["rosenbrock"].values()
    found = arrived(case)
    assert steps == {name: pytest.approx(n, rel=0.01) for name, n in found.items()}
    assert sorted(found, key=found.get) == ["Momentum", "Adam", "RMSprop", "SGD"]


def test_the_saddle_is_left_and_the_minimum_reached_sooner_than_by_descent(numbers):
    both = numbers["saddle"].values()
    along = {"SGD": 119, "Momentum": 30, "RMSprop": 37, "Adam": 15}
    turned = {"SGD": 119, "Momentum": 30, "RMSprop": 94, "Adam": 82}
    found = [case["left"] for case in both]
    assert found == [along, roughly(turned)]
    for case in both:
        for name in NAMES[1:]:
            assert case["left"][name] < case["left"]["SGD"]
            assert arrived(case)[name] < arrived(case)["SGD"]


def test_gradient_descent_lingers_at_the_saddle_as_long_as_theory_says(numbers):
    along, _ = numbers["saddle"].values()
    trajectory = along["trajectories"]["SGD"]
    near_saddle = np.abs(trajectory.points[10:60, 1])
    growth = near_saddle[1:] / near_saddle[:-1]
    assert growth == pytest.approx(1 + 2 * trajectory.rate, rel=1e-3)
    lingering = np.abs(trajectory.values - 0.0) < 0.1  # the saddle's value
    assert 80 < lingering.sum() < 119


def test_the_plateau_is_crossed_sooner_than_by_descent(numbers):
    (case,) = numbers["plateau"].values()
    left = {"SGD": 290, "Momentum": 54, "RMSprop": 31, "Adam": 8}
    assert roughly(left) == case["left"]
    for name in NAMES[1:]:
        assert case["left"][name] < case["left"]["SGD"] / 5
        assert arrived(case)[name] < arrived(case)["SGD"] / 2


def test_among_many_minima_all_end_near_the_start_and_hardly_any_at_the_least(numbers):
    case = numbers["many_minima"]
    problem, starts = case["problem"], case["starts"]
    assert NAMES == list(case["ends"])
    # The mean value if each start rolls into the minimum of its own cell, k from -5 to
    # 5 on both axes, of width 1, where the last cells are cut off at 5.12.
    widths = {k: 1.0 if abs(k) < 5 else 0.62 for k in range(-5, 6)}
    cells = 2 * 0.995 * sum(k**2 * width / 10.24 for k, width in widths.items())
    for name, ends in case["ends"].items():
        # Within half a period on each axis; what goes further has a start high up.
        ways = np.linalg.norm(ends - starts, axis=1)
        assert np.median(ways) < 0.8, name
        assert (ways < 2).mean() > 0.9, name
        assert (problem.distance(ends) < 0.1).mean() <= 0.02, name
        near = np.round(ends) * 0.99496  # the minima lie a little nearer to 0
        assert (np.abs(ends - near) < 0.1).mean() > 0.95, name
        assert problem.value(ends).mean() == pytest.approx(cells, abs=2), name
    assert problem.value(starts).mean() > 30
    path_ends = [trajectory.points[-1] for trajectory in case["trajectories"].values()]
    assert np.linalg.norm(path_ends - np.array([-2.985, 1.99]), axis=1).max() < 0.1


def test_the_rates_are_the_best_that_there_are(numbers):
    """Every other rate of the 36 takes as long at least, for every optimizer."""
    (case,) = numbers["plateau"].values()
    for name, make in trajectories.RACERS.items():
        points = trajectories.descend(case["problem"], make, trajectories.RATES, 1000)
        with np.errstate(all="ignore"):
            near = case["problem"].distance(points) <= 0.1
        trajectory = case["trajectories"][name]
        for column in near.T:
            since = len(column) - np.argmin(column[::-1])
            assert since >= trajectory.arrived


def test_the_film_shows_the_turned_saddle_until_the_last_has_arrived(run_script):
    film = run_script(saddle_film).numbers["film"]
    assert film["problem"].name.endswith("turned")
    last = max(arrived(film).values())
    assert film["frames"][0] == 0
    assert last <= film["frames"][-1] < last + 5
    order = sorted(film["left"], key=film["left"].get)
    assert order == ["Momentum", "Adam", "RMSprop", "SGD"]
