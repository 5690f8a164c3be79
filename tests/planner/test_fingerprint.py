import functools
import json
import types

import numpy as np
import pytest

from gdopt.planner.caching.fingerprint import UnknownCodeError, fingerprint

GLOBAL = 1.0


def helper(x):
    return x + GLOBAL


def uses_helper(x):
    return helper(x)


def test_what_a_function_names_is_part_of_it(monkeypatch):
    before = fingerprint(uses_helper)
    assert fingerprint(uses_helper) == before
    monkeypatch.setitem(globals(), "GLOBAL", 2.0)
    changed = fingerprint(uses_helper)
    assert changed != before
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    assert fingerprint(uses_helper) not in {before, changed}


def test_values_of_arrays_do_not_count_but_their_shapes_do():
    def over(array):
        return lambda x: x @ array

    assert fingerprint(over(np.zeros(3))) == fingerprint(over(np.ones(3)))
    assert fingerprint(over(np.zeros(3))) != fingerprint(over(np.zeros(4)))


class Model:
    def __init__(self, width):
        self.width = width

    def __call__(self, x):
        return x * self.width

    def step(self, x):
        return x + self.width


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Model(1), Model(2)),
        (Model(1).step, Model(2).step),
        (Model(1), Model(1).step),
        (functools.partial(helper, 1), functools.partial(helper, 2)),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        ([(2, 3)], [(2, 4)]),
        (np.add, np.subtract),
        (np.dtype("f4"), np.dtype("f8")),
        (len, sum),
        (lambda x, y=1: x, lambda x, y=2: x),
        (lambda x, *, y=1: x, lambda x, *, y=2: x),
        (1, 1.0),
        (b"1", "1"),
        (int, float),
        (np, json),
    ],
)
def test_different_things_have_different_fingerprints(one, other):
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


def test_a_function_that_calls_itself_ends():
    def forever(x):
        return forever(x - 1) if x else 0

    assert fingerprint(forever) == fingerprint(forever)


def test_a_module_without_a_version_counts_by_its_file(tmp_path):
    module = types.ModuleType("mine")
    module.__file__ = str(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text("a = 1")
    before = fingerprint(module)
    (tmp_path / "mine.py").write_text("a = 2")
    assert fingerprint(module) != before


def test_objects_without_code_and_too_many_objects_are_told_apart():
    with pytest.raises(UnknownCodeError, match="has no code that could be compared"):
        fingerprint(functools.cmp_to_key(lambda a, b: 0))
    nested = []
    for _ in range(100):
        nested = [nested]
    with pytest.raises(UnknownCodeError, match="too many things"):
        fingerprint(nested)
