"""Parameters that are not what the optimizer was made for are refused by a step."""

import collections
from typing import NamedTuple

import numpy as np
import pytest

import gdopt

ARGUMENT = gdopt.ArgumentError


class Layer(NamedTuple):
    """The arrays of one layer."""

    W: np.ndarray
    b: np.ndarray


def make():
    return {"W": np.ones((2, 3)), "b": np.zeros(3)}


def replace(container, key):
    container[key] = container[key] - 0.5


def set_first(container, value):
    container[0] = value


REBOUND = {
    "in a mapping": (make, lambda p: replace(p, "W"), "params['W']"),
    "in a list": (lambda: [*make().values()], lambda p: replace(p, 1), "params[1]"),
    "in another mapping": (
        lambda: collections.UserDict(make()),
        lambda p: replace(p, "b"),
        "params['b']",
    ),
    "in a nested mapping": (
        lambda: {"layers": [make(), make()], "head": np.ones(1)},
        lambda p: replace(p["layers"][1], "b"),
        "params['layers'][1]['b']",
    ),
    "beside containers": (
        lambda: {"layers": [make()], "head": np.ones(1)},
        lambda p: replace(p, "head"),
        "params['head']",
    ),
    "in a list in a named tuple": (
        lambda: Layer([np.ones(2)], np.ones(1)),
        lambda p: replace(p.W, 0),
        "params.W[0]",
    ),
    "removed": (make, lambda p: p.pop("b"), "params['b']"),
    "removed from a list": (lambda: [*make().values()], lambda p: p.pop(), "params[1]"),
    "moved in a list": (lambda: [*make().values()], lambda p: p.reverse(), "params[0]"),
    "equal but another": (make, lambda p: p.update(W=p["W"].copy()), "params['W']"),
    "another kind": (make, lambda p: p.update(W=None), "params['W']"),
    "with others added": (
        make,
        lambda p: (p.update(c=np.ones(1)), replace(p, "W")),
        "params['W']",
    ),
}


@pytest.mark.parametrize("arena", [False, True])
@pytest.mark.parametrize("case", REBOUND)
def test_an_array_that_was_replaced_is_refused(case, arena, unchanged, numpy_engine):
    start, change, place = REBOUND[case]
    params = start()
    optimizer = gdopt.Adam(params)
    grads = {name: np.ones_like(p) for name, p in optimizer.params.items()}
    grads = gdopt.Arena.of(grads) if arena else grads
    optimizer.step(grads)
    change(params)
    message = (
        f"{place} is another array than when the optimizer was made, and would not be "
        f"updated: write {place}[...] = value"
    )
    with unchanged(optimizer), pytest.raises(ARGUMENT) as caught:
        optimizer.step(grads)
    assert str(caught.value) == message


def test_a_container_that_was_replaced_is_refused(unchanged):
    params = {"layers": [make(), make()], "head": np.ones(1)}
    optimizer = gdopt.Adam(params)
    params["layers"][0] = dict(params["layers"][0])
    message = r"params\['layers'\]\[0\] is another container .*: write to the arrays it"
    grads = {name: np.ones_like(p) for name, p in optimizer.params.items()}
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
        optimizer.step(grads)
    params["layers"] = None
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=r"params\['layers'\] is"):
        optimizer.step(grads)


@pytest.mark.parametrize("nested", [False, True])
def test_entries_may_be_added_and_reordered(nested):
    own = make()
    params = [own] if nested else own
    optimizer = gdopt.SGD(params, 0.25)
    grads = {name: np.ones_like(p) for name, p in optimizer.params.items()}
    own["c"] = np.ones(1)
    assert optimizer.step(grads)
    entries = dict(reversed(own.items()))
    own.clear()
    own.update(entries)
    assert optimizer.step(grads)
    del own["c"]
    assert optimizer.step(grads)
    own["W"] -= 0.25  # binds the same array again
    assert optimizer.step(grads)
    assert own["W"].tolist() == [[-0.25] * 3] * 2
    replace(own, "W")
    with pytest.raises(ARGUMENT, match=r"\['W'\] is another array"):
        optimizer.step(grads)


def test_a_frozen_array_may_be_replaced():
    params = make()
    optimizer = gdopt.SGD(params, frozen="b")
    replace(params, "b")
    assert optimizer.step({"W": np.ones((2, 3))})
    params["b"], params["W"] = np.zeros(3), params.pop("W")  # in another order
    assert optimizer.step({"W": np.ones((2, 3))})
    replace(params, "W")
    with pytest.raises(ARGUMENT, match=r"params\['W'\] is another array"):
        optimizer.step({"W": np.ones((2, 3))})


def test_a_value_that_is_written_into_the_array_counts():
    params = make()
    optimizer = gdopt.SGD(params, 1.0)
    params["W"][...] = 5
    optimizer.params["b"][...] = 7
    optimizer.step({"W": np.ones((2, 3)), "b": np.ones(3)})
    assert params["W"].tolist() == [[4.0] * 3] * 2
    assert params["b"].tolist() == [6.0] * 3


def resized(array):
    array.resize(7, refcheck=False)


def reshaped(array):
    array.shape = (3, 2)


def retyped(array):
    array.dtype = np.float32


@pytest.mark.parametrize("change", [resized, reshaped, retyped])
@pytest.mark.parametrize("form", ["alone", "mapping", "tuple", "arena of gradients"])
def test_an_array_that_changed_its_shape_in_place_is_refused(
    form, change, unchanged, engine
):
    array = np.ones((2, 3))
    forms = {"alone": array, "tuple": (array,)}
    optimizer = gdopt.Adam(forms.get(form, {"W": array}))
    grads = dict.fromkeys(optimizer.params, np.ones((2, 3)))
    grads = gdopt.Arena.of(grads) if form == "arena of gradients" else grads
    optimizer.step(grads)
    change(array)
    with (
        unchanged(optimizer),
        pytest.raises(ARGUMENT, match=r"shape \(2, 3\), as when"),
    ):
        optimizer.step(grads)


def test_a_mapping_that_makes_its_arrays_anew_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", **make())
    with np.load(tmp_path / "x.npz") as params:
        message = (
            "params gives another array each time 'W' is read (NpzFile): "
            "write dict(params)"
        )
        with pytest.raises(ARGUMENT) as caught:
            gdopt.SGD(params)
        assert str(caught.value) == message
        with pytest.raises(ARGUMENT, match=r"params\['a'\] gives another array"):
            gdopt.SGD({"a": params})
        assert gdopt.SGD(dict(params)).step(params)  # as gradients they are read once
        assert gdopt.Arena.of(params).flat.size == 128
