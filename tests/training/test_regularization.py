"""What holds a network back, on the points of the course's exercise."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt

POINTS = Path(__file__).with_name("points_2d.json")


@pytest.fixture(scope="module")
def points():
    """Return the points in the plane: columns are examples, as in the course."""
    saved = json.loads(POINTS.read_text(encoding="utf-8"))
    arrays = {name: np.array(saved[name]).T for name in saved if name != "about"}
    normalizer = gdopt.Normalizer.fit(arrays["train_X"])
    X, T = (
        normalizer.transform(arrays[name]).astype(np.float32)
        for name in ("train_X", "test_X")
    )
    y, t = (arrays[name].ravel().astype(int) for name in ("train_Y", "test_Y"))
    return SimpleNamespace(X=X, y=y, T=T, t=t)


@pytest.fixture(scope="module")
def trained(points):
    """Return ``trained(**options)``: a network, trained by batch gradient descent."""
    made = {}

    def train(*, keep_prob=1.0, l2=0.0, l1=0.0):
        key = keep_prob, l2, l1
        if key not in made:
            network = gdopt.nn.Network(
                (2, 50, 20, 1),
                output="sigmoid",
                keep_prob=keep_prob,
                l2=l2,
                l1=l1,
                seed=0,
                backend="numpy",
            )
            optimizer = gdopt.Adam(network.params, lr=0.01)
            batches = gdopt.minibatches(points.X, points.y, batch_size=211, seed=0)
            options = {"record_every": 500, "validate": False}
            gdopt.fit(network, optimizer, batches, epochs=1500, **options)
            made[key] = network
        return made[key]

    return train


def weights(network):
    return np.concatenate([a.ravel() for a in network.params.values() if a.ndim == 2])


def gap(network, points):
    train = network.accuracy(points.X, points.y)
    return train - network.accuracy(points.T, points.t)


@pytest.mark.slow
def test_a_larger_lambda_gives_smaller_weights(trained):
    lengths = [np.linalg.norm(weights(trained(l2=l2))) for l2 in (0, 1, 5, 30)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 5 * lengths[1]


@pytest.mark.slow
def test_a_network_that_is_held_back_draws_a_simpler_boundary(trained, points):
    pictures = pytest.importorskip("gdopt.guide.pictures.regularization")

    def length(**options):
        return pictures.boundary_length(trained(**options).predict_proba, points.X)

    free = length()
    assert length(l2=1.0) < 0.6 * free
    assert length(l2=30.0) < 0.6 * free
    assert length(keep_prob=0.86) < free
    assert length(keep_prob=0.6) < 0.6 * free


@pytest.mark.slow
def test_it_learns_less_by_heart(trained, points):
    assert trained().accuracy(points.X, points.y) == 1.0
    free = gap(trained(), points)
    assert free > 0.05
    for options in ({"l2": 1.0}, {"keep_prob": 0.86}, {"keep_prob": 0.6}, {"l1": 1.0}):
        assert gap(trained(**options), points) < 0.75 * free


def test_and_predicts_unseen_points_as_well(trained, points):
    free = trained().accuracy(points.T, points.t)
    for options in ({"l2": 1.0}, {"keep_prob": 0.86}):
        # Of 200 points one is .005.
        assert trained(**options).accuracy(points.T, points.t) >= free - 0.015


def test_l1_leaves_most_weights_at_nothing(trained):
    share = [
        float((np.abs(weights(trained(**options))) < 1e-2).mean())
        for options in ({"l1": 1.0}, {"l2": 1.0}, {})
    ]
    assert share[0] > 0.9
    assert share[0] > share[2] + 0.5
