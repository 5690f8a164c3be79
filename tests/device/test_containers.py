"""Nested containers and 0-d arrays on the device; arrays that are replaced there."""

import numpy as np
import pytest

import gdopt


def make(xp):
    draw = np.random.default_rng(3).standard_normal
    layers = [{"W": draw((5, 3)), "b": draw(3)}, (draw(4),)]
    return {
        "layers": [
            {name: xp.asarray(array) for name, array in layers[0].items()},
            tuple(map(xp.asarray, layers[1])),
        ],
        "scale": xp.asarray(2.0),
    }


@pytest.mark.parametrize("kind", [gdopt.Adam, gdopt.LAMB])
def test_nested_arrays_have_the_bits_of_the_cpu(kind, cp):
    host, device = kind(make(np)), kind(make(cp))
    for _ in range(2):
        assert host.step(make(np))
        assert device.step(make(cp))
    for name, array in host.params.items():
        np.testing.assert_array_equal(device.params[name].get(), array, strict=True)


def test_arithmetic_on_a_0d_array_gives_its_gradient(cp):
    p = cp.asarray(3.0)
    optimizer = gdopt.SGD(p, 0.25)
    optimizer.step(2 * p)
    assert float(p) == 1.5
    with pytest.raises(
        gdopt.ArgumentTypeError, match="must be a cupy array, got numpy"
    ):
        optimizer.step(np.float64(1))


@pytest.mark.parametrize("same", [False, True])
def test_an_array_that_was_replaced_is_refused(same, unchanged, cp):
    params, grads = make(cp), make(cp)
    optimizer = gdopt.Adam(params)
    optimizer.step(grads)
    layer = params["layers"][0]
    layer["b"] = layer["b"] - 0.5
    message = r"params\['layers'\]\[0\]\['b'\] is another array"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step(grads if same else make(cp))


@pytest.mark.parametrize("same", [False, True])
def test_an_array_of_another_shape_is_refused(same, unchanged, cp):
    p, g = cp.ones((2, 3)), cp.ones((2, 3))
    optimizer = gdopt.Adam([p])
    optimizer.step([g])
    p.shape = (3, 2)
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match="as when the"):
        optimizer.step([g if same else cp.ones((2, 3))])
