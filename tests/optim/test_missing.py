"""An array whose gradient is None is left out of a step, whatever the others get."""

import copy

import numpy as np
import pytest
from oracles import CASES

import gdopt

pytestmark = pytest.mark.newest

GENERATOR = np.random.default_rng(32)
SHAPES = {"W1": (3, 2), "b1": (2,), "W2": (70,), "b2": (1,)}
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
ROWS = [
    {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
    for _ in range(4)
]
LEFT_OUT = [("W2",), (), ("W1", "b2"), ("b1", "W2")]  # of each step


def fresh(dtype=np.float64):
    return {name: array.astype(dtype) for name, array in START.items()}


def arena(dtype=np.float64):
    return gdopt.Arena.of(fresh(dtype))


def cast(row, dtype):
    return {name: g.astype(dtype) for name, g in row.items()}


def without(row, names):
    return {name: None if name in names else g for name, g in row.items()}


def assert_same(one, other, names=SHAPES):
    for name in names:
        np.testing.assert_array_equal(one.params[name], other.params[name])
        for state, array in other.state[name].items():
            np.testing.assert_array_equal(one.state[name][state], array)


def copied(optimizer):
    """Return the parameters and the state of an optimizer as they are."""
    state = {
        name: {one: array.copy() for one, array in own.items()}
        for name, own in optimizer.state.items()
    }
    return {name: array.copy() for name, array in optimizer.params.items()}, state


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("make", [fresh, arena])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.1, "ema": 0.5},
        {"lr": {"W*": 0.1, "*": 0.2}, "maximize": True},
        {"clip_norm": 0.1, "clip_value": 0.05, "loss_scale": 4.0},
    ],
)
def test_arrays_without_a_gradient_stay_and_others_are_updated_as_without_them(
    dtype, make, options, engine
):
    optimizer = gdopt.Adam(make(dtype), **options)
    for k, (row, left_out) in enumerate(zip(ROWS, LEFT_OUT, strict=True)):
        params, state = copied(optimizer)
        others = {n: a for n, a in params.items() if n not in left_out}
        lr = {n: 0.1 if n[0] == "W" else 0.2 for n in others}
        own = options | {"lr": lr} if "lr" in options else options
        expected = gdopt.Adam(others, **own)
        saved = expected.state_dict()
        saved["state"], saved["t"] = {n: state[n] for n in others}, k
        expected.load_state_dict(saved)
        grads = cast(row, dtype)
        optimizer.step(without(grads, left_out))
        expected.step({name: grads[name] for name in others})
        assert optimizer.t == k + 1
        assert optimizer.grad_norm == expected.grad_norm
        assert_same(optimizer, expected, others)
        for name in left_out:
            np.testing.assert_array_equal(optimizer.params[name], params[name])
            for one, array in state[name].items():
                np.testing.assert_array_equal(optimizer.state[name][one], array)


@pytest.mark.parametrize("name", CASES)
def test_every_rule_leaves_arrays_out(name, engine):
    apart, together = CASES[name].make(fresh()), CASES[name].make(arena())
    for row, left_out in zip(ROWS, LEFT_OUT, strict=True):
        before = apart.params["W2"].copy()
        apart.step(without(row, left_out))
        together.step(without(row, left_out))
        same = np.array_equal(apart.params["W2"], before)
        assert same == ("W2" in left_out)
    for key, array in apart.params.items():
        np.testing.assert_array_equal(together.params[key], array)


def test_steps_count_for_all_arrays_as_in_keras(numpy_engine):
    params = {"a": np.ones(1), "b": np.ones(1)}
    optimizer = gdopt.Adam(params, lr=0.1, eps_mode="raw")
    optimizer.step({"a": None, "b": np.ones(1)})
    optimizer.step({"a": np.ones(1), "b": np.zeros(1)})
    np.testing.assert_allclose(params["a"], 0.9255863, atol=5e-8)
    np.testing.assert_allclose(params["b"], 0.83299418, atol=5e-8)  # zero is not None


