"""The network's passes on the device: the bits of NumPy, and how many there are."""

import numpy as np
import pytest
from rules import bits

import gdopt
from gdopt.kernels.matrix import column_sums
from gdopt.nn import Network, formulas

SHAPES = [(1, 1), (5, 3), (33, 17), (100, 40)]
MOST_NODES = 24


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["no", "relu"])
def test_passes_of_exact_operations_have_numpys_bits(name, shape, dtype, cp):
    passes = formulas.ACTIVATIONS.get(name, formulas.NO_ACTIVATION)
    found = []
    for send in (np.asarray, cp.asarray):
        z, d, bias = (
            send(draw(size, dtype, seed))
            for seed, size in enumerate((shape, shape, shape[1]))
        )
        total = send(np.empty(shape[1], dtype))
        passes.apply_biased(z, bias)
        passes.back(d, z, total=total)
        found.append([bits(cp.asnumpy(array)) for array in (z, d, total)])
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (7, 100), (1, 90)])
def test_a_squared_loss_has_numpys_bits(shape, dtype, cp):
    arrays = draw(shape, dtype), draw(shape, dtype, seed=1)
    loss, gradient = formulas.squared_error(*arrays)
    there = formulas.squared_error(*map(cp.asarray, arrays))
    assert bits(np.array(loss)) == bits(there[0].get())
    assert bits(gradient) == bits(there[1].get())


@pytest.mark.parametrize("classes", [2, 10, 40, 130])
def test_softmax_agrees_with_numpy(classes, cp):
    logits = 5 * draw((37, classes), "float64")
    labels = np.random.default_rng(1).integers(0, classes, 37)
    loss, gradient = formulas.softmax_cross_entropy(logits, labels)
    for dtype in ("int64", "uint8"):
        there = formulas.softmax_cross_entropy(
            cp.asarray(logits), cp.asarray(labels.astype(dtype))
        )
        assert float(there[0]) == pytest.approx(float(loss), rel=1e-13)
        np.testing.assert_allclose(there[1].get(), gradient, rtol=1e-11, atol=1e-17)


def test_long_columns_are_added_in_order(cp):
    matrix = draw((3000, 2), "float32")
    total, there = np.empty(2, np.float32), cp.asarray(np.empty(2, np.float32))
    column_sums(matrix, total=total)
    column_sums(cp.asarray(matrix), total=there)
    assert bits(total) == bits(there.get())


def test_a_captured_step_of_three_layers_has_at_most_24_nodes(cp, cuda):
    network = Network((784, 512, 256, 10), seed=0, backend="cupy")
    optimizer = gdopt.Adam(network.params)
    X, y = cp.zeros((16, 784), np.float32), cp.zeros(16, np.int64)
    batches = gdopt.minibatches(X, y, batch_size=8, seed=0)
    graph = gdopt.training.TrainingGraph(network, optimizer, batches)
    graph.run(0, 0)
    nodes = cuda.nodes
    assert sum("gemm" in node for node in nodes) == 8
    assert len(nodes) <= MOST_NODES
