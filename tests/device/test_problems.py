"""The test functions on arrays of a device: the same values, and they stay there."""

import numpy as np
import pytest

from gdopt import problems

PROBLEMS = {
    "bowl": problems.bowl(30.0, size=3).turned(0.7),
    "saddle": problems.saddle(),
    "bounded saddle": problems.bounded_saddle(20.0),
    "plateau": problems.plateau(),
    "rosenbrock": problems.rosenbrock(4),
    "beale": problems.beale(),
    "himmelblau": problems.himmelblau(),
    "rastrigin": problems.rastrigin(3),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_values_and_gradients_on_the_device_are_those_of_the_host(cp, name, shape):
    problem = PROBLEMS[name]
    rng = np.random.default_rng(0)
    points = rng.standard_normal((*shape, problem.size)).astype(np.float32)
    there = cp.asarray(points)
    works = ["value", "gradient", *(["distance"] if problem.minima else [])]
    for work in works:
        found = getattr(problem, work)(there)
        expected = getattr(problem, work)(points)
        assert isinstance(found, cp.ndarray)
        assert found.dtype == np.float32
        # Sines, cosines and exponentials of the libraries differ in the last places.
        np.testing.assert_allclose(found.get(), expected, rtol=1e-4, atol=1e-3)