@pytest.mark.peers("torch")
def test_torch_counts_the_steps_of_each_parameter(torch, numpy_engine):
    arrays = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    other = torch.optim.Adam(arrays, lr=0.1)
    for first in (None, torch.ones(1)):
        arrays[0].grad, arrays[1].grad = first, torch.ones(1)
        other.step()
    np.testing.assert_allclose(arrays[0].detach().numpy(), 0.9, atol=1e-6)
    params = [np.ones(1), np.ones(1)]
    parts = [gdopt.Adam([p], lr=0.1) for p in params]  # an optimizer for each part
    parts[1].step([np.ones(1)])
    for part in parts:
        part.step([np.ones(1)])
    np.testing.assert_allclose(params[0], 0.9, atol=1e-6)


FORMS = {
    "a mapping": lambda row: row,
    "a list": lambda row: list(row.values()),
    "a tuple": lambda row: tuple(row.values()),
}


@pytest.mark.parametrize("form", FORMS)
def test_none_stands_for_a_gradient_in_every_form(form, numpy_engine):
    given, expected = fresh(), gdopt.SGD(fresh(), lr=1.0)
    params = FORMS[form](given)
    gdopt.SGD(params, lr=1.0).step(FORMS[form](without(ROWS[0], ["b1"])))
    expected.step(without(ROWS[0], ["b1"]))
    for name, array in given.items():
        np.testing.assert_array_equal(array, expected.params[name])


BAD = {
    "a name missing": (lambda row: {"W1": row["W1"]}, "missing 'b1', 'W2', 'b2'$"),
    "all None": (dict.fromkeys, "grads must hold .* got None for all"),
    "another shape": (lambda row: {**row, "W1": None, "b1": row["W2"]}, "'b1' must"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"frozen": "b2"}])
def test_what_is_not_a_missing_gradient_is_refused(
    case, options, unchanged, numpy_engine
):
    change, message = BAD[case]
    optimizer = gdopt.Adam(fresh(), **options)
    message = message.removesuffix(", 'b2'$") if "frozen" in options else message
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step(change(ROWS[0]))


def test_only_gradients_that_are_there_are_looked_at(unchanged, numpy_engine):
    optimizer = gdopt.Adam(fresh(), non_finite="raise")
    bad = {**ROWS[0], "W1": None, "W2": np.full(70, np.nan)}
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=r"of 'W2'$"):
        optimizer.step(bad)
    with pytest.raises(gdopt.ArgumentError, match="'b1' must not share memory"):
        optimizer.step({**ROWS[0], "W1": None, "b1": optimizer.params["b1"]})
    assert optimizer.step({**bad, "W2": None})


ACCUMULATED = {  # gradients of an array at each of three calls, and their mean
    "all": ((1.0, 2.0, 6.0), 3.0),
    "none at first": ((None, 2.0, 4.0), 2.0),
    "none between": ((3.0, None, 6.0), 3.0),
    "none at last": ((3.0, 6.0, None), 3.0),
    "one": ((None, 3.0, None), 1.0),
    "none": ((None, None, None), None),
}


@pytest.mark.parametrize("case", ACCUMULATED)
@pytest.mark.parametrize("make", [dict, gdopt.Arena.of])
def test_a_missing_gradient_adds_nothing_to_the_sum(case, make, engine):
    given, mean = ACCUMULATED[case]
    params = make({"a": np.full(3, 8.0), "b": np.zeros(2)})
    options = {"lr": 1.0, "clip_value": 100.0}
    optimizer = gdopt.Momentum(params, accumulate=3, **options)
    a, b = [gdopt.Momentum(params[name].copy(), **options) for name in "ab"]
    for window in (given, (9.0, 9.0, 9.0), given):  # which leave sums behind
        for number in window:
            g = None if number is None else np.full(3, number)
            done = optimizer.step({"a": g, "b": np.ones(2)})
        assert done
        b.step(np.ones(2))
        own = mean if window is given else 9.0
        if own is not None:
            a.step(np.full(3, own))
    for name, expected in (("a", a), ("b", b)):
        np.testing.assert_array_equal(params[name], expected.params["0"])
        for state in expected.state["0"]:
            own = optimizer.state[name][state]
            np.testing.assert_array_equal(own, expected.state["0"][state])


