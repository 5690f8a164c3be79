"""Steps that name rows of arrays update these rows and their state, and no others."""

import numpy as np
import pytest
from oracles import CASES
from reducing_rules import centred, lamb, row_cap, unit_wise
from rules import RULES, bits

import gdopt

GENERATOR = np.random.default_rng(71)
E = GENERATOR.standard_normal((9, 3))
W = GENERATOR.standard_normal((2, 4))
DTYPES = ["float16", "bfloat16", "float32", "float64"]
ELEMENT_WISE = [name for name in CASES if not RULES[name].kernel.by_shape]


def cast(array, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    return array.astype(dtype)


def draw(*shape):
    return GENERATOR.standard_normal(shape)


def adam(params, **options):
    return gdopt.Adam(params, 0.1, eps_mode="raw", **options)


def assert_same(one, other):
    """Compare all bits of parameters and state, and the step count."""
    for name, array in one.params.items():
        assert bits(array) == bits(other.params[name]), name
        for state, value in one.state.get(name, {}).items():
            assert bits(value) == bits(other.state[name][state]), (name, state)
    assert one.t == other.t
    assert one.grad_norm == other.grad_norm


def assert_full_steps_agree(make, dtype="float64", start=E):
    """Compare steps on all rows, each named once in random order, with dense ones."""
    one, other = cast(start, dtype), cast(start, dtype)
    dense, named = make(one), make(other)
    for _ in range(4):
        order, g = GENERATOR.permutation(len(start)), cast(draw(*start.shape), dtype)
        dense.step(g)
        assert named.step(g[order], at=order)
    assert_same(dense, named)


def test_rows_take_their_own_steps_of_a_common_count(engine):
    p = np.ones((4, 2))
    opt = adam(p)
    opt.step(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]]), at=[2, 0, 2])
    opt.step(np.array([[1.0, 1.0]]), at=[1])
    expected = [[0.9, 0.9], [0.92558634, 0.92558634], [0.9, 1.1], [1, 1]]
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-7)  # eps
    assert opt.t == 2
    assert not opt.state["0"]["m"][3].any()


@pytest.mark.parametrize(
    ("mode", "moved"), [("raw", 0.0240253073), ("corrected", 0.0909090909)]
)
def test_epsilon_counts_where_a_row_s_gradient_is_small(mode, moved, engine):
    p = np.ones((2, 1))
    gdopt.Adam(p, 0.1, eps_mode=mode).step(np.full((1, 1), 1e-7), at=[1])
    assert 1 - p[1, 0] == pytest.approx(moved, rel=1e-8)  # SparseAdam's is the first


@pytest.mark.peers("torch")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_the_momentum_of_other_rows_rests_as_torch_s_does_not(torch, engine):
    w, p = torch.nn.Parameter(torch.ones(3, 1)), np.ones((3, 1), np.float32)
    theirs = torch.optim.SGD([w], 0.1, momentum=0.5)
    ours = gdopt.SGD(p, 0.1, momentum=0.5)
    for row in ([0], [1]):
        w.grad = torch.sparse_coo_tensor([row], torch.ones(1, 1), (3, 1))
        theirs.step()
        ours.step(np.ones((1, 1), np.float32), at=row)
    np.testing.assert_allclose(p[:, 0], [0.9, 0.9, 1], rtol=1e-6)
    np.testing.assert_allclose(w[:, 0].tolist(), [0.85, 0.9, 1], rtol=1e-6)


@pytest.mark.peers("torch")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", ["SparseAdam", "SGD", "Adagrad"])
def test_rows_take_the_steps_of_torch(name, torch, engine):
    w, p = torch.nn.Parameter(torch.from_numpy(E.copy())), E.copy()
    theirs = getattr(torch.optim, name)([w], lr=0.1)
    make = {"SparseAdam": adam, "SGD": gdopt.SGD, "Adagrad": gdopt.Adagrad}[name]
    ours = make(p) if make is adam else make(p, 0.1)
    for step in range(50):
        rows = GENERATOR.integers(0, 9, step % 12)
        g = draw(len(rows), 3)
        index = torch.from_numpy(rows[None])
        w.grad = torch.sparse_coo_tensor(index, torch.from_numpy(g), (9, 3))
        theirs.step()
        ours.step(g, at=rows)
    np.testing.assert_allclose(w.detach().numpy(), p, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ELEMENT_WISE)
