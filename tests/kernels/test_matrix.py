"""The network's passes over matrices: values, order of sums, equal bits by engine."""

import numpy as np
import pytest
from rules import bits

from gdopt.kernels.matrix import column_sums
from gdopt.kernels.ops import lane_sums
from gdopt.nn import formulas

SHAPES = [(1, 1), (5, 3), (31, 7), (33, 1), (100, 40), (128, 130)]
DTYPES = ["float32", "float64"]
PASSES = formulas.ACTIVATIONS
FORWARD = {
    "identity": lambda z: z,
    "relu": lambda z: np.where(z > 0, z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}
BACK = {
    "identity": lambda d, a: d,
    "relu": lambda d, a: np.where(a > 0, d, 0),
    "tanh": lambda d, a: d * (1 - a**2),
    "sigmoid": lambda d, a: d * a * (1 - a),
}


def draw(shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def added_in_order(column):
    """Add numbers as the order of sums has it, one operation after the other."""
    lanes = [column.dtype.type(0)] * 32
    for k, value in enumerate(column):
        lanes[k % 32] += value
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[k] + lanes[k + half] for k in range(half)]
    return lanes[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_added_in_the_public_order(shape, dtype):
    matrix = draw(shape, dtype)
    expected = [added_in_order(column) for column in matrix.T]
    assert bits(lane_sums(matrix)) == bits(np.array(expected))
    transposed = np.asfortranarray(matrix)
    assert bits(lane_sums(transposed)) == bits(np.array(expected))


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_engines_add_the_same_bits(dtype, engine):
    for shape in SHAPES:
        matrix = draw(shape, dtype)
        total, expected = np.empty(shape[1], dtype), lane_sums(matrix)
        column_sums(matrix, total=total)
        assert bits(total) == bits(expected)
        assert bits(matrix) == bits(draw(shape, dtype))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PASSES)
def test_passes_have_the_values_of_plain_numpy(name, shape, engine):
    z, bias, d = draw(shape), draw(shape[1], seed=1), draw(shape, seed=2)
    expected = FORWARD[name](z + bias)
    PASSES[name].apply_biased(z, bias)
    np.testing.assert_allclose(z, expected, rtol=1e-13)
    expected, total = BACK[name](d, z), np.empty(shape[1])
    PASSES[name].back(d, z, total=total)
    np.testing.assert_allclose(d, expected, rtol=1e-12)
    np.testing.assert_allclose(total, expected.sum(axis=0), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["identity", "relu"])
def test_passes_of_exact_operations_have_equal_bits(name, dtype, monkeypatch):
    pytest.importorskip("numba", exc_type=ImportError)
    found = {}
    for engine in ("numpy", "numba"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        z, d = draw((100, 40), dtype), draw((100, 40), dtype, seed=2)
        total = np.empty(40, dtype)
        PASSES[name].apply_biased(z, draw(40, dtype, seed=1))
        PASSES[name].back(d, z, total=total)
        found[engine] = bits(z), bits(d), bits(total)
    assert found["numpy"] == found["numba"]


def test_relu_keeps_nan_and_cuts_infinity(engine):
    z = np.array([[np.nan, np.inf, -np.inf, -0.0, 1e-45]], np.float32)
    PASSES["relu"].apply(z)
    np.testing.assert_array_equal(z, [[np.nan, np.inf, 0, 0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_squared_loss_has_the_same_bits_on_both_engines(dtype, monkeypatch):
    pytest.importorskip("numba", exc_type=ImportError)
    found = []
    for engine in ("numpy", "numba"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        for shape in [(1, 1), (50, 3), (1, 40), (2, 64), (70, 40)]:
            arrays = draw(shape, dtype), draw(shape, dtype, seed=1)
            loss, gradient = formulas.squared_error(*arrays)
            found.append((engine, bits(np.array(loss)), bits(gradient)))
    half = len(found) // 2
    assert [f[1:] for f in found[:half]] == [f[1:] for f in found[half:]]


@pytest.mark.peers("torch")
@pytest.mark.parametrize("classes", [2, 10, 33, 64, 65, 130])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy_agrees_with_torch(classes, dtype, engine):
    import torch

    logits = 5 * draw((37, classes), dtype)
    labels = np.random.default_rng(1).integers(0, classes, 37)
    theirs = torch.tensor(logits.astype(float), requires_grad=True)
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels))
    expected.backward()
    loss, gradient = formulas.softmax_cross_entropy(logits, labels.astype("uint8"))
    tolerance = 20 * float(np.finfo(dtype).eps)
    assert loss == pytest.approx(expected.item(), rel=tolerance)
    assert loss.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(
        gradient, theirs.grad, rtol=50 * tolerance, atol=tolerance
    )
