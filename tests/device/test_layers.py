"""Dropout and batch normalization on a device do what they do on the CPU."""

import numpy as np
import pytest

import gdopt


def trained(backend, **options):
    network = gdopt.nn.Network(
        (6, 20, 10, 3),
        l2=0.1,
        l1=0.1,
        seed=0,
        dtype=np.float64,
        backend=backend,
        **options,
    )
    home = network.params.backend
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), rng.integers(0, 3, 40)
    optimizer = gdopt.SGD(network.params, lr=0.1)
    batches = gdopt.minibatches(
        home.from_host(X), home.from_host(y), batch_size=16, seed=0
    )
    gdopt.fit(network, optimizer, batches, epochs=3)
    told = network.predict_proba(home.from_host(X))
    return network, home.to_host(network.params.flat), home.to_host(told)


@pytest.mark.parametrize(
    "options",
    [
        {"keep_prob": 0.5},
        {"batch_norm": True},
        {"keep_prob": [0.9, 0.5], "batch_norm": True},
        {"layer_norm": True},
    ],
)
def test_a_seed_trains_the_same_network_everywhere(cp, options):
    here, there = trained("numpy", **options), trained("cupy", **options)
    for own, other in zip(here[1:], there[1:], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12)


def test_a_state_goes_from_the_device_to_the_cpu_and_back(cp):
    there, *_ = trained("cupy", batch_norm=True)
    here, *_ = trained("numpy", batch_norm=True)
    state = there.state_dict()
    assert isinstance(state["statistics"]["1"]["mean"]["value"], np.ndarray)
    here.load_state_dict(state)
    there.load_state_dict(here.state_dict())
    again = there.state_dict()["statistics"]["2"]["variance"]["value"]
    np.testing.assert_array_equal(again, state["statistics"]["2"]["variance"]["value"])


@pytest.mark.parametrize(
    "options", [{"keep_prob": 0.5}, {"batch_norm": True}, {"layer_norm": True}]
)
def test_a_graph_refuses_what_the_host_keeps_up_to_date(cp, options):
    network = gdopt.nn.Network((6, 8, 3), **options, seed=0, backend="cupy")
    X, y = cp.asarray(np.zeros((10, 6), np.float32)), cp.asarray(np.zeros(10, int))
    optimizer = gdopt.SGD(network.params, lr=0.1)
    batches = gdopt.minibatches(X, y, batch_size=5, seed=0)
    with pytest.raises(gdopt.ArgumentError, match="without dropout and batch norm"):
        gdopt.fit(network, optimizer, batches, epochs=1, cuda_graph=True)
