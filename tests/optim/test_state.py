"""A saved state fits any engine and layout, strictly, and resumes bit for bit."""

import copy

import numpy as np
import pytest
from oracles import CASES

import gdopt

GENERATOR = np.random.default_rng(17)
START = {
    "W": GENERATOR.standard_normal((3, 4)),
    "b": GENERATOR.standard_normal(4).astype(np.float32),
    "h": GENERATOR.standard_normal(5).astype(np.float16),
    "s": np.array(0.5),
}
ROWS = [
    {
        name: np.array(GENERATOR.standard_normal(array.shape), array.dtype)
        for name, array in START.items()
    }
    for _ in range(10)
]
ADAMW = CASES["adamw corrected"]


def fading(step):
    return 0.02 / (1 + step)


def apart():
    return {name: array.copy() for name, array in START.items()}


def together():
    return gdopt.Arena.of(START)


def run(optimizer, rows):
    for row in rows:
        optimizer.step(row)
    return optimizer


def copy_params(params, into):
    for name, array in params.items():
        into[name][...] = array
    return into


def assert_same(one, other):
    for name, array in one.params.items():
        np.testing.assert_array_equal(other.params[name], array, strict=True)
        for state, expected in one.state[name].items():
            found = other.state[name][state]
            np.testing.assert_array_equal(found, expected, strict=True)
    assert one.t == other.t


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(name, numpy_engine):
    case = CASES[name]
    uninterrupted = run(case.make(apart(), lr=fading), ROWS)
    first = run(case.make(apart(), lr=fading), ROWS[:6])
    second = case.make(copy_params(first.params, apart()), lr=fading)
    assert second.load_state_dict(first.state_dict()) is second
    assert_same(uninterrupted, run(second, ROWS[6:]))


@pytest.mark.parametrize("layouts", [(apart, together), (together, apart)])
@pytest.mark.parametrize("engines", [("numpy", "numba"), ("numba", "numpy")])
def test_a_state_moves_between_engines_and_layouts(layouts, engines, monkeypatch):
    pytest.importorskip("numba")
    uninterrupted = run(ADAMW.make(apart()), ROWS)
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engines[0])
    first = run(ADAMW.make(layouts[0]()), ROWS[:6])
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engines[1])
    second = ADAMW.make(copy_params(first.params, layouts[1]()))
    second.load_state_dict(first.state_dict())
    assert_same(uninterrupted, run(second, ROWS[6:]))


def test_a_state_is_loaded_by_name_in_any_order(numpy_engine):
    first = run(ADAMW.make(apart()), ROWS[:6])
    turned = dict(reversed(copy_params(first.params, apart()).items()))
    second = ADAMW.make(turned).load_state_dict(first.state_dict())
    assert_same(run(first, ROWS[6:]), run(second, ROWS[6:]))


def test_a_state_holds_numbers_and_numpy_arrays_by_name(numpy_engine):
    optimizer = run(ADAMW.make({"W": np.zeros(2, np.float16)}, lr=fading), [])
    optimizer.step({"W": np.array([1.0, 2.0], np.float16)})
    saved = optimizer.state_dict()
    moments = saved.pop("state")
    assert saved == {
        "format": 2,
        "rule": "adamw",
        "t": 1,
        # The rate is a schedule, which comes with the code.
        "hyper": {"beta1": 0.8, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.1},
    }
    assert {name: [*arrays] for name, arrays in moments.items()} == {"W": ["m", "v"]}
    assert {a.dtype.name for a in moments["W"].values()} == {"float32"}
    np.testing.assert_allclose(moments["W"]["m"], [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(moments["W"]["v"], [0.01, 0.04], rtol=1e-6)


def test_hyper_parameters_saved_as_numbers_are_restored(numpy_engine):
    first = ADAMW.make(apart(), lr=0.5, weight_decay=dict.fromkeys(START, 0.25))
    second = ADAMW.make(apart(), lr=2.0)
    second.load_state_dict(first.state_dict())
    assert second.hyper["lr"] == 0.5
    assert second.hyper["weight_decay"] == dict.fromkeys(START, 0.25)


def test_the_padding_of_an_arena_is_no_part_of_the_state(numpy_engine):
    optimizer = ADAMW.make({"W": np.zeros(3)})
    (arrays,) = optimizer.state_dict()["state"].values()
    assert [array.size for array in arrays.values()] == [3, 3]


def test_changing_a_saved_state_changes_nothing_here(unchanged, numpy_engine):
    optimizer = run(ADAMW.make(apart()), ROWS[:2])
    with unchanged(optimizer):
        spoil(optimizer.state_dict())


def test_changing_a_loaded_state_changes_nothing_here(unchanged, numpy_engine):
    first = run(ADAMW.make(apart(), lr=dict.fromkeys(START, 0.5)), ROWS[:2])
    second, saved = ADAMW.make(apart()), first.state_dict()
    second.load_state_dict(saved)
    with unchanged(second):
        spoil(saved)
    assert second.hyper["lr"] == dict.fromkeys(START, 0.5)


def spoil(saved):
    for arrays in saved["state"].values():
        for array in arrays.values():
            array[...] = np.nan
    saved["t"] = 1_000
    for name, setting in saved["hyper"].items():
        if isinstance(setting, dict):
            setting.clear()
        saved["hyper"][name] = 0.0
    saved["hyper"].clear()


def test_loading_does_not_change_what_is_loaded(numpy_engine):
    saved = run(ADAMW.make(apart()), ROWS[:2]).state_dict()
    kept = copy.deepcopy(saved)
    run(ADAMW.make(apart()).load_state_dict(saved), ROWS)
    assert saved["t"] == kept["t"]
    assert saved["hyper"] == kept["hyper"]
    for name, arrays in kept["state"].items():
        for state, array in arrays.items():
            np.testing.assert_array_equal(saved["state"][name][state], array)
