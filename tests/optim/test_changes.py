"""Between steps arrays are frozen or replaced, and an optimizer starts again."""

import copy
import types

import numpy as np
import pytest
from oracles import CASES

import gdopt
from gdopt.kernels.cpu.blocks import Blocks

pytestmark = pytest.mark.newest

GENERATOR = np.random.default_rng(33)
SHAPES = {"W1": (3, 2), "b1": (2,), "W2": (70,), "b2": (1,)}
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
ROWS = [
    {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
    for _ in range(4)
]


def fresh(names=SHAPES):
    return {name: START[name].copy() for name in names}


def arena():
    return gdopt.Arena.of(fresh())


def without(row, names):
    return {name: None if name in names else g for name, g in row.items()}


def contents(optimizer):
    """Return all that a run goes on from: parameters, state and counts."""
    params = {name: array.copy() for name, array in optimizer.params.items()}
    return {"params": params, **optimizer.state_dict()}


def assert_equal(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", [fresh, arena])
@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.1, "ema": 0.5, "weight_decay": 0.1}]
)
def test_what_is_frozen_changes_between_steps(make, options, engine):
    optimizer, expected = (gdopt.AdamW(make(), **options) for _ in range(2))
    for row, frozen in zip(ROWS, ["b?", [], ("W2", "b1"), "*1"], strict=True):
        optimizer.frozen = frozen
        names = {"b?": ["b1", "b2"], "*1": ["W1", "b1"]}.get(str(frozen), frozen)
        assert sorted(optimizer.frozen) == sorted(names)
        optimizer.step(row)
        expected.step(without(row, names))
        assert optimizer.grad_norm == expected.grad_norm
    assert_equal(contents(optimizer), contents(expected))


@pytest.mark.parametrize("name", CASES)
def test_every_rule_freezes_between_steps(name, numpy_engine):
    apart, together = CASES[name].make(fresh()), CASES[name].make(arena())
    grads = together.params.like()
    for row, frozen in zip(ROWS, ["b1", (), "W*", ["W1", "b2"]], strict=True):
        for key, g in row.items():
            grads[key] = g
        apart.frozen = together.frozen = frozen
        apart.step(row)
        together.step(grads)
    assert_equal(contents(apart), contents(together))


def test_gradients_in_an_arena_take_a_pass_for_each_run_of_neighbours(
    monkeypatch, numpy_engine
):
    optimizer, passes = gdopt.Adam(arena()), []
    run = Blocks.run
    monkeypatch.setattr(
        Blocks, "run", lambda self, *given: passes.append(1) or run(self, *given)
    )
    grads = optimizer.params.like()
    for frozen, count in (((), 1), ("b1", 2), ("W1", 1), (["W1", "W2"], 2)):
        optimizer.frozen = frozen
        optimizer.step(grads)
        passes.clear()
        optimizer.step(grads)
        assert len(passes) == count


def test_frozen_arrays_keep_state_and_average_and_do_not_decay(numpy_engine):
    params = fresh()
    optimizer = gdopt.AdamW(params, weight_decay=0.1, ema=0.5, lookahead=(2, 0.5))
    optimizer.step(ROWS[0])
    before = contents(optimizer)
    optimizer.frozen = "W*"
    optimizer.step(ROWS[1] | {"W1": np.full((3, 2), np.nan)})
    after = contents(optimizer)
    for name in SHAPES:
        kept = np.array_equal(params[name], before["params"][name])
        assert kept == (name[0] == "W")
        if kept:
            assert_equal(after["state"][name], before["state"][name])
    with optimizer.averaged():
        np.testing.assert_array_equal(params["W1"], optimizer.average["W1"])


