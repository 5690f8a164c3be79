"""Frozen arrays are not updated, have no state and take no part in a norm."""

import numpy as np
import pytest
from oracles import CASES

import gdopt

pytestmark = pytest.mark.newest

GENERATOR = np.random.default_rng(31)
SHAPES = {"W1": (3, 2), "b1": (2,), "W2": (4,), "b2": (1,)}
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
ROWS = [
    {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
    for _ in range(3)
]
KEPT = ("W2", "b2")  # those that are updated


def fresh(names=SHAPES):
    return {name: START[name].copy() for name in names}


def arena(names=SHAPES):
    return gdopt.Arena.of(fresh(names))


def listed(arrays):
    return list(arrays.values())


def run(optimizer, form=dict):
    for row in ROWS:
        optimizer.step(form(row))
    return optimizer


def assert_same(one, other, names=KEPT):
    for name in names:
        np.testing.assert_array_equal(one.params[name], other.params[name])
        for state, array in other.state[name].items():
            np.testing.assert_array_equal(one.state[name][state], array)


def chosen(arrays, names=KEPT):
    return {name: arrays[name] for name in names}


@pytest.mark.parametrize("make", [fresh, arena])
@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.1, "ema": 0.5}, {"accumulate": 2}]
)
def test_the_others_are_updated_as_if_frozen_arrays_were_not_there(
    make, options, engine
):
    params = make()
    optimizer = gdopt.Adam(params, frozen=["*1"], **options)
    expected = gdopt.Adam(make(KEPT), **options)
    for row in ROWS:
        optimizer.step(row)
        expected.step(chosen(row))
    assert_same(optimizer, expected)
    for name in ("W1", "b1"):
        np.testing.assert_array_equal(params[name], START[name])
    assert optimizer.grad_norm == expected.grad_norm
    assert optimizer.state_bytes == expected.state_bytes


def test_in_an_arena_arrays_between_frozen_ones_are_updated(engine):
    frozen = ["b1", "W3"]
    start = fresh() | {"W3": np.ones(70), "W4": np.ones(3), "W5": np.ones(2)}
    row = {name: np.full(array.shape, 0.5) for name, array in start.items()}
    for options in ({}, {"clip_norm": 0.1}, {"weight_decay": {"W*": 0.1}}):
        kind = gdopt.AdamW if "weight_decay" in options else gdopt.Adam
        params = gdopt.Arena.of(start)
        optimizer = kind(params, frozen=frozen, **options)
        kept = {n: array.copy() for n, array in start.items() if n not in frozen}
        expected = kind(kept, **options)
        for _ in range(2):
            optimizer.step(gdopt.Arena.of(row))
            optimizer.step(row)
            expected.step({n: row[n] for n in kept})
            expected.step({n: row[n] for n in kept})
        assert_same(optimizer, expected, kept)
        np.testing.assert_array_equal(params["W3"], np.ones(70))


@pytest.mark.parametrize("name", CASES)
def test_every_rule_takes_frozen_arrays(name, numpy_engine):
    optimizer = CASES[name].make(fresh(), frozen="*1")
    expected = CASES[name].make(fresh(KEPT))
    for row in ROWS:
        optimizer.step(row)
        expected.step(chosen(row))
    assert_same(optimizer, expected)


@pytest.mark.parametrize(
    "frozen", ["*1", ("W1", "b1"), ["b1", "W?", "W1"], ["?1", "b1"]]
)
def test_names_and_patterns_freeze(frozen, numpy_engine):
    optimizer = gdopt.SGD(fresh(), frozen=frozen)
    everything = [frozen] if isinstance(frozen, str) else frozen
    if "W?" in everything:
        assert list(optimizer.state) == ["b2"]
    else:
        assert list(optimizer.state) == list(KEPT)
    assert list(optimizer.params) == list(SHAPES)


def test_positions_are_names(numpy_engine):
    params = listed(fresh())
    optimizer = gdopt.SGD(params, lr=1.0, frozen=["0", "1"])
    optimizer.step(listed(ROWS[0]))
    np.testing.assert_array_equal(params[0], START["W1"])
    np.testing.assert_array_equal(params[2], START["W2"] - ROWS[0]["W2"])


