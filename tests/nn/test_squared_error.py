import numpy as np
import pytest

import gdopt
from gdopt.nn.losses import squared_error


def test_worked_numbers():
    predictions = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 3.0]])
    targets = np.array([[0.0, 2.0], [2.0, 1.0], [3.0, 0.0]])
    loss, gradient = squared_error(predictions, targets)
    assert float(loss) == (1 + 0 + 4 + 4 + 0 + 9) / (2 * 3)
    expected = np.array([[1.0, 0.0], [-2.0, -2.0], [0.0, 3.0]]) / 3
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3)])
def test_the_gradient_is_that_of_the_loss(shape):
    rng = np.random.default_rng(0)
    predictions, targets = rng.standard_normal((2, *shape))
    _, gradient = squared_error(predictions, targets)
    for place in np.ndindex(shape):
        sides = []
        for sign in (1, -1):
            moved = predictions.copy()
            moved[place] += sign * 1e-6
            sides.append(float(squared_error(moved, targets)[0]))
        assert gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6)


@pytest.mark.peers("torch")
def test_it_is_half_the_outputs_times_that_of_torch():
    import torch

    rng = np.random.default_rng(1)
    predictions, targets = rng.standard_normal((2, 6, 3))
    leaf = torch.tensor(predictions, requires_grad=True)
    theirs = torch.nn.functional.mse_loss(leaf, torch.tensor(targets))
    theirs.backward()
    loss, gradient = squared_error(predictions, targets)
    assert float(loss) == pytest.approx(3 / 2 * theirs.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, 3 / 2 * leaf.grad.numpy(), rtol=1e-12)


def test_the_arrays_stay_as_they_were():
    predictions, targets = np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)
    loss, gradient = squared_error(predictions, targets)
    gradient[...] = 9
    assert loss.dtype == gradient.dtype == np.float32
    assert (predictions == 1).all()
    assert (targets == 0).all()


@pytest.mark.parametrize(
    ("predictions", "targets", "error", "message"),
    [
        (np.ones((3, 1)), np.ones(3), "ArgumentError", r"targets must have shape \(3,"),
        (np.ones((0, 1)), np.ones((0, 1)), "ArgumentError", "not empty"),
        (np.float64(1)[...], np.ones(()), "ArgumentError", "must have shape"),
        (np.ones(3), np.ones(3, np.float32), "ArgumentTypeError", "must be float64"),
        (np.ones(3), np.ones(3, int), "ArgumentTypeError", "must be float64"),
        ([1.0], np.ones(1), "ArgumentTypeError", "must be a NumPy or CuPy array"),
    ],
)
def test_what_does_not_fit_is_refused(predictions, targets, error, message):
    with pytest.raises(getattr(gdopt, error), match=message):
        squared_error(predictions, targets)


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_targets_that_are_not_finite_are_refused_unless_they_were_checked(shape):
    predictions, targets = np.ones(shape), np.zeros(shape)
    targets[2] = np.inf
    with pytest.raises(gdopt.ArgumentError, match="finite, got inf in row 2, column 0"):
        squared_error(predictions, targets)
    assert squared_error(predictions, targets, validate=False)[0] == np.inf