def test_an_array_that_was_frozen_from_the_beginning_gets_its_state(engine):
    optimizer = gdopt.Adam(fresh(), ema=0.5, frozen="*1")
    hyper, norm = optimizer.hyper, optimizer.grad_norm
    for row in ROWS[:2]:
        optimizer.step(row)
    kept = optimizer.state_dict()["state"]
    optimizer.frozen = "b1"
    optimizer.lr = 0.25
    assert (optimizer.t, norm, hyper["lr"]) == (2, optimizer.grad_norm, 0.25)
    hyper["lr"] = 0.5
    assert optimizer.lr == 0.5
    assert sorted(optimizer.state) == ["W1", "W2", "b2"]
    assert_equal({n: dict(optimizer.state[n]) for n in kept}, kept)
    np.testing.assert_array_equal(optimizer.average["W1"], START["W1"])
    expected = gdopt.Adam(fresh(), lr=0.5, ema=0.5)
    saved = expected.state_dict()
    saved["state"] |= kept
    expected.load_state_dict(saved | {"t": 2}, hyper=False)
    for name in SHAPES:
        expected.params[name][...] = optimizer.params[name]
    for one in (optimizer, expected):
        one.step(ROWS[2] if one is optimizer else without(ROWS[2], ["b1"]))
    assert_equal(dict(optimizer.params), dict(expected.params))
    np.testing.assert_array_equal(optimizer.params["b1"], START["b1"])


GIVEN = {
    "a mapping": lambda row: row,
    "a list": lambda row: list(row.values()),
    "an arena": gdopt.Arena.of,
}


@pytest.mark.parametrize("form", GIVEN)
def test_gradients_of_frozen_arrays_are_checked_for_shape_alone(
    form, unchanged, numpy_engine
):
    optimizer = gdopt.SGD(fresh(), frozen="*1", non_finite="raise")
    bad = GIVEN[form](ROWS[0] | {"b1": np.zeros(3)})
    with (
        unchanged(optimizer),
        pytest.raises(gdopt.ArgumentError, match=r"'b1'.*\(2,\)"),
    ):
        optimizer.step(bad)
    assert optimizer.step(GIVEN[form](ROWS[0] | {"b1": np.full(2, np.nan)}))


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        ("c*", r"unknown 'c\*'"),
        ("*", "frozen must leave an array to update"),
        (None, "frozen must be a list"),
    ],
)
def test_what_cannot_be_frozen_changes_nothing(
    frozen, message, unchanged, numpy_engine
):
    optimizer = gdopt.Adam(fresh(), frozen="b1")
    with unchanged(optimizer), pytest.raises(gdopt.GdoptError, match=message):
        optimizer.frozen = frozen
    assert optimizer.frozen == ("b1",)


def test_nothing_changes_between_the_calls_of_accumulate(unchanged, numpy_engine):
    optimizer = gdopt.Adam(fresh(), accumulate=2)
    optimizer.step(ROWS[0])
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match="accumulate"):
        optimizer.frozen = "b1"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match="accumulate"):
        optimizer.replace("b1", np.zeros(3))
    optimizer.step(ROWS[0])
    optimizer.frozen = "b1"
    before = optimizer.params["b1"].copy()
    assert [optimizer.step(row) for row in ROWS[:2]] == [False, True]
    np.testing.assert_array_equal(optimizer.params["b1"], before)


def test_copies_freeze_the_same_arrays(numpy_engine):
    optimizer = gdopt.Adam(fresh(), frozen="b2")
    optimizer.frozen = ["b2", "W1"]
    twin = copy.deepcopy(optimizer)
    assert twin.frozen == ("W1", "b2")
    twin.frozen = "b2"
    twin.step(ROWS[0])
    np.testing.assert_array_equal(optimizer.params["W1"], START["W1"])
    assert not np.array_equal(twin.params["W1"], START["W1"])


def test_muon_freezes_between_steps(numpy_engine):
    optimizer, expected = (gdopt.Muon(fresh(), 0.5, arrays="W1") for _ in range(2))
    for row, names in zip(ROWS, [["W1"], ["b1", "b2", "W2"], ["b2"], []], strict=True):
        optimizer.frozen = names
        optimizer.step(row)
        expected.step(without(row, names))
    assert_equal(contents(optimizer), contents(expected))
    first = gdopt.Muon(fresh(), frozen="b1")
    with pytest.raises(gdopt.ArgumentError, match=r"must keep .* got \[\]$"):
        first.frozen = ()
    first.frozen = ["b1", "b2"]
    assert first.frozen == ("b1", "b2")