GIVEN = {
    "all": dict,
    "none for frozen ones": lambda row: {**row, "W1": None, "b1": None},
    "without frozen ones": chosen,
    "without one": lambda row: chosen(row, ("b1", *KEPT)),
    "of another dtype": lambda row: {**row, "b1": np.zeros(2, int)},
    "not finite": lambda row: {**row, "W1": np.full((3, 2), np.nan)},
    "in a list": listed,
    "in a list with None": lambda row: [None, None, row["W2"], row["b2"]],
    "in an arena": gdopt.Arena.of,
    "in an arena of the others": lambda row: gdopt.Arena.of(chosen(row)),
}


@pytest.mark.parametrize("form", GIVEN)
@pytest.mark.parametrize("make", [fresh, arena])
def test_gradients_of_frozen_arrays_are_not_read(form, make, engine):
    optimizer = gdopt.Adam(make(), frozen="*1", non_finite="raise", clip_norm=1.0)
    run(optimizer, GIVEN[form])
    expected = gdopt.Adam(make(), frozen="*1", non_finite="raise", clip_norm=1.0)
    assert_same(optimizer, run(expected))


BAD = {
    "a name missing": (lambda row: chosen(row, ["W1", "b2"]), "missing 'W2'$"),
    "a name too many": (lambda row: {**row, "c": row["b2"]}, "unknown 'c'$"),
    "too few": (lambda row: listed(chosen(row)), "must hold 4 arrays.*, got 2"),
    "None alone": (dict.fromkeys, "must hold .* got None for all"),
}


@pytest.mark.parametrize("case", BAD)
def test_gradients_of_the_others_are_checked(case, unchanged, numpy_engine):
    change, message = BAD[case]
    optimizer = gdopt.Adam(fresh(), frozen="*1")
    with unchanged(optimizer), pytest.raises(gdopt.GdoptError, match=message):
        optimizer.step(change(ROWS[0]))


def test_a_gradient_that_is_not_finite_is_named_next_to_frozen_ones(unchanged, engine):
    optimizer = gdopt.Adam(arena(), frozen="*1", non_finite="raise")
    grads = gdopt.Arena.of(ROWS[0])
    optimizer.step(grads)
    grads["W1"][...] = grads["b2"][...] = np.nan
    message = "in the gradients of 'b2'$"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step(grads)


def test_what_cannot_be_frozen_is_refused(numpy_engine):
    with pytest.raises(gdopt.ArgumentError, match=r"frozen must have .*unknown 'c\*'"):
        gdopt.SGD(fresh(), frozen=["W1", "c*"])
    for everything in ("*", ["W?", "b*"]):
        with pytest.raises(gdopt.ArgumentError, match="frozen must leave an array"):
            gdopt.SGD(fresh(), frozen=everything)
    with pytest.raises(gdopt.ArgumentError, match="frozen must leave an array"):
        gdopt.SGD(np.zeros(2), frozen="0")
    for bad in (None, {"W1"}, 1):
        with pytest.raises(gdopt.ArgumentTypeError, match="frozen must be a list"):
            gdopt.SGD(fresh(), frozen=bad)
    with pytest.raises(gdopt.ArgumentTypeError, match="names or patterns"):
        gdopt.SGD(fresh(), frozen=[0])


def test_a_frozen_array_may_be_read_only_and_of_any_kind(numpy_engine):
    table = np.arange(4)
    table.flags.writeable = False
    optimizer = gdopt.SGD({"table": table, "W": np.zeros(2)}, lr=1.0, frozen="table")
    optimizer.step({"W": np.ones(2)})
    assert optimizer.params["W"].tolist() == [-1.0, -1.0]
    assert optimizer.params["table"] is table


def test_settings_may_name_frozen_arrays(numpy_engine):
    rates = {"W1": 9.0, "b1": 9.0, "W2": 0.5, "*": 0.25}
    optimizer = gdopt.SGD(fresh(), lr=rates, frozen="*1")
    assert optimizer.lr == {"W2": 0.5, "b2": 0.25}
    optimizer.lr = {"W2": 1.0, "b2": 2.0}
    assert optimizer.lr == {"W2": 1.0, "b2": 2.0}