def test_naming_all_rows_is_the_dense_step(name, numpy_engine):
    assert_full_steps_agree(CASES[name].make)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_each": 1.0},
        {"clip_value": 0.5, "clip_norm": 0.5, "loss_scale": 2.0},
        {"weight_decay": 0.1, "decay_mode": "decoupled", "bounds": (-1, 1)},
        {"agc": 0.1, "unit_axis": 0, "clip_norm": 0.5},
    ],
)
def test_naming_all_rows_is_the_dense_step_with_options(options, engine):
    assert_full_steps_agree(lambda p: gdopt.Adam(p, 0.1, **options), "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [{"clip_norm": 1.0, "ema": 0.9}, {"rounding": "stochastic", "seed": 3}],
)
def test_naming_all_rows_is_the_dense_step_in_any_dtype(options, dtype, engine):
    assert_full_steps_agree(lambda p: gdopt.Adam(p, 0.1, **options), dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "options", [{"master_weights": True}, {"state_dtype": "bfloat16"}]
)
def test_naming_all_rows_is_the_dense_step_of_half_precisions(options, dtype, engine):
    assert_full_steps_agree(lambda p: gdopt.Adam(p, 0.1, **options), dtype)


@pytest.mark.parametrize("at", [[4, 1], slice(1, 5, 3)])
def test_what_is_written_into_a_named_row_wins_over_its_master(at, engine):
    p = np.ones((5, 3), np.float16)
    opt = gdopt.SGD(p, 2.0**-14, master_weights=True)
    opt.step(np.ones((5, 3), np.float16))
    p[1, 0] = p[2, 0] = 3
    opt.step(np.ones((2, 3), np.float16), at=at)
    master = np.full((5, 3), 1 - 2.0**-14)
    master[[4, 1]] -= 2.0**-14
    master[1, 0] = 3 - 2.0**-14
    np.testing.assert_array_equal(opt.state["0"]["master"], master)
    assert p[2, 0] == 3  # as it was written: its turn comes with its row


def test_random_bits_are_those_of_an_element_in_its_layout(engine):
    start = {"W": cast(W, "bfloat16"), "E": cast(E, "bfloat16")}
    one, other = (
        adam({name: array.copy() for name, array in start.items()}, **options)
        for options in [{"rounding": "stochastic", "state_dtype": "bfloat16"}] * 2
    )
    order = GENERATOR.permutation(9)
    one.step(start)
    other.step(start | {"E": start["E"][order]}, at={"E": order})
    assert_same(one, other)


@pytest.mark.parametrize("function", [centred, row_cap, unit_wise])
def test_a_rule_may_reduce_rows(function, engine):
    hyper = dict.fromkeys(gdopt.rule(function).scalars, 0.5)
    assert_full_steps_agree(lambda p: gdopt.Optimizer(p, function, **hyper))


def test_state_of_rows_is_updated_with_them(engine):
    @gdopt.rule(per={"r": "row"})
    def by_row(p, r, g, *, lr):
        r = r + np.sum(g * g, axis=1, keepdims=True)
        return p - lr * g / np.sqrt(r), r

    assert_full_steps_agree(lambda p: gdopt.Optimizer(p, by_row, lr=0.1))
    opt = gdopt.Optimizer(E.copy(), by_row, lr=0.1)
    opt.step(np.ones((2, 3)), at=[4, 1])
    assert opt.state["0"]["r"][:, 0].tolist() == [0, 3, 0, 0, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(9,), (9, 2, 3), (9, 0)])
def test_arrays_of_any_axes_have_rows(shape, engine):
    assert_full_steps_agree(adam, start=draw(*shape))


@pytest.mark.parametrize(
    "place", [np.asfortranarray, lambda p: np.repeat(p, 2, 1)[:, ::2]]
)
def test_strided_parameters_have_rows(place, engine):
    one, other = place(E.copy()), E.copy()
    for opt in (adam(one), adam(other)):
        opt.step(np.ones((2, 3)), at=[7, 3])
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("repeats", [3, 300])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_a_row_are_added_from_left_to_right(dtype, repeats, engine):
    rows = np.repeat([5, 2, 7], [1, repeats, 2])
    GENERATOR.shuffle(rows)
    g = cast(draw(len(rows), 3), dtype)
    wide, sums = g.astype("float64" if dtype == "float64" else "float32"), {}
    for row, one in zip(rows, wide, strict=True):
        sums[row] = sums[row] + one if row in sums else one
    p, expected = cast(E, dtype), cast(E, dtype)
    gdopt.SGD(p, 1.0).step(g, at=rows)
    for row, total in sums.items():
        expected[row] = expected[row].astype(total.dtype) - total
    assert bits(p) == bits(expected)