@pytest.mark.parametrize("name", CASES)
def test_a_run_after_reset_is_that_of_a_new_optimizer(name, numpy_engine):
    params = fresh()
    optimizer = CASES[name].make(params, ema=0.5, lookahead=(2, 0.5))
    arenas = [*optimizer.state_arenas.values()]
    for row in ROWS:
        optimizer.step(row)
    optimizer.reset()
    assert (optimizer.t, optimizer.grad_norm) == (0, None)
    now = [*optimizer.state_arenas.values()]
    assert list(map(id, now)) == list(map(id, arenas))
    new = CASES[name].make(
        {n: a.copy() for n, a in params.items()}, ema=0.5, lookahead=(2, 0.5)
    )
    assert_equal(contents(optimizer), contents(new))
    for row in ROWS:
        optimizer.step(row)
        new.step(row)
    assert_equal(contents(optimizer), contents(new))


def test_reset_drops_sums_and_the_loss_scale_and_keeps_settings(numpy_engine):
    options = {"accumulate": 3, "loss_scale": "dynamic", "swa_start": 0}
    optimizer = gdopt.Adam(fresh(), **options)
    optimizer.lr = 0.125
    for row in [ROWS[0] | {"b1": np.full(2, np.inf)}, *ROWS]:
        optimizer.step(row)
    assert (optimizer.t, optimizer.loss_scale) == (1, 2.0**15)
    executor, version = optimizer.executor, optimizer.hyper.version
    optimizer.reset()
    assert (optimizer.t, optimizer.loss_scale, optimizer.lr) == (0, 2.0**16, 0.125)
    assert (executor, version) == (optimizer.executor, optimizer.hyper.version)
    new = gdopt.Adam(fresh(), lr=0.125, **options)
    for name, array in new.params.items():
        array[...] = optimizer.params[name]
    new.reset()
    for row in ROWS:
        assert optimizer.step(row) == new.step(row)
    assert_equal(contents(optimizer), contents(new))


def test_reset_keeps_what_is_frozen_and_muon_resets_its_others(numpy_engine):
    optimizer = gdopt.Muon(fresh(), arrays="W1", clip_norm=1.0)
    optimizer.frozen = "W2"
    optimizer.step(ROWS[0])
    optimizer.reset()
    assert (optimizer.t, optimizer.others.t, optimizer.grad_norm) == (0, 0, None)
    assert optimizer.frozen == ("W2",)
    for state in optimizer.state.values():
        assert not any(array.any() for array in state.values())


def test_changes_are_refused_where_averages_show(unchanged, numpy_engine):
    optimizer = gdopt.Adam(fresh(), ema=0.5)
    with optimizer.averaged():
        for change in (
            optimizer.reset,
            lambda: setattr(optimizer, "frozen", "b1"),
            lambda: optimizer.replace("b1", np.zeros(2)),
        ):
            with pytest.raises(gdopt.GdoptError, match=r"within averaged\(\)"):
                change()


def grown(array):
    """Return an array with more rows, the new ones zero."""
    return np.concatenate([array, np.zeros_like(array)])


