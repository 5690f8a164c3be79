import numpy as np
import pytest

from gdopt import gallery
from gdopt.gallery.optimization.batches import PASSES, SIZES
from gdopt.gallery.parts.regression import regression


def test_the_cost_of_batches_falls_always_that_of_smaller_ones_jumps_the_more(numbers):
    costs = numbers(gallery.batch_sizes)["costs"]
    assert [len(cost) for cost in costs.values()] == [20, 320, 10240]
    rises = {name: (np.diff(cost) > 0).mean() for name, cost in costs.items()}
    assert rises["batch"] == 0
    assert 0.3 < rises["mini-batch"] < 0.6
    # After half of the passes, what is left is the noise of the batches alone.
    noise = {name: cost[len(cost) // 2 :].std() for name, cost in costs.items()}
    assert noise["stochastic"] > 4 * noise["mini-batch"] > 4 * noise["batch"]
    # Examples are drawn alike: a mean of 32 has 1/32 of the variance of one.
    ratio = (noise["stochastic"] / noise["mini-batch"]) ** 2
    assert ratio == pytest.approx(32, rel=0.3)


def test_the_mean_cost_of_mini_batches_falls_all_the_same(numbers):
    costs = numbers(gallery.batch_sizes)["costs"]["mini-batch"].reshape(PASSES, -1)
    assert costs[0].mean() > 1.5 * costs[-1].mean()


def test_the_smaller_the_batch_the_sooner_the_whole_cost_falls(numbers):
    case = numbers(gallery.batch_sizes)
    wholes, least = case["wholes"], case["problem"].least
    above = {
        name: wholes[name][updates] - least
        for name, updates in {"batch": 1, "mini-batch": 16, "stochastic": 512}.items()
    }
    start = wholes["batch"][0] - least
    assert above["batch"] > 0.9 * start
    assert 0.3 * start < above["mini-batch"] < 0.7 * start
    assert above["stochastic"] < 0.1 * start


def test_only_small_batches_wander_around_the_minimum(numbers):
    case = numbers(gallery.batch_sizes)
    last = {name: case["points"][name][-512 // size :] for name, size in SIZES.items()}
    spread = {n: case["problem"].distance(p).mean() for n, p in last.items()}
    assert spread["stochastic"] > 3 * spread["mini-batch"]
    assert np.diff(case["problem"].distance(case["points"]["batch"])).max() < 0


def test_the_cost_of_a_regression_and_its_minimum_are_those_of_its_definition():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    problem = regression(X, y, "cost")
    points = rng.standard_normal((5, 2))
    expected = [np.mean((X @ p - y) ** 2) / 2 for p in points]
    np.testing.assert_allclose(problem.value(points), expected, rtol=1e-12)
    expected = [X.T @ (X @ p - y) / 30 for p in points]
    np.testing.assert_allclose(problem.gradient(points), expected, rtol=1e-11)
    assert problem.value(np.array(problem.minima[0])) == pytest.approx(problem.least)
    assert problem.gradient(np.array(problem.minima[0])) == pytest.approx(0, abs=1e-14)
