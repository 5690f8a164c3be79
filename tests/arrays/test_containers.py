"""Arrays in nested containers are named by path; what has no order is refused."""

import dataclasses
import re
from typing import NamedTuple

import numpy as np
import pytest

import gdopt
from gdopt import Arena
from gdopt.arrays.containers import named_arrays

ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError


class Layer(NamedTuple):
    """The arrays of one layer."""

    W: np.ndarray
    b: np.ndarray


def ones(size=2):
    return np.ones(size)


@dataclasses.dataclass
class Weights:
    """Is not a container: its attributes can be assigned unseen."""

    W: np.ndarray


class Module:
    """Looks like one of torch's."""

    def named_parameters(self):
        return iter(())


def test_names_are_paths_in_the_order_of_the_containers():
    layers = [{"W": ones(), "b": ones()}, Layer(ones(), ones()), (ones(),)]
    named = named_arrays({"layers": layers, "head": ones(), 3: [ones()]}, "params")
    assert list(named) == [
        "layers.0.W",
        "layers.0.b",
        "layers.1.W",
        "layers.1.b",
        "layers.2.0",
        "head",
        "3.0",
    ]
    assert named["layers.1.b"] is layers[1].b


def test_empty_containers_name_nothing():
    assert list(named_arrays([[], {}, ones()], "params")) == ["2"]
    with pytest.raises(ARGUMENT, match="params must hold at least one array"):
        named_arrays({"a": []}, "params")


def test_an_arena_is_made_of_nested_containers_by_path():
    arrays = [{"W": np.arange(3.0)}, Layer(ones(), ones(1))]
    arena = Arena.of(arrays)
    assert list(arena) == ["0.W", "1.W", "1.b"]
    np.testing.assert_array_equal(arena["0.W"], arrays[0]["W"])


def test_a_container_may_be_in_another_twice_but_not_inside_itself():
    shared = []
    assert list(named_arrays([shared, shared, ones()], "params")) == ["2"]
    shared.append({"inner": shared})
    message = r"must not be inside themselves, but params\[0\]\['inner'\] is"
    with pytest.raises(ARGUMENT, match=message):
        gdopt.SGD(shared)


REFUSED = {
    "two of one path": (
        ARGUMENT,
        {"a.b": ones(), "a": {"b": ones()}},
        "names in params must differ, but two arrays are called 'a.b'",
    ),
    "a number and its text": (ARGUMENT, {1: ones(), "1": ones()}, "called '1'"),
    "a key of another kind": (
        KIND,
        {"a": {(1, 2): ones()}},
        "names in params['a'] must be strings or whole numbers, got (1, 2)",
    ),
    "a truth value as a key": (KIND, {True: ones()}, "whole numbers, got True"),
    "None": (
        KIND,
        {"a": [None, ones()]},
        "'a.0' must be a NumPy or CuPy array, got NoneType: leave it out",
    ),
    "a number": (KIND, {"a": [1.5]}, "got float: write np.array(1.5, float)"),
    "text": (KIND, [{"W": "x"}], "'0.W' must be a NumPy or CuPy array, got str"),
    "a NumPy scalar": (
        KIND,
        {"s": np.float64(1)},
        "got float64: it cannot be updated: write np.array(it)",
    ),
    "objects": (KIND, np.array([None]), "must be float16, .* got object"),
    "pairs": (
        KIND,
        [("W", ones()), ("b", ones())],
        "params must not be a list of pairs: write dict(params)",
    ),
    "pairs inside": (KIND, {"a": [("W", ones())]}, "write dict(params['a'])"),
    "a dataclass": (KIND, Weights(ones()), "got a Weights: write vars(params)"),
    "a dataclass inside": (KIND, [Weights(ones())], "got Weights: write vars(it)"),
    "a generator": (
        KIND,
        (p for p in [ones()]),
        "list(model.parameters()) or dict(model.named_parameters())",
    ),
    "a module": (KIND, Module(), "got a Module: write list(model.parameters())"),
    "values": (KIND, {"a": ones()}.values(), "dict_values: write list(params)"),
    "items": (KIND, {"a": ones()}.items(), "got a dict_items: write dict(params)"),
    "a set": (KIND, {1}, "got an unordered set: write list(params)"),
    "a set inside": (KIND, {"a": {1}}, "'a' must be a NumPy .* got set"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_named_is_refused_with_what_to_write(case):
    error, params, message = REFUSED[case]
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(error, match=pattern):
        gdopt.SGD(params)


def test_tied_arrays_are_not_copied_apart_into_an_arena():
    base = ones(4)
    message = r"arrays must not share memory, but arrays\[0\] and arrays\[1\] overlap"
    for tied in (base, base[1:]):
        with pytest.raises(ARGUMENT, match=message):
            Arena.of([base, tied])
    assert Arena.of([base[:2], base[2:]]).flat.sum() == 4