HOLDERS = {
    "a mapping": (dict, "W2"),
    "a list": (lambda row: list(row.values()), "2"),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_an_array_that_has_grown_goes_on_with_its_state(holder, engine):
    hold, name = HOLDERS[holder]
    params = hold(fresh())
    optimizer = gdopt.Adam(params, lr={name: 0.1, "*": 0.2}, clip_norm=1.0)
    hyper = optimizer.hyper
    for row in ROWS[:2]:
        optimizer.step(hold(row))
    state, before = optimizer.state_dict()["state"], optimizer.params[name]
    array = grown(before)
    given = {n: grown(a) for n, a in state[name].items()}
    optimizer.replace(name, array, state=given)
    assert (params["W2"] if holder == "a mapping" else params[2]) is array
    assert optimizer.params[name] is array
    assert optimizer.hyper["lr"] == hyper["lr"]
    assert optimizer.t == 2
    assert_equal(
        {n: dict(s) for n, s in optimizer.state.items()}, state | {name: given}
    )
    expected = gdopt.Adam(
        {n: a.copy() for n, a in optimizer.params.items()},
        lr={name: 0.1, "*": 0.2},
        clip_norm=1.0,
    ).load_state_dict(optimizer.state_dict())
    row = dict(zip(optimizer.params, ROWS[2].values(), strict=True))
    row[name] = grown(row[name])
    for one in (optimizer, expected):
        one.step(list(row.values()))
    assert_equal(contents(optimizer), contents(expected))


def test_without_a_state_an_array_starts_again(numpy_engine):
    optimizer = gdopt.Adam(fresh(), ema=0.5, lookahead=(2, 0.5))
    optimizer.frozen = "b1"
    optimizer.step(ROWS[0])
    array = np.full((5, 2), 3.0)
    kept = optimizer.state_dict()["state"]
    optimizer.replace("W1", array, state={"m": np.ones((5, 2))})
    state = optimizer.state["W1"]
    assert {name: own.ravel()[0] for name, own in state.items()} == {
        "m": 1.0,
        "v": 0.0,
        "slow": 3.0,
        "average": 3.0,
    }
    assert (optimizer.frozen, optimizer.t) == (("b1",), 1)
    for name in ("b1", "W2", "b2"):
        assert_equal(dict(optimizer.state[name]), kept[name])


def test_a_lone_array_and_a_frozen_one_are_replaced(numpy_engine):
    optimizer = gdopt.SGD(np.zeros(2), lr=1.0)
    array = np.zeros(3)
    optimizer.replace("0", array)
    optimizer.step(np.ones(3))
    assert array.tolist() == [-1.0] * 3
    params = fresh()
    optimizer = gdopt.Adam(params, frozen="b1")
    optimizer.replace("b1", np.ones(3))
    assert (optimizer.frozen, params["b1"].tolist()) == (("b1",), [1.0] * 3)
    optimizer.step(ROWS[0] | {"b1": np.ones(3)})


def test_an_array_in_nested_containers_is_replaced(numpy_engine):
    params = {"layers": [{"W": np.ones(2)}, (np.ones(2),)], "layers.2": np.ones(1)}
    optimizer = gdopt.SGD(params, lr=1.0)
    optimizer.replace("layers.0.W", np.ones(3))
    optimizer.replace("layers.2", np.ones(4))
    with pytest.raises(gdopt.ArgumentTypeError, match="got tuple"):
        optimizer.replace("layers.1.0", np.ones(3))
    optimizer.step({"layers.0.W": np.ones(3), "layers.1.0": None, "layers.2": None})
    assert params["layers"][0]["W"].tolist() == [0.0] * 3
    assert params["layers.2"].tolist() == [1.0] * 4


def test_arrays_of_muon_are_replaced(numpy_engine):
    params = fresh()
    optimizer = gdopt.Muon(params, 0.5, arrays="W1")
    others = optimizer.others
    optimizer.step(ROWS[0])
    kept = optimizer.state_dict()
    optimizer.replace("b1", np.ones(4))
    optimizer.replace("W1", np.ones((2, 2)), state={"m": np.eye(2)})
    assert optimizer.t == optimizer.others.t == others.t == 1
    with pytest.warns(UserWarning, match="lr was a schedule"):
        others.lr = 0.125
    assert optimizer.others.lr == 0.125
    np.testing.assert_array_equal(optimizer.state["W1"]["m"], np.eye(2))
    assert_equal(dict(optimizer.state["W2"]), kept["others"]["state"]["W2"])
    optimizer.lr = 0.25
    optimizer.step(ROWS[1] | {"b1": np.ones(4), "W1": np.eye(2)})
    assert optimizer.t == optimizer.others.t == 2
    assert (params["b1"] < 1.0).all()


BAD = {
    "an unknown name": (("c", np.zeros(2)), "name must be one of .* got 'c'"),
    "another dtype": (("b1", np.zeros(3, np.float32)), "'b1' must be float64"),
    "other axes": (("b1", np.zeros((2, 2))), "'b1' must have 1 axes"),
    "no array": (("b1", [1.0]), "'b1' must be a numpy array"),
    "a state unknown": (
        ("b1", np.zeros(3), {"u": np.zeros(3)}),
        "state must be one of",
    ),
    "a state of another shape": (
        ("b1", np.zeros(3), {"m": np.zeros(2)}),
        r"the state 'm' of 'b1' must have shape \(3,\), got \(2,\)",
    ),
    "a state of another dtype": (
        ("b1", np.zeros(3), {"m": np.zeros(3, np.float32)}),
        "the state 'm' of 'b1' must be float64",
    ),
    "no state": (("b1", np.zeros(3), [1]), "state must be a mapping"),
    "a setting of another shape": (("W2", np.zeros(71)), "lr must broadcast to 'W2'"),
    "shared memory": (("b1", START["b1"]), "overlap"),
    "read-only": (("b1", np.broadcast_to(1.0, 3)), "'b1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_take_the_place_of_an_array_changes_nothing(
    case, unchanged, numpy_engine
):
    given, message = BAD[case]
    params = fresh() | {"W1": START["b1"][:, None]}
    optimizer = gdopt.Adam(params, lr={"W2": np.full(70, 0.1), "*": 0.1})
    optimizer.step(ROWS[0] | {"W1": np.ones((2, 1))})
    held, executor = dict(params), optimizer.executor
    with unchanged(optimizer), pytest.raises(gdopt.GdoptError, match=message):
        optimizer.replace(*given)
    assert all(params[name] is array for name, array in held.items())
    assert optimizer.executor is executor
    optimizer.step(ROWS[1] | {"W1": np.ones((2, 1))})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (arena, "a list or a mapping, got an Arena"),
        (
            lambda: tuple(fresh().values()),
            "a list or a mapping to be replaced, got tuple",
        ),
        (
            lambda: types.MappingProxyType(fresh()),
            "a list or a mapping to be replaced, got mappingproxy",
        ),
    ],
)
def test_parameters_that_cannot_hold_another_array_refuse_it(
    make, message, numpy_engine
):
    optimizer = gdopt.Adam(make())
    name = next(iter(optimizer.params))
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        optimizer.replace(name, np.zeros((4, 2)))