def test_a_sum_keeps_the_sign_of_zero(engine):
    p = np.ones((2, 1))
    copied = gdopt.Optimizer(p, lambda p, g: g)
    copied.step(np.array([[-0.0], [-0.0], [0.0]]), at=[1, 1, 0])
    assert np.signbit(p[:, 0]).tolist() == [False, True]


def test_sums_of_denormals_are_zero_as_in_the_pass(engine):
    p = np.ones((1, 2), np.float32)
    gdopt.SGD(p, 1e38).step(np.full((3, 2), 4e-39, np.float32), at=[0, 0, 0])
    expected = np.ones((1, 2), np.float32)
    gdopt.SGD(expected, 1e38).step(np.full((1, 2), 4e-39, np.float32))
    assert bits(p) == bits(expected)


@pytest.mark.parametrize("rows", [[], (), np.zeros(0), np.zeros(0, np.int8)])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}])
def test_without_rows_only_the_step_count_changes(rows, options, engine):
    p = E.copy()
    opt = adam(p, **options)
    opt.step(draw(9, 3))
    before, state = p.copy(), {n: s.copy() for n, s in opt.state["0"].items()}
    assert opt.step(np.zeros((0, 3)), at=rows)
    assert opt.t == 2
    np.testing.assert_array_equal(p, before)
    for name, array in opt.state["0"].items():
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize(
    "rows",
    [
        [3, 1],
        (3, 1),
        range(3, 0, -2),
        np.array([3, 1], np.int8),
        np.array([3, 1], np.uint64),
        np.array([3, 1], ">i4"),
        np.array([[3, 0], [1, 0]])[:, 0],
    ],
)
def test_rows_are_integers_of_any_kind(rows, engine):
    p, expected = E.copy(), E.copy()
    adam(p).step(np.ones((2, 3)), at=rows)
    adam(expected).step(np.ones((2, 3)), at=[3, 1])
    np.testing.assert_array_equal(p, expected)


@pytest.mark.peers("torch")
def test_rows_may_be_a_tensor(torch, engine):
    p, expected = E.copy(), E.copy()
    adam(p).step(np.ones((2, 3)), at=torch.tensor([3, 1]))
    adam(expected).step(np.ones((2, 3)), at=[3, 1])
    np.testing.assert_array_equal(p, expected)


