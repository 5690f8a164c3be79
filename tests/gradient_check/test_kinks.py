"""At a kink, as of ReLU where biases are zero, a right gradient is not called wrong."""

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network

X = np.vstack([np.zeros(4), np.random.default_rng(1).standard_normal((6, 4))])
Y = np.arange(7) % 3


def network(spoil=lambda grads: None):
    """ReLU with zero biases, and an example of zeros."""
    made = Network((4, 6, 5, 3), seed=3, dtype=np.float64, backend="numpy")

    def loss(_):
        value, grads = made.loss_and_grads(X, Y)
        spoil(grads)
        return value, grads

    return loss, made.params


def absolute(slope):
    return lambda w: (np.abs(w).sum(), np.where(w == 0, slope, np.sign(w)))


def hinge(w):
    return np.maximum(w, 0).sum(), (w > 0).astype(w.dtype)


def dead(w):
    """Two units at 0 of opposite effects, as along a direction."""
    return 3 * max(w[0], 0) - 2 * max(w[1], 0) + w @ w, 2 * w


AT_KINKS = {
    "network": network,
    "left side of |w|": lambda: (absolute(-1.0), np.array([0.0, 1.5])),
    "inside of |w|": lambda: (absolute(0.5), np.array([0.0, 1.5])),
    "right side of |w|": lambda: (absolute(1.0), np.array([0.0, 1.5])),
    "hinge": lambda: (hinge, np.array([0.0, -1.0, 2.0])),
    "cancelling units": lambda: (dead, np.zeros(2)),
    "float32": lambda: (hinge, np.array([0.0, 2.0], np.float32)),
}


@pytest.mark.parametrize("directions", [None, 8])
@pytest.mark.parametrize("name", AT_KINKS)
def test_a_right_gradient_at_a_kink_is_called_so_with_what_to_do(name, directions):
    function, params = AT_KINKS[name]()
    step = 1e-3 if name == "float32" else None
    check = gdopt.check_gradient(function, params, step=step, directions=directions)
    assert check.verdict == "kink"
    assert check.kinks
    assert "add small random numbers to the parameters" in str(check)


def test_off_the_kink_the_same_network_is_right():
    function, params = network()
    params.flat[...] += 1e-2 * np.random.default_rng(2).standard_normal(
        params.flat.shape
    )
    check = gdopt.check_gradient(function, params)
    assert check.verdict in ("great", "fine")
    assert check.kinks == ()


def sign(grads):
    grads["W2"] *= -1


def of_the_bias(grads):
    grads["b2"] += 1


@pytest.mark.parametrize("directions", [None, 8])
@pytest.mark.parametrize("spoil", [sign, of_the_bias])
def test_a_wrong_gradient_at_a_kink_is_wrong(spoil, directions):
    function, params = network(spoil)
    check = gdopt.check_gradient(function, params, directions=directions)
    assert check.verdict == "wrong"


@pytest.mark.parametrize("seed", range(5))
def test_where_the_slopes_of_kinks_cancel_their_curves_are_not_called_wrong(seed):
    x, y = np.zeros((4, 3)), np.array([0, 1, 0, 1])
    own = gdopt.nn.Network((3, 4, 2), seed=seed, dtype=np.float64, backend="numpy")

    def shifted(error):
        def function(_):
            loss, grads = own.loss_and_grads(x, y)
            return float(loss), {**grads, "b1": grads["b1"] + error}

        return gdopt.check_gradient(function, own.params)

    right = shifted(0.0)
    assert right.verdict in ("kink", "look again")
    assert right.kinks
    assert shifted(1e-7).verdict == "wrong"


@pytest.mark.parametrize("step", [1e-7, 0.5])
def test_a_curve_is_not_a_kink(step):
    w = np.array([1.0, 2.0])
    check = gdopt.check_gradient(lambda w: ((w**3).sum(), 3 * w), w, step=step)
    assert (check.verdict, check.kinks) == ("wrong", ())
