"""Logits and hidden activations, as they are in use."""

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network, logistic, softmax

X = np.random.default_rng(0).standard_normal((9, 4))
Y = np.arange(9) % 3
NORMS = {"none": {}, "batch": {"batch_norm": True}, "layer": {"layer_norm": True}}


def make(**options):
    usual = {"seed": 3, "dtype": np.float64, "backend": "numpy", "keep_prob": 0.5}
    network = Network((4, 6, 5, 3), **usual | options)
    network.loss_and_grads(X, Y)  # moves the averages of batch normalization
    return network


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.peers("torch")
def test_every_layer_is_that_of_torch(activation, norm, torch):
    network = make(activation=activation, **NORMS[norm])
    params = {name: torch.tensor(array) for name, array in network.params.items()}
    hidden = torch.tensor(X)
    for k in (1, 2, 3):
        hidden = hidden @ params[f"W{k}"]
        hidden = hidden + params[f"b{k}"] if f"b{k}" in params else hidden
        if norm != "none" and k < 3:
            scale = params[f"gamma{k}"], params[f"beta{k}"]
        if norm == "batch" and k < 3:
            averages = map(torch.tensor, network._layers.statistics.of(k - 1))
            hidden = torch.nn.functional.batch_norm(hidden, *averages, *scale)
        elif norm == "layer" and k < 3:
            shape = hidden.shape[1:]
            hidden = torch.nn.functional.layer_norm(hidden, shape, *scale)
        hidden = getattr(torch, activation)(hidden) if k < 3 else hidden
        found = network.forward(X, layer=k)
        np.testing.assert_allclose(found, hidden.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("output", "last"), [("softmax", 3), ("sigmoid", 1)])
def test_logits_lead_to_the_probabilities(output, last, backend):
    network = Network((4, 6, last), output=output, dtype=float, backend=backend.name)
    x = backend.from_host(X)
    logits = network.forward(x)
    expected = softmax(logits) if last == 3 else logistic(logits[:, 0])
    assert logits.shape == (9, last)
    found = backend.to_host(network.predict_proba(x))
    np.testing.assert_array_equal(found, backend.to_host(expected))
    hidden = network.forward(x, layer=1)
    assert (hidden.shape, hidden.dtype) == ((9, 6), np.float64)


def test_slices_change_no_output_and_nothing_is_remembered(monkeypatch):
    network = make()
    whole, state = network.forward(X, layer=2), network.state_dict()
    monkeypatch.setattr("gdopt.nn.network.ROWS", 4)
    np.testing.assert_allclose(network.forward(X, layer=2), whole, rtol=1e-12)
    assert network.state_dict() == state


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (0, gdopt.ArgumentError, "layer must be a whole number of at least 1, got 0"),
        (4, gdopt.ArgumentError, "layer must be at most 3, the number of layers"),
        (1.0, gdopt.ArgumentTypeError, "layer must be a whole number"),
        (True, gdopt.ArgumentTypeError, "layer must be a whole number"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(layer, error, words):
    with pytest.raises(error, match=words):
        make().forward(X, layer=layer)
    with pytest.raises(gdopt.ArgumentError, match="x must have shape"):
        make().forward(X[:, :3])
