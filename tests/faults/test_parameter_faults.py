"""Arrays that cannot be optimized are refused before anything is."""

import collections
import re

import numpy as np
import pytest
from oracles import CASES

import gdopt

ADAMW = CASES["adamw corrected"]
ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError

BASE = np.arange(12.0)
OVERLAPPING = {
    "twice the same": ([BASE, BASE], "01"),
    "the same by two names": ({"W": BASE, "b": BASE}, "Wb"),
    "a view of the other": ([BASE, BASE[3:]], "01"),
    "a transposed view": ([BASE.reshape(3, 4), BASE.reshape(3, 4).T], "01"),
    "overlapping slices": ([BASE[:7], np.zeros(2), BASE[6:]], "02"),
    "crossing strides": ([BASE[::2], BASE[::3]], "01"),
    "an array within another's strides": ([BASE[::4], BASE[1:3], BASE[2:4]], "12"),
    "a reach beyond the next array": ([BASE[::5], BASE[1:3], BASE[4:6]], "02"),
    "memory by two owners": ([BASE, np.frombuffer(BASE)], "01"),
    "its own elements twice": (
        [np.lib.stride_tricks.as_strided(np.zeros(3), (2, 3), (0, 8))],
        "0",
    ),
}


@pytest.mark.parametrize("case", OVERLAPPING)
def test_parameters_that_overlap_are_refused(case):
    params, names = OVERLAPPING[case]
    before = BASE.copy()
    with pytest.raises(ARGUMENT, match="params must not share memory, but ") as caught:
        ADAMW.make(params)
    named = re.findall(r"params\[(\d)\]|'(\w)'", str(caught.value))
    assert {position or name for position, name in named} == set(names)
    np.testing.assert_array_equal(BASE, before)


PARAMS = {
    "no list": (ARGUMENT, [], "params must hold at least one array, got none"),
    "no mapping": (ARGUMENT, {}, "params must hold at least one array, got none"),
    "nothing": (KIND, None, "params must be an array, .* got a NoneType"),
    "a number": (KIND, 1.0, "params must be an array, .* got a float"),
    "text": (KIND, "W", "params must be an array, .* got a str"),
    "a set": (KIND, {1, 2}, "params must be .* got an unordered set"),
    "a frozen set": (KIND, frozenset({1}), "params must .* an unordered frozenset"),
    "a generator": (KIND, (p for p in [np.ones(3)]), "params must be .* a generator"),
    "values of a mapping": (KIND, {"W": 1}.values(), "params must be .* dict_values"),
    "names that are not text": (
        KIND,
        {(1,): np.ones(3)},
        r"names in params .* got \(1,\)",
    ),
    "a list of numbers": (KIND, [1.0, 2.0], r"params\[0\] must be a NumPy .*float"),
    "None by name": (KIND, {"W": None}, "'W' must be a NumPy .* NoneType"),
    "a NumPy scalar": (KIND, np.float64(1), r"params must be a NumPy or"),
    "masked": (KIND, np.ma.ones(3), r"params must be a plain .* MaskedArray"),
    "a matrix": (
        KIND,
        np.ones((2, 2)).view(np.matrix),
        r"params must .*, got matrix",
    ),
    **{
        dtype: (KIND, {"W": np.ones(3, dtype)}, f"'W' must be float16.*, got {dtype}")
        for dtype in ("int64", "uint8", "bool", "object")
    },
    "long double": (
        KIND,
        np.ones(3, np.longdouble),
        rf"params must be float16, .* got {np.dtype(np.longdouble)}",
    ),
    "fields": (KIND, np.ones(3, [("x", float)]), r"params must be float16"),
    **{
        f"big-endian {dtype}": (
            KIND,
            {"W": np.ones(3, dtype)},
            f"'W' must be in this machine's byte order, got '{dtype}'",
        )
        for dtype in (">f8", ">f4", ">f2", ">c16")
    },
    "a broadcast array": (
        KIND,
        {"W": np.broadcast_to(np.ones(3), (2, 3))},
        "'W' must be writeable, got a read-only array",
    ),
}


@pytest.mark.parametrize("case", PARAMS)
def test_what_cannot_be_parameters_is_refused(case):
    error, params, message = PARAMS[case]
    with pytest.raises(error, match=message):
        ADAMW.make(params)


def test_an_ordered_mapping_of_any_kind_holds_parameters():
    params = collections.UserDict(b=np.ones(3), a=np.ones(2))
    assert list(gdopt.SGD(params).params) == ["b", "a"]


@pytest.mark.parametrize("arena", [False, True])
def test_a_read_only_array_is_refused(arena):
    params = {"W": np.ones(2), "b": np.ones(3)}
    params = gdopt.Arena.of(params) if arena else params
    params["b"].flags.writeable = False
    with pytest.raises(KIND, match="'b' must be writeable, got a read-only array"):
        ADAMW.make(params)