def test_a_state_has_the_others_alone(unchanged, numpy_engine):
    first = run(gdopt.Adam(fresh(), frozen="*1"))
    saved = first.state_dict()
    assert list(saved["state"]) == list(KEPT)
    second = gdopt.Adam(fresh(), frozen="*1").load_state_dict(saved)
    for name in SHAPES:
        second.params[name][...] = first.params[name]
    assert_same(run(second), run(first))
    whole = gdopt.Adam(fresh())
    with unchanged(whole), pytest.raises(gdopt.StateError, match="missing 'W1', 'b1'"):
        whole.load_state_dict(saved)
    with pytest.warns(gdopt.StateWarning, match="missing state.W1, state.b1$"):
        whole.load_state_dict(saved, strict=False)


def test_averages_leave_frozen_arrays_alone(numpy_engine):
    optimizer = run(gdopt.SGD(fresh(), lr=0.5, ema=0.5, frozen="*1"))
    assert list(optimizer.average) == list(KEPT)
    last = optimizer.params["W2"].copy()
    with optimizer.averaged():
        np.testing.assert_array_equal(optimizer.params["W1"], START["W1"])
        np.testing.assert_array_equal(optimizer.params["W2"], optimizer.average["W2"])
        assert not np.array_equal(optimizer.params["W2"], last)
    np.testing.assert_array_equal(optimizer.params["W2"], last)


def test_a_network_is_trained_in_part(numpy_engine):
    X = GENERATOR.standard_normal((16, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    network = gdopt.nn.Network((2, 3, 2), seed=0, backend="numpy")
    before = {name: array.copy() for name, array in network.params.items()}
    optimizer = gdopt.Adam(network.params, frozen="*1")
    batches = gdopt.minibatches(X, y, batch_size=8)
    assert gdopt.fit(network, optimizer, batches, epochs=2).nit == 4
    for name, array in network.params.items():
        assert np.array_equal(array, before[name]) == name.endswith("1")


def test_muon_and_its_others_freeze(numpy_engine):
    params = {"V": np.ones((2, 2)), **fresh(), "U": np.full((2, 2), 2.0)}
    grads = {name: np.eye(2) for name in "VU"} | ROWS[0]
    optimizer = gdopt.Muon(params, 0.5, frozen=["V", "W2"], ema=0.5)
    optimizer.step(grads | {"V": None})
    expected = gdopt.Muon(
        {name: array.copy() for name, array in {**params, **START}.items()}, 0.5
    )
    assert sorted(optimizer.state) == ["U", "W1", "b1", "b2"]
    for name, array in params.items():
        frozen = np.array_equal(array, np.ones((2, 2)) if name == "V" else array)
        assert frozen or name not in {"V", "W2"}
    np.testing.assert_array_equal(params["V"], np.ones((2, 2)))
    np.testing.assert_array_equal(params["W2"], START["W2"])
    expected.params["U"][...] = 2.0
    expected.step(grads)
    for name in ("U", "W1", "b1", "b2"):
        np.testing.assert_array_equal(params[name], expected.params[name])
    with optimizer.averaged():
        np.testing.assert_array_equal(params["b1"], optimizer.average["b1"])
        np.testing.assert_array_equal(params["V"], np.ones((2, 2)))


@pytest.mark.gpu
@pytest.mark.parametrize("arena", [False, True])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1}, {"non_finite": "skip"}])
def test_arrays_are_frozen_on_a_gpu(arena, options, cp):
    params = {name: cp.asarray(array) for name, array in START.items()}
    params = gdopt.Arena.of(params) if arena else params
    optimizer = gdopt.Adam(params, frozen="*1", **options)
    expected = gdopt.Adam(fresh(KEPT), **options)
    for row in ROWS:
        grads = {name: cp.asarray(array) for name, array in row.items()}
        grads["W1"][...] = cp.nan
        optimizer.step(gdopt.Arena.of(grads) if arena else grads | {"b1": None})
        expected.step(chosen(row))
    for name in SHAPES:
        found = cp.asnumpy(params[name])
        same = expected.params.get(name, START[name])
        np.testing.assert_array_equal(found, same)
