import numpy as np
import pytest

import gdopt
from gdopt.nn.forward import example_gradients


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize(("output", "last"), [("softmax", 4), ("sigmoid", 1)])
def test_the_lengths_are_those_of_the_gradients_one_by_one(activation, output, last):
    network = gdopt.nn.Network(
        (5, 7, 6, last),
        activation=activation,
        output=output,
        seed=0,
        dtype=np.float64,
        backend="numpy",
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 5)), rng.integers(0, max(2, last), 9)
    along = network.grads.like()
    along.flat[...] = rng.standard_normal(along.flat.shape)
    squares, dots = example_gradients(network, x, y, along=along)
    mean = network.grads.flat.copy()
    for k in range(len(x)):
        _, grads = network.loss_and_grads(x[k : k + 1], y[k : k + 1])
        own = np.concatenate([grads[name].ravel() for name in grads])
        direction = np.concatenate([along[name].ravel() for name in grads])
        assert squares[k] == pytest.approx(own @ own, rel=1e-12)
        assert dots[k] == pytest.approx(own @ direction, rel=1e-10)
    network.loss_and_grads(x, y)
    assert (network.grads.flat == mean).all()


def test_without_a_direction_there_are_no_dots():
    network = gdopt.nn.Network((2, 3), seed=0, backend="numpy")
    x, y = np.ones((4, 2), np.float32), np.zeros(4, int)
    squares, dots = example_gradients(network, x, y)
    assert squares.shape == (4,)
    assert squares.dtype == np.float32
    assert dots is None


def test_what_does_not_fit_is_refused():
    network = gdopt.nn.Network((2, 3), seed=0, backend="numpy")
    with pytest.raises(gdopt.ArgumentError, match="labels must be class numbers"):
        example_gradients(network, np.ones((4, 2), np.float32), np.full(4, 9))
