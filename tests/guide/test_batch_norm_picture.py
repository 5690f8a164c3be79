import numpy as np
import pytest

from gdopt import nn

batch_norm = pytest.importorskip("gdopt.guide.pictures.batch_norm")
PLAIN, TRAINING, IN_USE = batch_norm.ROWS


@pytest.fixture
def numbers(run_script):
    """Return what was computed, by what normalizes."""
    return run_script(batch_norm).numbers["shift"]


def test_without_batch_norm_mean_and_spread_move_with_the_input(numbers):
    assert numbers[PLAIN]["moves"][0] == pytest.approx(1.73, abs=0.1)
    assert min(numbers[PLAIN]["moves"]) > 0.7
    assert min(numbers[PLAIN]["spreads"]) > 1.05


def test_normalized_by_their_own_batch_units_keep_mean_and_spread(numbers):
    assert max(numbers[TRAINING]["moves"]) < 1e-4
    assert numbers[TRAINING]["spreads"] == pytest.approx([1, 1, 1], abs=1e-3)


def test_normalized_by_averages_of_the_training_they_move_as_far(numbers):
    assert numbers[IN_USE]["moves"][0] == pytest.approx(1.77, abs=0.1)
    assert min(numbers[IN_USE]["moves"]) > 0.5


def test_only_the_batchs_own_statistics_keep_what_was_learned(numbers):
    right = {name: case["right"] for name, case in numbers.items()}
    for black, _ in right.values():
        assert black > 0.88
    lost = {name: black - coloured for name, (black, coloured) in right.items()}
    assert lost[TRAINING] < 0.04
    assert lost[PLAIN] > lost[TRAINING] + 0.02
    assert lost[IN_USE] > lost[TRAINING] + 0.05


def test_colours_tell_nothing_and_shift_by_what_is_said():
    black, of_black = batch_norm.cats(1, coloured=False)
    coloured, of_coloured = batch_norm.cats(1, coloured=True)
    np.testing.assert_array_equal(of_black, of_coloured)
    np.testing.assert_array_equal(black[:, :20], coloured[:, :20])
    expected = 4 + 2 * black[:, 20:]
    np.testing.assert_allclose(coloured[:, 20:], expected)
    correlations = np.corrcoef(black[:, 20:].T, of_black)[-1, :-1]
    assert np.abs(correlations).max() < 4 / np.sqrt(len(of_black))


@pytest.fixture(scope="module")
def network():
    """Return a network with batch normalization that has seen some batches."""
    home = {"dtype": np.float64, "backend": "numpy"}
    made = nn.Network((30, 8, 8, 1), output="sigmoid", batch_norm=True, seed=0, **home)
    for seed in range(3):
        _, grads = made.loss_and_grads(*batch_norm.cats(seed, coloured=False))
        for name in grads:
            made.params[name] -= 0.1 * grads[name]
    return made


def test_what_passes_is_what_the_network_has_in_use(network):
    x, _ = batch_norm.cats(5, coloured=True)
    _, logits = batch_norm.propagate(network, x, of_batch=False)
    np.testing.assert_allclose(
        nn.logistic(logits), network.predict_proba(x), rtol=1e-4, atol=1e-6
    )


def test_what_passes_is_what_the_network_has_in_training(network):
    x, y = batch_norm.cats(5, coloured=True)
    hidden, logits = batch_norm.propagate(network, x, of_batch=True)
    loss, _ = nn.binary_cross_entropy(logits[:, None], y)
    assert float(loss) == pytest.approx(float(network.propagate(x, y)), rel=1e-5)
    gamma, beta = network.params["gamma2"], network.params["beta2"]
    np.testing.assert_allclose(hidden[1].mean(axis=0), beta, atol=1e-5)
    np.testing.assert_allclose(hidden[1].std(axis=0), abs(gamma), rtol=1e-3)
