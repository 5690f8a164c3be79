"""Matrix products go to cuBLAS itself, on the arrays' own device."""

import numpy as np
import pytest

import gdopt

WAYS = {
    "plain": lambda a: a,
    "transposed": lambda a: a.T,
    "every second": lambda a: a[:, ::2],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("right", WAYS)
@pytest.mark.parametrize("left", WAYS)
def test_products_are_numpy_s(left, right, dtype, cp):
    generator = np.random.default_rng(0)
    one = generator.standard_normal((6, 6)).astype(dtype)
    other = generator.standard_normal((6, 6)).astype(dtype)
    one = one if left != "every second" else np.repeat(one, 2, axis=1)
    other = other if right != "every second" else np.repeat(other, 2, axis=1)
    a, b = WAYS[left](cp.asarray(one)), WAYS[right](cp.asarray(other))
    expected = WAYS[left](one) @ WAYS[right](other)
    backend = gdopt.get_backend("cupy")
    np.testing.assert_allclose(backend.matmul(a, b).get(), expected, rtol=1e-5)
    out = cp.zeros_like(backend.matmul(a, b))
    assert backend.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out.get(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "shapes", [((1, 7), (7, 3)), ((5, 1), (1, 4)), ((4, 7), (7, 1))]
)
def test_products_of_rows_and_columns(shapes, cp):
    generator = np.random.default_rng(1)
    one, other = (generator.standard_normal(shape) for shape in shapes)
    backend = gdopt.get_backend("cupy")
    found = backend.matmul(cp.asarray(one), cp.asarray(other))
    np.testing.assert_allclose(found.get(), one @ other, rtol=1e-12)


def test_handle_and_result_are_on_the_device_of_the_arrays(cp):
    if cp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    with cp.cuda.Device(1):
        a = cp.asarray(2 * np.eye(3))
    found = gdopt.get_backend("cupy").matmul(a, a)
    assert found.device.id == 1
    with cp.cuda.Device(1):
        assert (found.get() == 4 * np.eye(3)).all()


@pytest.mark.parametrize(
    ("shapes", "out"), [(((2, 3), (5, 4)), None), (((2, 3), (3, 4)), (4, 2))]
)
def test_shapes_that_do_not_fit_are_refused(shapes, out, cp):
    a, b = (cp.asarray(np.ones(shape)) for shape in shapes)
    out = None if out is None else cp.zeros(out)
    with pytest.raises(ValueError):
        gdopt.get_backend("cupy").matmul(a, b, out=out)
