"""Functions whose gradients are checked, and mistakes planted in them."""

import numpy as np

from gdopt.nn import Network

X = np.random.default_rng(1).standard_normal((7, 4))


def make(output="softmax", activation="tanh", **options):
    """A network, and its loss and gradients with a planted mistake."""
    last = 3 if output == "softmax" else 1
    options = {"seed": 3, "dtype": np.float64, "backend": "numpy"} | options
    network = Network((4, 6, 5, last), activation=activation, output=output, **options)
    y = np.random.default_rng(2).integers(0, max(2, last), len(X))

    def loss(params, spoil=lambda grads: None):
        assert params is network.params
        loss, grads = network.loss_and_grads(X.astype(network.dtype), y)
        spoil(grads)
        return loss, grads

    return network.params, loss


def cubes(w):
    return (w**3).sum(), 3 * w**2


def sign(grads):
    grads["W2"] *= -1


def double(grads):
    grads["b1"] *= 2


def one_element(grads):
    grads["W1"][2, 3] += 0.01


def transposed(grads):
    grads["W2"][:5, :5] = grads["W2"][:5, :5].T.copy()


def forgotten(grads):
    grads["b3"][...] = 0