@pytest.mark.parametrize("kind", [gdopt.AdamW, gdopt.Muon])
def test_a_copy_knows_which_gradients_were_missing(kind, numpy_engine):
    optimizer = kind(fresh(), accumulate=3)
    optimizer.step(without(ROWS[0], ["W1", "b1"]))
    twin = kind(fresh(), accumulate=3).load_state_dict(optimizer.state_dict())
    for one in (optimizer, twin, copy.deepcopy(optimizer)):
        for row in ROWS[1:3]:
            one.step(without(row, ["W1"]))
        np.testing.assert_array_equal(one.params["W1"], START["W1"])
        np.testing.assert_array_equal(one.params["b1"], optimizer.params["b1"])
        assert not np.array_equal(one.params["b1"], START["b1"])


@pytest.mark.parametrize("bad", [{"c": 1}, ["W1"], None])
def test_names_of_missing_gradients_are_checked(bad, unchanged, numpy_engine):
    optimizer = gdopt.Adam(fresh(), accumulate=3)
    saved = optimizer.state_dict() | {"missing": bad}
    with unchanged(optimizer), pytest.raises(gdopt.StateError, match="missing must"):
        optimizer.load_state_dict(saved)


def test_what_is_rounded_at_random_does_not_depend_on_arrays_left_out(engine):
    options = {"state_dtype": "bfloat16", "seed": 3}
    whole, part = (gdopt.Adam(fresh(np.float32), **options) for _ in range(2))
    row = cast(ROWS[0], np.float32)
    whole.step(row)
    part.step(without(row, ["W1"]))
    assert_same(part, whole, ["b1", "W2", "b2"])


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1, "ema": 0.5}])
@pytest.mark.parametrize("left_out", [["V"], ["b1"], ["V", "U"], ["b1", "W2"]])
def test_muon_and_its_others_leave_arrays_out(options, left_out, numpy_engine):
    start = {"V": np.ones((2, 2)), "U": np.eye(2)} | {n: START[n] for n in ("b1", "W2")}
    grads = {name: array + 0.5 for name, array in start.items()}
    params = {name: array.copy() for name, array in start.items()}
    others = {n: a.copy() for n, a in start.items() if n not in left_out}
    optimizer = gdopt.Muon(params, 0.5, **options)
    expected = (gdopt.Muon if {"V", "U"} & {*others} else gdopt.AdamW)(
        others, 0.5, **options
    )
    for t in (1, 2):
        optimizer.step(without(grads, left_out))
        expected.step({name: grads[name] for name in others})
        assert optimizer.t == optimizer.others.t == t
    if options:  # whose order of addition is AdamW's own
        np.testing.assert_allclose(optimizer.grad_norm, expected.grad_norm, 1e-14)
    for name, array in params.items():
        np.testing.assert_allclose(array, others.get(name, start[name]), 1e-13)
        if name in left_out:
            np.testing.assert_array_equal(array, start[name])
    optimizer.step(grads)
    assert optimizer.others.t == 3
    assert not np.array_equal(params[left_out[0]], start[left_out[0]])


def test_muon_adds_up_the_gradients_that_there_are(numpy_engine):
    params, twin = ({"V": np.eye(2), "b": np.ones(2)} for _ in range(2))
    optimizer, expected = gdopt.Muon(params, accumulate=2), gdopt.Muon(twin)
    grads = {"V": np.full((2, 2), 3.0), "b": np.ones(2)}
    optimizer.step(grads | {"b": None})
    optimizer.step(grads)
    expected.step(grads | {"b": np.full(2, 0.5)})
    for name, array in params.items():
        np.testing.assert_array_equal(array, twin[name])


