"""Test functions: gradients against differences, minima against the literature."""

import dataclasses
import math

import numpy as np
import pytest

import gdopt
from gdopt import problems

PROBLEMS = {
    "bowl": problems.bowl(30.0),
    "bowl in 5": problems.bowl(30.0, size=5),
    "bowl turned": problems.bowl(30.0, size=3).turned(0.7),
    "saddle": problems.saddle(),
    "bounded saddle": problems.bounded_saddle(),
    "bounded saddle, steep": problems.bounded_saddle(20.0).turned(-2.0),
    "plateau": problems.plateau(),
    "rosenbrock": problems.rosenbrock(),
    "rosenbrock in 4": problems.rosenbrock(4),
    "beale": problems.beale(),
    "himmelblau": problems.himmelblau(),
    "rastrigin": problems.rastrigin(),
    "rastrigin in 1": problems.rastrigin(1),
    "rastrigin in 3": problems.rastrigin(3),
}
FIGURES = [  # of Moré, Garbow & Hillstrom 1981, and of the others that the docs name
    ("rosenbrock", (-1.2, 1.0), 24.2, 1e-12),
    ("rosenbrock", (1.0, 1.0), 0.0, 0),
    ("beale", (1.0, 1.0), 14.203125, 1e-12),
    ("beale", (3.0, 0.5), 0.0, 0),
    ("himmelblau", (0.0, 0.0), 170.0, 0),
    ("himmelblau", (-0.270845, -0.923039), 181.617, 5e-4),
    ("himmelblau", (3.0, 2.0), 0.0, 0),
    ("himmelblau", (-2.805118, 3.131312), 0.0, 1e-9),
    ("himmelblau", (-3.779310, -3.283186), 0.0, 1e-9),
    ("himmelblau", (3.584428, -1.848126), 0.0, 1e-9),
    ("rastrigin", (0.9949586, 0.0), 0.9949591, 1e-6),
    ("rastrigin", (1.0, 1.0), 2.0, 1e-12),
    ("rastrigin", (4.5, 4.5), 80.5, 1e-12),
    ("bounded saddle", (0.0, 0.0), 0.0, 0),
    ("bounded saddle", (0.0, 2**0.5), -1.0, 1e-12),
    ("plateau", (1.0, 1.0), 0.6321205588, 1e-9),
    ("bowl", (2.0, 1.0), 17.0, 0),
]


def spread(problem, count=200):
    """Return points all over the box, and beyond it."""
    rng = np.random.default_rng(0)
    low, high = np.transpose(problem.box)
    return rng.uniform(low - 0.5, high + 0.5, (count, problem.size))


def test_the_table_of_tested_problems_is_that_of_the_exported_ones():
    tested = {name.split(",")[0].split(" in ")[0] for name in PROBLEMS}
    tested = {name.removesuffix(" turned").replace(" ", "_") for name in tested}
    assert {"Problem", *tested} == set(problems.__all__)


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_agree_with_two_sided_differences(name):
    problem = PROBLEMS[name]
    points, step = spread(problem), 1e-6
    found = problem.gradient(points)
    expected = np.empty_like(points)
    for axis in range(problem.size):
        shift = step * np.eye(problem.size)[axis]
        ahead, behind = problem.value(points + shift), problem.value(points - shift)
        expected[:, axis] = (ahead - behind) / (2 * step)
    error = np.linalg.norm(found - expected)
    scale = np.linalg.norm(found) + np.linalg.norm(expected)
    assert error / scale < 1e-8  # right gradients were within 4e-10, a wrong one 1e-1


@pytest.mark.parametrize(("name", "point", "value", "tolerance"), FIGURES)
def test_values_are_those_of_the_literature(name, point, value, tolerance):
    found = PROBLEMS[name].value(np.array(point))
    assert found == pytest.approx(value, abs=tolerance)


def test_rosenbrocks_gradient_at_its_start_is_that_of_the_literature():
    found = PROBLEMS["rosenbrock"].gradient(np.array([-1.2, 1.0]))
    assert found == pytest.approx([-215.6, -88.0], rel=1e-12)


def test_rosenbrock_in_n_variables_is_scipys():
    optimize = pytest.importorskip("scipy.optimize")
    problem = problems.rosenbrock(5)
    for point in spread(problem, 20):
        assert problem.value(point) == pytest.approx(optimize.rosen(point), rel=1e-12)
        expected = optimize.rosen_der(point)
        assert problem.gradient(point) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [n for n in PROBLEMS if n != "saddle"])
def test_minima_are_the_least_points_and_have_no_slope(name):
    problem = PROBLEMS[name]
    minima = np.array(problem.minima)
    assert problem.value(minima) == pytest.approx(problem.least, abs=1e-12)
    assert problem.gradient(minima) == pytest.approx(0, abs=1e-10)
    assert problem.value(spread(problem, 2000)).min() > problem.least
    near = minima[:, None] + 1e-3 * np.random.default_rng(0).standard_normal(
        (len(minima), 50, problem.size)
    )
    assert (problem.value(near) > problem.least).all()


