import numpy as np
import pytest

import gdopt

regularization = pytest.importorskip("gdopt.guide.pictures.regularization")
moons = regularization.moons


@pytest.fixture
def numbers(run_script):
    """Return what was computed for each picture."""
    return run_script(regularization).numbers


def test_a_larger_lambda_gives_smaller_weights_and_a_shorter_boundary(numbers):
    cases = [numbers["boundaries"][name] for name in ("λ 0", "λ 1", "λ 10")]
    weights, lengths = ([case[k] for case in cases] for k in ("weights", "length"))
    assert weights[0] > 4 * weights[1] > 8 * weights[2]
    assert lengths[1] < 0.75 * lengths[0]
    assert lengths[2] < lengths[1]


def test_units_that_are_dropped_give_a_shorter_boundary(numbers):
    cases = numbers["boundaries"]
    lengths = {name: cases[name]["length"] for name in regularization.CASES}
    assert list(lengths) == ["λ 0", "λ 1", "λ 10", "keep 0.9", "keep 0.8", "keep 0.6"]
    assert lengths["keep 0.9"] < lengths["λ 0"]
    assert lengths["keep 0.6"] < lengths["keep 0.8"] < 0.85 * lengths["λ 0"]


def test_held_back_in_the_middle_it_tells_new_points_best(numbers):
    cases = numbers["boundaries"]
    seen, unseen = (
        {name: cases[name][kind] for name in regularization.CASES}
        for kind in ("seen", "unseen")
    )
    assert seen["λ 0"] - unseen["λ 0"] > 0.08  # learned by heart: high variance
    assert unseen["λ 1"] > unseen["λ 0"] + 0.02
    assert unseen["λ 1"] > unseen["λ 10"] + 0.04  # held back too much: high bias
    assert seen["λ 10"] < seen["λ 1"] < seen["λ 0"]
    assert unseen["keep 0.8"] > unseen["λ 0"] + 0.01


def test_dropout_divided_by_keep_leaves_the_mean_of_all_units(numbers):
    case = numbers["dropout"]
    for keep, sums in case["sums"].items():
        error = sums.std() / np.sqrt(len(sums))
        assert sums.mean() == pytest.approx(case["whole"], abs=4 * error)
        assert case["plain"][keep].mean() == pytest.approx(
            keep * case["whole"], abs=4 * error
        )
        assert abs(case["plain"][keep].mean() - case["whole"]) > 10 * error


def test_the_spread_of_dropout_is_that_of_independent_draws(numbers):
    """Of each unit a / keep with chance keep: variance a^2 (1 - keep) / keep."""
    sums = numbers["dropout"]["sums"]
    expected = (0.5 / 0.5) / (0.1 / 0.9)
    assert sums[0.5].var() / sums[0.9].var() == pytest.approx(expected, rel=0.1)


def test_early_stopping_stops_when_patience_is_at_its_end(numbers):
    case = numbers["patience"]
    train, dev, best = case["train"], case["dev"], case["best"]
    assert len(train) == len(dev) == regularization.EPOCHS
    assert case["stopped"] == best + regularization.PATIENCE < regularization.EPOCHS
    assert dev[best - 1] == dev[: case["stopped"]].min()


def test_had_it_gone_on_only_the_training_loss_would_have_fallen(numbers):
    case = numbers["patience"]
    train, dev, best = case["train"], case["dev"], case["best"]
    assert train[-1] < 0.8 * train[best - 1]
    assert dev[-1] > 1.3 * dev[best - 1]
    assert dev.argmin() == best - 1


def test_the_curve_and_the_weights_are_those_of_a_training_without_a_stop(numbers):
    case = numbers["patience"]
    points, judges = moons(160, seed=0, noise=0.3), moons(400, seed=1, noise=0.3)
    home = {"dtype": np.float64, "backend": "numpy"}
    network = gdopt.nn.Network(regularization.SIZES, output="sigmoid", seed=0, **home)
    optimizer = gdopt.Adam(network.params, lr=0.01)
    batches = gdopt.minibatches(*points, batch_size=32, seed=0)
    epochs = case["stopped"] + 10
    losses = []

    def measure(_record):
        losses.append(network.loss(*judges))

    how = {"epochs": epochs, "record_every": "epoch", "callback": measure}
    gdopt.fit(network, optimizer, batches, **how)
    assert case["restored"] == pytest.approx(losses[case["best"] - 1], rel=1e-9)
    assert case["dev"][epochs - 1] == pytest.approx(network.loss(*judges), rel=1e-6)


def test_moons_lie_on_two_half_circles():
    X, y = moons(200, noise=0.0, seed=3)
    assert np.bincount(y).tolist() == [100, 100]
    centres = np.array([[0.0, 0.0], [1.0, 0.5]])[y]
    np.testing.assert_allclose(np.linalg.norm(X - centres, axis=1), 1, rtol=1e-6)
    assert (X[y == 0, 1] >= 0).all()
    assert (X[y == 1, 1] <= 0.5).all()


def test_moons_are_where_those_of_scikit_learn_are():
    datasets = pytest.importorskip("sklearn.datasets")
    expected, classes = datasets.make_moons(400, noise=0.0, random_state=0)
    X, y = moons(200, noise=0.0, seed=3)
    for label in (0, 1):
        there = expected[classes == label]
        away = np.linalg.norm(X[y == label][:, None] - there, axis=-1)
        assert away.min(axis=1).max() < 0.01  # theirs are 0.016 apart


def test_noise_blurs_moons_by_its_deviation():
    calm, blurred = (moons(4000, noise=noise, seed=0)[0] for noise in (0.0, 0.3))
    assert (blurred - calm).std() == pytest.approx(0.3, rel=0.04)
