"""The norm on the device keeps the public order, wherever gradients lie."""

import numpy as np
import pytest
from norm_order import at_the_limits, ordered_norm, scattered
from twins import LAYOUTS, Twins

import gdopt

SHAPES = ((300,), (), (0, 3), (4096,), (70, 59), (129,), (9000,), (2, 3, 5))
DTYPES = {
    "float32": ("float32",),
    "float64": ("float64",),
    "mixed": ("float64", "float32", "float16"),
}


def draw(seed, dtypes, count=9):
    generator = np.random.default_rng(seed)
    row = {}
    for k in range(count):
        dtype = dtypes[k % len(dtypes)]
        kind = seed if dtype == "float64" else 0
        array = scattered(generator, SHAPES[k % len(SHAPES)], kind)
        row[f"p{k}"] = array.astype(dtype)
    return row


def make(params):
    return gdopt.SGD(params, lr=0.1, clip_norm=1.0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtypes", DTYPES)
def test_a_device_adds_in_the_public_order(dtypes, layout, cp):
    twins = Twins(cp, make, draw(0, DTYPES[dtypes]), layout)
    for seed in range(4):
        row = draw(seed, DTYPES[dtypes])
        twins.step(row)
        assert float(twins.device.grad_norm) == ordered_norm(list(row.values()))
    twins.assert_same()


def test_the_limits_between_the_three_sums(cp):
    twins = Twins(cp, make, {"p": np.zeros(300)})
    for array in at_the_limits():
        twins.step({"p": array})
        assert float(twins.device.grad_norm) == ordered_norm([array])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_strided_gradients_and_those_between_16_bytes(dtype, cp):
    start = {"a": np.zeros((150, 70), dtype), "b": np.zeros(9001, dtype)}
    generator = np.random.default_rng(0)
    row = {
        n: generator.standard_normal(a.shape).astype(dtype) for n, a in start.items()
    }
    places = [lambda a: a.T if a.ndim == 2 else a[::-1], lambda a: a[1:]]
    for place in places:
        twins = Twins(cp, make, start, place=place)
        twins.step(row, place=place)
        expected = ordered_norm([place(array) for array in row.values()])
        assert float(twins.device.grad_norm) == expected
        twins.assert_same()


@pytest.mark.parametrize("count", [17, 300])
def test_many_arrays(count, cp):
    row = draw(1, ("float32",), count)
    twins = Twins(cp, make, draw(0, ("float32",), count), "arenas")
    twins.step(row)
    assert float(twins.device.grad_norm) == ordered_norm(list(row.values()))


def test_padding_is_never_added(cp):
    params = gdopt.Arena.of({"a": cp.zeros(70, "float32"), "b": cp.zeros(3, "float32")})
    optimizer, grads = make(params), params.like()
    grads.flat[:] = cp.full(grads.flat.size, np.nan, "float32")
    grads["a"][...] = cp.full(70, 1.0, "float32")
    grads["b"][...] = cp.full(3, 3.0, "float32")
    optimizer.step(grads)
    assert float(optimizer.grad_norm) == np.sqrt(97.0)