def test_the_saddle_has_no_bound():
    saddle = problems.saddle()
    assert saddle.minima == ()
    assert saddle.value(np.array([0.0, 1e3])) == -1e6
    assert saddle.least == -math.inf


@pytest.mark.parametrize("name", PROBLEMS)
def test_starts_lie_in_the_box_and_are_no_minima(name):
    problem = PROBLEMS[name]
    if not name.endswith(("turned", "steep")):
        low, high = np.transpose(problem.box)
        assert (low < problem.start).all()
        assert (problem.start < high).all()
    assert problem.value(np.array(problem.start)) > problem.least


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_points_are_one_after_the_other_in_their_own_dtype(name, dtype):
    problem = PROBLEMS[name]
    points = spread(problem, 12).astype(dtype).reshape(3, 4, problem.size)
    before = points.copy()
    values, gradients = problem.value(points), problem.gradient(points)
    assert values.dtype == gradients.dtype == dtype
    assert values.shape == (3, 4)
    assert gradients.shape == points.shape
    # Sines and cosines of a vector and of one number may differ in the last place.
    close = {"rtol": 1e-4 if dtype == np.float32 else 1e-12, "atol": 1e-4}
    np.testing.assert_allclose(values[1, 2], problem.value(points[1, 2]), **close)
    alone = problem.gradient(points[1, 2])
    np.testing.assert_allclose(gradients[1, 2], alone, **close)
    assert not np.shares_memory(gradients, points)
    np.testing.assert_array_equal(before, points)


def test_condition_and_curvatures_of_the_bowl():
    bowl = problems.bowl(100.0, size=3)
    hessian = bowl.gradient(np.eye(3))
    np.testing.assert_allclose(hessian, np.diag([1.0, 10.0, 100.0]), rtol=1e-14)


def test_a_turned_problem_is_the_same_one_elsewhere():
    problem, angle = problems.beale(), 0.3
    turned = problem.turned(angle)
    turn = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    points = spread(problem)
    np.testing.assert_allclose(
        turned.value(points @ turn.T), problem.value(points), rtol=1e-9
    )
    expected = problem.gradient(points) @ turn.T
    np.testing.assert_allclose(turned.gradient(points @ turn.T), expected, rtol=1e-8)
    np.testing.assert_allclose(turned.start, turn @ problem.start)
    np.testing.assert_allclose(turned.minima[0], turn @ problem.minima[0])


def test_the_distance_is_that_from_the_minimum_next_to_it():
    problem = problems.himmelblau()
    points = np.array([[3.0, 2.5], [-2.805118, 0.131312], [-4.0, -3.0]])
    expected = [0.5, 3.0, math.hypot(4 - 3.779310, 3.283186 - 3)]
    np.testing.assert_allclose(problem.distance(points), expected, atol=1e-6)
    # Of two minima as far away, each counts.
    assert problems.bounded_saddle().distance(np.zeros(2)) == pytest.approx(2**0.5)


def test_points_of_the_wrong_shape_are_refused():
    for call in ("value", "gradient", "distance"):
        act = getattr(problems.beale(), call)
        for shape in ((), (3,), (2, 1), (2, 3)):
            with pytest.raises(gdopt.ArgumentError, match="p must have shape"):
                act(np.zeros(shape))


@pytest.mark.parametrize(
    "p", [[1.0, 2.0], np.array([1, 2]), np.array([1.0, 2.0], ">f8"), None]
)
def test_points_that_are_no_floats_are_refused(p):
    with pytest.raises(gdopt.ArgumentTypeError):
        problems.beale().gradient(p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problems.bowl(0.5), r"condition must be in \[1, inf\)"),
        (lambda: problems.bowl(math.nan), r"condition must be in \[1, inf\)"),
        (lambda: problems.bowl(size=1), "size must be a whole number of at least 2"),
        (lambda: problems.rosenbrock(1), "size must be a whole number of at least 2"),
        (lambda: problems.rastrigin(0), "size must be a whole number of at least 1"),
        (lambda: problems.bounded_saddle(0.0), r"steepness must be in \(0, inf\)"),
        (lambda: problems.beale().turned(math.inf), "angle must be in"),
        (lambda: problems.rastrigin(1).turned(1.0), "turned needs two variables"),
        (
            lambda: problems.saddle().distance(np.zeros(2)),
            "problem must have a minimum, got 'saddle'",
        ),
    ],
)
def test_what_no_problem_can_be_is_refused(make, message):
    with pytest.raises(gdopt.ArgumentError, match=message):
        make()


def test_a_problem_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        problems.beale().least = 1.0