@pytest.mark.gpu
@pytest.mark.parametrize("arena", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.1, "ema": 0.5},
        {"non_finite": "skip", "lr": {"W*": 0.1, "*": 0.2}},
        {"clip_norm": 0.1, "clip_value": 0.05},
        {"accumulate": 2},
    ],
)
def test_arrays_are_left_out_on_a_gpu(arena, options, cp):
    params = {name: cp.asarray(array) for name, array in fresh(np.float32).items()}
    params = gdopt.Arena.of(params) if arena else params
    optimizer = gdopt.Adam(params, **options)
    expected = gdopt.Adam(fresh(np.float32), **options)
    for row, left_out in zip(ROWS, LEFT_OUT, strict=True):
        grads = without(cast(row, np.float32), left_out)
        given = {n: None if g is None else cp.asarray(g) for n, g in grads.items()}
        optimizer.step(given)
        expected.step(grads)
        assert optimizer.t == expected.t
    for name, array in expected.params.items():
        np.testing.assert_array_equal(cp.asnumpy(params[name]), array)
        for state, own in expected.state[name].items():
            found = cp.asnumpy(optimizer.state[name][state])
            np.testing.assert_array_equal(found, own)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["Lamb", "Adafactor", "ScheduleFreeAdamW"])
def test_rules_that_reduce_leave_arrays_out_on_a_gpu(name, cp):
    start = {name: array[::-1].T for name, array in fresh().items()}
    kind = getattr(gdopt, name, gdopt.LAMB)
    optimizer = kind({name: cp.asarray(array).T for name, array in start.items()})
    expected = kind({name: array.T.copy() for name, array in start.items()})
    for row, left_out in zip(ROWS, LEFT_OUT, strict=True):
        grads = without(row, left_out)
        given = {n: None if g is None else cp.asarray(g) for n, g in grads.items()}
        optimizer.step(given)
        expected.step(grads)
    for key, array in expected.params.items():
        np.testing.assert_array_equal(cp.asnumpy(optimizer.params[key]), array)


@pytest.mark.peers("torch")
def test_torch_gradients_may_be_none(torch, engine):
    tensors = [torch.nn.Parameter(torch.tensor(START[n])) for n in ("W1", "b1")]
    optimizer = gdopt.Adam(tensors, lr=0.1, frozen="0")
    for frozen, updated in (("0", "1"), ("1", "0"), ((), "01")):
        optimizer.frozen = frozen
        before = [tensor.detach().clone() for tensor in tensors]
        versions = [tensor._version for tensor in tensors]
        optimizer.zero_grad()
        tensors[int(updated[0])].pow(2).sum().backward()
        optimizer.step()
        for k, tensor in enumerate(tensors):
            moves = str(k) == updated[0]
            assert torch.equal(tensor, before[k]) != moves
            assert (tensor._version > versions[k]) == moves


@pytest.mark.parametrize("left_out", [("W1",), ("b1",)])
def test_rows_of_an_array_without_a_gradient_are_left_out(left_out, engine):
    optimizer, expected = (gdopt.Adam(fresh(), clip_norm=0.1) for _ in range(2))
    rows, whole = np.array([2, 0]), np.zeros((3, 2))
    whole[rows] = ROWS[0]["W1"][:2]
    at = {"W1": rows}
    given = without(ROWS[0] | {"W1": ROWS[0]["W1"][:2]}, left_out)
    optimizer.step(given, at=at)
    expected.step(without(ROWS[0] | {"W1": whole}, left_out))
    assert optimizer.grad_norm == expected.grad_norm
    names = [name for name in SHAPES if name != "W1"]
    assert_same(optimizer, expected, names)
    np.testing.assert_array_equal(
        optimizer.params["W1"][rows], expected.params["W1"][rows]
    )