@pytest.mark.gpu
@pytest.mark.parametrize("make", [dict, gdopt.Arena.of])
@pytest.mark.parametrize("options", [{}, {"non_finite": "skip", "clip_norm": 0.1}])
def test_arrays_change_on_a_gpu(make, options, cp):
    params = make({name: cp.asarray(array) for name, array in START.items()})
    optimizer = gdopt.Adam(params, frozen="b2", **options)
    expected = gdopt.Adam(fresh(), frozen="b2", **options)
    for row, frozen in zip(ROWS, ["b*", "b2", ["W1", "b1", "b2"], ()], strict=True):
        grads = make({name: cp.asarray(g) for name, g in row.items()})
        for one in (optimizer, expected):
            one.frozen = frozen
            one.step(grads if one is optimizer else row)
    saved = optimizer.state_dict()
    assert_equal(saved["state"], expected.state_dict()["state"])
    assert saved["t"] == 4
    optimizer.reset()
    assert optimizer.t == 0
    if make is dict:
        optimizer.replace("W1", cp.ones((4, 2)), state={"m": cp.ones((4, 2))})
        assert optimizer.step({n: cp.ones(p.shape) for n, p in params.items()})
    for name, array in expected.params.items():
        if make is not dict:
            np.testing.assert_array_equal(cp.asnumpy(params[name]), array)


@pytest.mark.parametrize("mode", ["split", "modulus"])
@pytest.mark.parametrize("make", [dict, gdopt.Arena.of])
@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "ema": 0.5}])
def test_complex_arrays_change_between_steps(mode, make, options, numpy_engine):
    start = {name: array + 1j * array[::-1] for name, array in START.items()}
    options = options | {"complex_mode": mode, "lr": 0.1}
    optimizer = gdopt.Adam(make(start), **options)
    names = ["W1", "W2"]
    twin = {name: start[name].copy() for name in names}
    expected = gdopt.Adam(twin, **options)
    optimizer.frozen = "b1"
    for row in ROWS:
        grads = {name: 1j * g for name, g in row.items()}
        optimizer.step(without(grads, ["b2"]))
        expected.step({name: grads[name] for name in names})
    for name, array in start.items():
        found = optimizer.params[name]
        np.testing.assert_array_equal(found, twin.get(name, array))
    optimizer.reset()
    fresh_one = gdopt.Adam(make(dict(optimizer.params)), **options)
    assert_equal(contents(optimizer), contents(fresh_one))
