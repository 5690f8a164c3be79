"""Weights of examples: a weight counts an example as often as it says."""

import numpy as np
import pytest

from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network

SIZES = {"softmax": (4, 5, 3), "sigmoid": (4, 5, 1), "linear": (4, 5, 2)}


def examples(output, dtype="float64"):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 4)).astype(dtype)
    if output == "linear":
        return x, rng.standard_normal((6, 2)).astype(dtype)
    return x, np.arange(6) % max(SIZES[output][-1], 2)


@pytest.mark.parametrize("output", SIZES)
def test_a_whole_weight_is_a_number_of_copies(output, engine):
    x, y = examples(output)
    counts = np.array([1, 3, 1, 2, 1, 4])
    network = Network(SIZES[output], output=output, l2=2, l1=3, dtype=float)
    loss, grads = network.loss_and_grads(x, y, counts.astype(float))
    weighted = grads.flat.copy()
    copies = (np.repeat(array, counts, axis=0) for array in (x, y))
    expected, grads = network.loss_and_grads(*copies)
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    np.testing.assert_allclose(weighted, grads.flat, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("output", SIZES)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_equal_weights_change_no_loss(output, weight, engine):
    x, y = examples(output, "float32")
    network = Network(SIZES[output], output=output)
    loss = network.loss_and_grads(x, y)[0]
    plain = network.grads.flat.copy()
    weights = np.full(6, weight, np.float32)
    assert network.loss_and_grads(x, y, weights)[0] == loss
    assert network.grads.flat.tobytes() == plain.tobytes()


@pytest.mark.parametrize("output", SIZES)
def test_a_device_gives_what_the_cpu_gives(output, cp):
    x, y = examples(output)
    weights = np.linspace(0.5, 2, 6)
    here = Network(SIZES[output], output=output, l2=1, dtype=float, backend="numpy")
    there = Network(SIZES[output], output=output, l2=1, dtype=float, backend="cupy")
    loss = here.loss_and_grads(x, y, weights)[0]
    found = there.loss_and_grads(*map(cp.asarray, (x, y, weights)))[0]
    np.testing.assert_allclose(float(found), loss, rtol=1e-13)
    grads = cp.asnumpy(there.grads.flat)
    np.testing.assert_allclose(grads, here.grads.flat, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(5), ArgumentError, r"weights must have shape \(6,\), got \(5,\)"),
        (np.ones((6, 1)), ArgumentError, r"weights must have shape \(6,\)"),
        (np.ones(6, np.float32), ArgumentTypeError, "weights must be float64"),
        (np.array([1, 1, 0, 1, 1, 1.0]), ArgumentError, "above 0 .*, got 0.0 in row 2"),
        (np.array([1, 1, 1, 1, 1, np.nan]), ArgumentError, "got nan in row 5"),
        (np.array([np.inf, 1, 1, 1, 1, 1]), ArgumentError, "got inf in row 0"),
    ],
)
def test_other_weights_are_refused(weights, error, message):
    network = Network(SIZES["softmax"], dtype=float)
    with pytest.raises(error, match=message):
        network.loss_and_grads(*examples("softmax"), weights)
