"""Parameters in nested containers, 0-d ones, and what a step does if they change."""

import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest

import gdopt

ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError
GENERATOR = np.random.default_rng(41)


class Layer(NamedTuple):
    """The arrays of one layer."""

    W: np.ndarray
    b: np.ndarray


def make():
    draw = GENERATOR.standard_normal
    layers = [
        {"W": draw((2, 3)), "b": draw(3)},
        Layer(draw((4, 1)), draw(1)),
        (draw(2),),
    ]
    return {"layers": layers, "head": draw(2)}


def flat(params):
    return dict(gdopt.SGD(params).params)


def reordered(params):
    """Return the same containers with their mappings in another order."""
    if isinstance(params, dict):
        return {key: reordered(params[key]) for key in reversed(params)}
    return [*map(reordered, params)] if type(params) in {list, tuple} else params


FORMS = {
    "nested": lambda grads: grads,
    "mappings in another order": reordered,
    "by path": flat,
    "by path, in another order": lambda grads: dict(reversed(flat(grads).items())),
    "a mapping for a named tuple": lambda grads: {
        **grads,
        "layers": [
            grads["layers"][0],
            grads["layers"][1]._asdict(),
            (grads["layers"][2]),
        ],
    },
    "an arena": gdopt.Arena.of,
}


@pytest.mark.parametrize("form", FORMS)
def test_gradients_may_be_nested_or_flat(form, engine):
    params, grads = make(), make()
    alone = {name: array.copy() for name, array in flat(params).items()}
    nested, other = gdopt.Adam(params), gdopt.Adam(alone)
    for _ in range(3):
        nested.step(FORMS[form](grads))
        other.step(flat(grads))
    for name, array in flat(params).items():
        np.testing.assert_array_equal(array, alone[name], strict=True)


def without(grads, key):
    grads["layers"][0].pop(key)
    return grads


WRONG = {
    "a name missing": (lambda g: without(g, "b"), "missing 'layers.0.b'"),
    "a name unknown": (lambda g: {**g, "c": np.ones(1)}, "unknown 'c'"),
    "a list too short": (
        lambda g: {**g, "layers": g["layers"][:2]},
        "missing 'layers.2.0'",
    ),
    "a list too long": (
        lambda g: {**g, "layers": [*g["layers"], np.ones(1)]},
        "unknown 'layers.3'",
    ),
    "a plain tuple for a named one": (
        lambda g: {
            **g,
            "layers": [g["layers"][0], tuple(g["layers"][1]), g["layers"][2]],
        },
        "missing 'layers.1.W', 'layers.1.b'; unknown 'layers.1.0', 'layers.1.1'",
    ),
    "a flat list": (lambda g: list(flat(g).values()), "missing 'layers.0.W'"),
    "an array for a container": (
        lambda g: {**g, "layers": np.ones(3)},
        "unknown 'layers'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_gradients_of_another_form_are_refused(case, unchanged):
    change, message = WRONG[case]
    optimizer = gdopt.Adam(make())
    grads = make()
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
        optimizer.step(change(grads))


def test_settings_and_frozen_arrays_are_named_by_path():
    params, grads = make(), make()
    before = copy.deepcopy(params)
    lr = {"layers.*.W": 0.5, "*": 0.0}
    optimizer = gdopt.SGD(params, lr, frozen="layers.1.*")
    del grads["layers"][0]["b"]
    with pytest.raises(ARGUMENT, match=r"missing 'layers\.0\.b'"):
        optimizer.step(grads)
    grads["layers"][0]["b"] = np.ones(3)
    grads["layers"][1] = {}  # of frozen arrays
    optimizer.step(grads)
    expected = before["layers"][0]["W"] - 0.5 * grads["layers"][0]["W"]
    np.testing.assert_array_equal(params["layers"][0]["W"], expected)
    np.testing.assert_array_equal(params["layers"][1].W, before["layers"][1].W)
    np.testing.assert_array_equal(params["head"], before["head"])


def test_a_copy_takes_gradients_by_path_and_nested():
    optimizer = gdopt.Adam(make())
    grads = make()
    optimizer.step(grads)
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):  # noqa: S301
        copied.step(grads)
        copied.step(flat(grads))


@pytest.mark.parametrize(
    "dtype",
    [
        *("float32", "float64", "float16"),
        pytest.param("bfloat16", marks=pytest.mark.newest),  # older ones widen it
    ],
)
def test_arithmetic_on_a_0d_array_gives_its_gradient(dtype, engine):
    pytest.importorskip("ml_dtypes")
    alone, inside = np.array(3.0).astype(dtype), np.array(3.0).astype(dtype)
    lone, nested = gdopt.SGD(alone, 0.25), gdopt.SGD({"a": [inside]}, 0.25)
    for _ in range(2):
        assert isinstance(2 * alone, np.generic)
        lone.step(2 * alone)
        nested.step({"a": [2 * inside]})
    assert float(alone) == float(inside) == 0.75


def test_a_number_is_not_the_gradient_of_a_0d_array(unchanged):
    optimizer = gdopt.SGD(np.array(1.0, np.float32))
    message = r"of params must be a numpy array, got .*: write np.float32\(g\)"
    with unchanged(optimizer), pytest.raises(KIND, match=message):
        optimizer.step(2.0)
    with unchanged(optimizer), pytest.raises(KIND, match="float32, got float64"):
        optimizer.step(np.float64(2))
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=r"shape \(\), got \(1,\)"):
        optimizer.step(np.ones(1, np.float32))


def test_muon_takes_nested_arrays(numpy_engine):
    params, grads = make(), make()
    optimizer = gdopt.Muon(params, 0.1, arrays="*.W")
    alone = {name: array.copy() for name, array in flat(params).items()}
    other = gdopt.Muon(alone, 0.1, arrays="*.W")
    optimizer.step(grads)
    other.step(flat(grads))
    for name, array in optimizer.params.items():
        np.testing.assert_array_equal(array, alone[name], strict=True)
    params["head"] = params["head"].copy()
    with pytest.raises(ARGUMENT, match=r"params\['head'\] is another array"):
        optimizer.step(grads)
