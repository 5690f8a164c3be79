"""Norms layer by layer: worked figures, and networks that vanish or explode."""

import math

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network
from gdopt.training.diagnosis import layer_norms

INITIALIZATIONS = ("he", "xavier", "glorot", "zeros")


def examples(network, count=64, seed=1):
    """Standard normal examples, and labels, of the network's dtype and device."""
    rng = np.random.default_rng(seed)
    put = network.params.backend.from_host
    x = rng.standard_normal((count, network.sizes[0])).astype(network.dtype)
    return put(x), put(rng.integers(0, network.sizes[-1], count))


def deep(layers=20, width=100, *, scale=1.0, **options):
    sizes = (*[width] * layers, 10)
    network = Network(sizes, **{"seed": 0, "backend": "numpy", **options})
    network.params.flat[...] *= scale
    return network, *examples(network)


@pytest.mark.parametrize("scale", [0.25, 1.0, 8.0])
def test_every_norm_is_the_one_worked_out_by_hand(device, scale):
    # Weights are s times the identity, x = (1, 1), and both logits are equal: softmax
    # gives 1/2 each, whatever s, so that (-1/2, 1/2) comes back, and s times as much
    # through each layer.
    network = Network((2, 2, 2, 2), seed=0, dtype=np.float64, backend=device)
    put = network.params.backend.from_host
    for k in (1, 2, 3):
        network.params[f"W{k}"] = put(scale * np.eye(2))
    x, y = put(np.ones((3, 2))), put(np.zeros(3, np.int64))
    norms = layer_norms(network, x, y)
    s = scale
    assert [layer.number for layer in norms.layers] == [1, 2, 3]
    assert [layer.weights for layer in norms.layers] == pytest.approx([s * 2**0.5] * 3)
    assert [layer.activations for layer in norms.layers] == pytest.approx(
        [s, s**2, s**3]
    )
    expected = [s**2 / 2, s / 2, 1 / 2]
    assert [layer.signals for layer in norms.layers] == pytest.approx(expected)
    assert [layer.gradients for layer in norms.layers] == pytest.approx([s**2] * 3)
    assert (norms.forward, norms.backward) == (pytest.approx(s), pytest.approx(s))


def test_gradients_are_those_of_the_network():
    network, x, y = deep(4, activation="tanh")
    norms = layer_norms(network, x, y)
    measured = {name: grad.copy() for name, grad in network.grads.items()}
    _, grads = network.loss_and_grads(x, y)
    for k, layer in enumerate(norms.layers, start=1):
        assert (grads[f"W{k}"] == measured[f"W{k}"]).all()
        assert layer.gradients == pytest.approx(
            np.linalg.norm(grads[f"W{k}"]), rel=1e-6
        )


@pytest.mark.parametrize("seed", range(5))
def test_he_with_relu_keeps_signals_within_a_factor_of_four(seed):
    norms = layer_norms(*deep(20, seed=seed))
    assert norms.verdict == "healthy"
    assert 1 / 4 < norms.forward < 4
    assert 1 / 4 < norms.backward < 4
    assert norms.advice == ("nothing: what passes keeps its size from layer to layer",)


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [
        (2.0**-5, "vanishing"),  # activations of 1e-29, whose squares float32 has not
        (0.5, "vanishing"),
        (1.0, "healthy"),
        (2.0, "exploding"),
    ],
)
def test_half_the_weights_vanish_and_twice_as_large_ones_explode(scale, verdict):
    norms, right = layer_norms(*deep(scale=scale)), layer_norms(*deep())
    assert norms.verdict == verdict
    # 19 hidden layers are 18 steps, and ReLU passes any factor on.
    expected = [right.forward * scale**18, right.backward * scale**18]
    assert norms.forward == pytest.approx(expected[0], rel=1e-5, abs=0)
    assert norms.backward == pytest.approx(expected[1], rel=0.5, abs=0)


def test_xavier_loses_half_of_the_squares_in_every_layer_of_relu():
    he, xavier = (layer_norms(*deep(initialization=name)) for name in ("he", "xavier"))
    assert xavier.forward == pytest.approx(he.forward * 0.5**9, rel=1e-4)
    assert (he.verdict, xavier.verdict) == ("healthy", "vanishing")


def test_gradients_of_weights_alone_would_not_tell():
    norms = layer_norms(*deep(scale=0.5))
    first, last = norms.layers[0].gradients, norms.layers[-1].gradients
    assert 0.1 < first / last < 10
    assert norms.verdict == "vanishing"