@pytest.mark.peers("torch")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_gradients_of_torch_are_rows(torch, engine):
    start = torch.from_numpy(E.astype(np.float32))
    ours, theirs = (
        torch.nn.Embedding.from_pretrained(start.clone(), freeze=False, sparse=True)
        for _ in range(2)
    )
    opt, sparse_adam = adam(list(ours.parameters())), torch.optim.SparseAdam
    peer = sparse_adam(list(theirs.parameters()), lr=0.1)
    for indices in ([3, 1, 3], [1, 8], [0]):
        for layer in (ours, theirs):
            layer.weight.grad = None
            (layer(torch.tensor(indices)) ** 2).sum().backward()
        peer.step()
        g, version = ours.weight.grad.coalesce(), ours.weight._version
        opt.step(g.values(), at=g.indices()[0])
        assert ours.weight._version > version
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "at",
    [
        slice(2, 5),
        slice(-3, None),
        slice(1, None, 3),
        (slice(2, 5), slice(1, 3)),
        (slice(None), slice(None, None, 2)),
        slice(4, 4),
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_slices_are_a_block(at, dtype, rounding, engine):
    p, expected = cast(E, dtype), cast(E, dtype)
    opt, dense = (adam(one, rounding=rounding) for one in (p, expected))
    for _ in range(2):
        whole = cast(draw(9, 3), dtype)
        opt.step(whole[at], at=at)
        dense.step(whole)
    inside = np.zeros((9, 3), bool)
    inside[at] = True
    expected[~inside] = cast(E, dtype)[~inside]
    assert bits(p) == bits(expected)
    assert not opt.state["0"]["v"][~inside].any()


def test_arrays_that_are_not_named_are_updated_whole(engine):
    params, apart = {"E": E.copy(), "W": W.copy()}, {"W": W.copy()}
    opt, other = adam(params), adam(apart)
    for rows in ([1], [3, 1]):
        g = {"E": draw(len(rows), 3), "W": draw(2, 4)}
        opt.step(g, at={"E": rows})
        other.step({"W": g["W"]})
    np.testing.assert_array_equal(params["W"], apart["W"])
    np.testing.assert_array_equal(
        params["E"][[0, 2, 4, 5, 6, 7, 8]], np.delete(E, [1, 3], 0)
    )


@pytest.mark.parametrize("at", [{"E": [2, 0]}, {"E": [2, 0], "W": slice(0, 1)}, {}])
@pytest.mark.parametrize("frozen", [(), "b"])
def test_an_arena_has_rows(at, frozen, engine):
    start = {"b": draw(2), "E": E, "W": W}
    apart = {name: array.copy() for name, array in start.items()}
    arena = gdopt.Arena.of(start)
    grads = {"b": draw(2), "E": draw(9, 3)[: 2 if at else 9], "W": draw(2, 4)}
    grads["W"] = grads["W"][at.get("W", slice(None))]
    one, other = (adam(p, frozen=frozen, clip_norm=1.0) for p in (apart, arena))
    for opt in (one, other):
        opt.step(grads, at=at)
        opt.step(start)
    assert_same(one, other)


def test_nested_arrays_are_named_by_path(engine):
    params = {"layers": [{"E": E.copy()}, W.copy()]}
    g = {"layers": [{"E": np.ones((1, 3))}, np.ones((2, 4))]}
    adam(params).step(g, at={"layers.0.E": [4]})
    changed = (params["layers"][0]["E"] != E).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [4]


@pytest.mark.parametrize("frozen", [(), "b"])
def test_gradients_may_be_an_arena_where_all_rows_are_named(frozen, numpy_engine):
    start = {"b": draw(2), "E": E, "W": W}
    one, other = (adam(gdopt.Arena.of(start), frozen=frozen) for _ in range(2))
    grads = gdopt.Arena.of(start)
    one.step(grads)
    other.step(grads, at={"E": slice(None)})
    assert_same(one, other)


def test_rows_that_are_not_named_stay_as_they_are(engine):
    p = E.copy()
    p[5] = 7.0  # beyond the bounds
    options = {"weight_decay": 0.5, "decay_mode": "decoupled", "bounds": (-1, 1)}
    opt = adam(p, ema=0.5, **options)
    before = p.copy()
    opt.step(np.ones((2, 3)), at=[6, 8])
    rest = np.delete(np.arange(9), [6, 8])
    np.testing.assert_array_equal(p[rest], before[rest])
    np.testing.assert_array_equal(opt.average["0"][rest], before[rest])
    assert (opt.average["0"][[6, 8]] != before[[6, 8]]).all()


def test_the_norm_is_that_of_the_sums_and_of_the_other_arrays(engine):
    opt = adam({"E": E.copy(), "W": W.copy()}, clip_norm=1.0)
    g = np.array([[3.0, 0, 0], [0, 4, 0], [-1, 0, 0]])
    opt.step({"E": g, "W": np.full((2, 4), np.sqrt(5 / 8))}, at={"E": [4, 0, 4]})
    assert opt.grad_norm == pytest.approx(5)  # root of 2**2 + 4**2 + 5


def test_hyper_parameters_that_are_arrays_have_rows(engine):
    rate, low = np.abs(draw(9, 3)), np.full((9, 1), -1.0)
    low[3] = 0.0
    options = {"lr": rate, "bounds": (low, 1.0)}
    assert_full_steps_agree(lambda p: gdopt.SGD(p, **options))
    p = E.copy()
    gdopt.SGD(p, **options).step(np.ones((2, 3)), at=[6, 3])
    np.testing.assert_array_equal(p[3], np.clip(E[3] - rate[3], 0, 1))
    np.testing.assert_array_equal(p[6], np.clip(E[6] - rate[6], -1, 1))


def test_hyper_parameters_by_name_and_schedules_hold_for_rows(engine):
    params = {"E": E.copy(), "W": W.copy()}
    opt = gdopt.SGD(params, {"E": lambda step: 1.0 + step, "W": 0.5})
    for _ in range(2):
        opt.step({"E": np.ones((1, 3)), "W": np.ones((2, 4))}, at={"E": [2]})
    np.testing.assert_allclose(params["E"][2], E[2] - 3)
    np.testing.assert_allclose(params["W"], W - 1)


def test_other_arrays_may_be_taken_whole(numpy_engine):
    hyper = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "decay": 0.1}
    opt = gdopt.Optimizer({"W": W.copy()}, lamb, **hyper)
    other = gdopt.Optimizer({"W": W.copy()}, lamb, **hyper)
    g = {"W": draw(2, 4)}
    opt.step(g, at={})
    other.step(g)
    assert_same(opt, other)