def test_xavier_with_tanh_is_healthy_where_sigmoid_vanishes():
    found = {a: layer_norms(*deep(activation=a)) for a in ("tanh", "sigmoid")}
    assert found["tanh"].verdict == "healthy"
    assert found["sigmoid"].verdict == "vanishing"
    assert found["sigmoid"].forward == pytest.approx(1, abs=0.1)  # not seen forward
    # Slopes of at most 1/4 and 18 steps: less than 4**-18 comes back.
    assert found["sigmoid"].backward < 4**-18 * 10
    assert any("ReLU in place of sigmoid" in one for one in found["sigmoid"].advice)


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_what_overflows_is_exploding(scale):
    norms = layer_norms(*deep(scale=scale))
    assert not math.isfinite(norms.layers[-1].activations)
    assert norms.verdict == "exploding"
    assert "smaller weights" in norms.advice[0]


def test_he_has_gradients_in_the_first_layer_where_zeros_has_none():
    for activation in ("tanh", "relu"):
        found = {
            name: layer_norms(*deep(10, activation=activation, initialization=name))
            for name in INITIALIZATIONS
        }
        first = {name: norms.layers[0].gradients for name, norms in found.items()}
        assert first["he"] > 0.4
        assert first["he"] > 2 * first["xavier"] > 0.03
        assert first["zeros"] == 0
        assert found["zeros"].verdict == "vanishing"
        assert "start at random" in found["zeros"].advice[0]
        assert "start at random" not in found["xavier"].advice[0]


def test_one_hidden_layer_or_none_is_healthy_unless_it_is_zero():
    for sizes in ((5, 3), (5, 8, 3)):
        network = Network(sizes, seed=0, backend="numpy")
        norms = layer_norms(network, *examples(network))
        assert norms.verdict == "healthy"
        assert (norms.forward, norms.backward) == (1.0, 1.0)
    network = Network((5, 8, 3), initialization="zeros", seed=0, backend="numpy")
    assert layer_norms(network, *examples(network)).verdict == "vanishing"


def test_the_limit_is_an_argument():
    network, x, y = deep(scale=1.2)
    found = layer_norms(network, x, y)
    assert 10 < found.forward < 100
    assert found.verdict == "healthy"
    assert layer_norms(network, x, y, limit=10).verdict == "exploding"


@pytest.mark.parametrize("options", [{"keep_prob": 0.5}, {"batch_norm": True}])
def test_training_goes_on_as_if_nothing_had_been_measured(options):
    runs = []
    for measure in (False, True):
        network, x, y = deep(3, 20, **options)
        before = network.params.flat.tobytes()
        for _ in range(2):
            if measure:
                layer_norms(network, x, y)
            loss, grads = network.loss_and_grads(x, y)
        runs.append((float(loss), grads.flat.tobytes(), network.loss(x, y)))
        assert network.params.flat.tobytes() == before
    assert runs[0] == runs[1]


def test_batch_normalization_heals_what_vanishes():
    norms = layer_norms(*deep(scale=0.5))
    healed = layer_norms(*deep(batch_norm=True, initialization="xavier"))
    assert norms.verdict == "vanishing"
    assert healed.verdict == "healthy"


def test_the_table_has_a_line_for_each_layer():
    norms = layer_norms(*deep(6, 30))
    lines = str(norms).splitlines()
    assert lines[0].startswith("healthy: activations change by a factor of ")
    assert lines[3].split() == [
        "layer",
        "weights",
        "activations",
        "signals",
        "gradients",
    ]
    assert [line.split()[0] for line in lines[4:10]] == list("123456")
    assert max(map(len, lines)) < 90


def test_what_does_not_fit_is_refused():
    network, x, y = deep(3, 20, batch_norm=True)
    before = network.state_dict()
    with pytest.raises(
        gdopt.ArgumentTypeError, match=r"network must be a gdopt\.nn\.Network"
    ):
        layer_norms(network.params, x, y)
    with pytest.raises(gdopt.ArgumentError, match=r"limit must be in \(1, inf\)"):
        layer_norms(network, x, y, limit=1)
    with pytest.raises(gdopt.ArgumentError, match="x must have shape"):
        layer_norms(network, x[:, 1:], y)
    with pytest.raises(gdopt.ArgumentError, match="labels must be class numbers"):
        layer_norms(network, x, y + 10)
    assert str(network.state_dict()) == str(before)
