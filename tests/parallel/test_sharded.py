"""A sharded optimizer has the bits of one process, whatever the number of ranks."""

import math

import numpy as np
import pytest
from parallel.threads import on_ranks

import gdopt
from gdopt.arrays.dtypes import as_dtype
from gdopt.parallel.batches import Part
from gdopt.parallel.tree import TreeSum, share_of

REPLICAS = 8
SIZES = 1, 2, 3, 4, 8
DRAWN = np.random.default_rng(0)
START = {
    "W": DRAWN.standard_normal((130, 70)).astype("f4"),  # three segments of the norm
    "b": DRAWN.standard_normal(77).astype("f4"),
    "d": DRAWN.standard_normal(1000),
    "empty": np.zeros((0, 3)),
}
WEIGHTS = 1 / 8, 1 / 4, 0.0, 1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 8


def gradients(steps, scale=1.0):
    """Yield for each step the gradients of every replica; one has none."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        yield [
            {
                n: scale * rng.standard_normal(a.shape).astype(a.dtype)
                for n, a in START.items()
            }
            if weight
            else None
            for weight in WEIGHTS
        ]


def part_of(replica, weight=1 / 8):
    return Part(replica, weight, 0, 0, np.arange(1), ())


def train(ranks, kind=gdopt.AdamW, steps=4, change=None, **options):
    """Train on a rank; return all that must be equal, and what this rank held."""
    params = gdopt.Arena.of(START)
    opt = ranks.sharded(kind, params, replicas=REPLICAS, **{"lr": 0.01} | options)
    done, norms = [], []
    for step, grads in enumerate(gradients(steps)):
        if change:
            change(step, grads, opt)
        for replica in share_of(ranks.rank, ranks.size, REPLICAS):
            opt.add(grads[replica], part_of(replica, WEIGHTS[replica]))
        done.append(opt.step())
        norms.append(opt.grad_norm)
    params = {name: array.copy() for name, array in params.items()}
    return (params, opt.state_dict(), done, norms), opt.state_bytes, opt


def alone(kind=gdopt.AdamW, steps=4, change=None, **options):
    """Train one plain optimizer on the sums of the tree."""
    params = gdopt.Arena.of(START)
    opt = kind(params, **{"lr": 0.01} | options)
    done, norms = [], []
    for step, grads in enumerate(gradients(steps)):
        if change:
            change(step, grads, opt)
        tree = TreeSum(params)
        for replica, given in enumerate(grads):
            tree.add(replica, given, WEIGHTS[replica])
        done.append(bool(opt.step(tree.done[0][1])))
        norms.append(opt.grad_norm)
    return {n: a.copy() for n, a in params.items()}, opt.state_dict(), done, norms


def same(one, other):
    """Return whether trees are equal, arrays bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[n], other[n]) for n in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and (
            one.tobytes() == other.tobytes()
        )
    return one == other or (one != one and other != other)  # noqa: PLR0124 - NaN


OPTIONS = [
    {},
    {"kind": gdopt.SGD, "lr": gdopt.schedules.cosine(0.1, 0.0, steps=9)},
    {"clip_norm": 0.5},
    {"clip_norm": 0.5, "loss_scale": 4.0, "maximize": True},
    {"clip_value": 0.1, "weight_decay": {"W": 0.1, "*": 0.0}},
    {"non_finite": "skip", "clip_norm": 3.0},
    {"loss_scale": "dynamic"},
    {"bounds": (-0.5, 0.5), "ema": 0.9},
    {"lookahead": (2, 0.5), "swa_start": 1},
    {"lr": {"W": np.linspace(0.1, 0.2, 70), "*": 0.01}},
    {"weight_decay": np.float32(0.5), "rounding": "stochastic", "seed": 3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_any_number_of_ranks_has_the_bits_of_one_process(options):
    expected = alone(**options)
    for size in SIZES:
        for found, _, _ in on_ranks(size, lambda ranks: train(ranks, **options)):
            assert same(list(found), list(expected)), size


def halves(ranks=None):
    """Train bfloat16 parameters with masters, and float32 ones with bfloat16 state."""
    rng, found = np.random.default_rng(2), []
    for dtype, options in (
        ("bfloat16", {"master_weights": True, "rounding": "stochastic"}),
        ("bfloat16", {"rounding": "stochastic", "state_dtype": "bfloat16"}),
        ("float32", {"state_dtype": "bfloat16", "seed": 5, "clip_norm": 0.5}),
    ):
        start = {n: as_dtype_array(START[n], dtype) for n in "Wb"}
        params = gdopt.Arena.of(start)
        given = {"lr": 0.01, **options}
        make = ranks.sharded if ranks else lambda kind, *args, **kw: kind(*args, **kw)
        opt = make(gdopt.Adam, params, **given)
        for _ in range(3):
            grads = [
                {
                    n: as_dtype_array(rng.standard_normal(a.shape), dtype)
                    for n, a in start.items()
                }
                for _ in range(REPLICAS)
            ]
            if ranks:
                for replica in share_of(ranks.rank, ranks.size, REPLICAS):
                    opt.add(grads[replica], part_of(replica))
                opt.step()
            else:
                tree = TreeSum(params)
                for replica, one in enumerate(grads):
                    tree.add(replica, one, 1 / 8)
                total = params.like()
                for group, buffer in total.buffers.items():
                    buffer[...] = tree.done[0][1].buffers[group]
                opt.step(total)
        found += [{n: a.copy() for n, a in params.items()}, opt.state_dict()]
    return found


def as_dtype_array(array, dtype):
    return np.asarray(array, as_dtype(dtype))


def test_rounding_at_random_does_not_depend_on_the_ranks():
    expected = halves()
    for size in (1, 2, 3, 8):
        for found in on_ranks(size, halves):
            assert same(found, expected), size


def test_state_takes_its_share_on_every_rank():
    ((_, whole, _),) = on_ranks(1, train)
    for size in SIZES:
        held = [bytes_ for _, bytes_, _ in on_ranks(size, train)]
        assert sum(held) == whole
        assert max(held) <= whole / size + 2 * 2 * 64 * 8  # of 2 states, in 2 dtypes


def test_a_step_sends_twice_its_share_of_the_gradients():
    size = sum(buffer.nbytes for buffer in gdopt.Arena.of(START).buffers.values())

    def sent(ranks):
        opt = train(ranks, steps=1)[2]
        before = opt._comm.sent
        for replica in share_of(ranks.rank, ranks.size, REPLICAS):
            opt.add(None, part_of(replica, 0.0))
        opt.step()
        return opt._comm.sent - before

    for ranks in (2, 4, 8):
        for found in on_ranks(ranks, sent):
            assert found <= 2 * (ranks - 1) / ranks * size + 4096


def poisoned(value):
    def change(step, grads, _):
        if step == 2:
            grads[5]["d"][700] = value

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])  # whose square is infinite
@pytest.mark.parametrize("options", [{"non_finite": "skip"}, {"loss_scale": "dynamic"}])
def test_one_bad_gradient_skips_the_step_on_all_ranks(value, options):
    options = {"change": poisoned(value), **options}
    expected = alone(**options)
    assert expected[2] == [True, True, False, True]
    for size in SIZES:
        for found, _, _ in on_ranks(size, lambda ranks: train(ranks, **options)):
            assert same(list(found[:3]), list(expected[:3])), size


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "grads must be finite, got NaN or infinity in the gradients of 'd'"),
        (1e200, "grads must leave the state finite, got too large ones in the .* 'd'"),
    ],
)
def test_one_bad_gradient_raises_on_all_ranks(value, message):
    found = []

    def run(ranks):
        with pytest.raises(gdopt.ArgumentError, match=message):
            train(ranks, non_finite="raise", change=poisoned(value))
        found.append(ranks.rank)

    on_ranks(4, run)
    assert sorted(found) == [0, 1, 2, 3]


def test_the_engines_own_order_agrees_but_for_rounding():
    expected = alone()[0]
    for found, _, _ in on_ranks(3, lambda ranks: train(ranks, order="any")):
        for name, array in expected.items():
            np.testing.assert_allclose(found[0][name], array, rtol=1e-4, atol=1e-6)


def test_fewer_elements_than_ranks():
    start = {"a": np.ones(3, "f4"), "b": np.ones(1)}

    def run(ranks):
        params = gdopt.Arena.of(start)
        opt = ranks.sharded(gdopt.Adam, params, replicas=8, lr=0.1, clip_norm=1.0)
        for replica in share_of(ranks.rank, ranks.size, 8):
            opt.add({n: a * (replica + 1) for n, a in start.items()}, part_of(replica))
        opt.step()
        opt.lr = 0.5
        return dict(params), opt.state_dict(), opt.t, opt.lr

    (expected,) = on_ranks(1, run)
    for size in (5, 8):
        for found in on_ranks(size, run):
            assert same(list(found), list(expected))


def test_half_precision_is_summed_in_float32():
    ones = np.ones(64, np.float16)

    def run(ranks):
        params = gdopt.Arena.of({"w": ones})
        opt = ranks.sharded(gdopt.SGD, params, replicas=8, lr=1.0, master_weights=True)
        for replica in share_of(ranks.rank, ranks.size, 8):
            # Each is lost in a float16 sum of about 1, but not all of them.
            g = np.full(64, 1.0 if replica == 0 else 2.0**-11, np.float16)
            opt.add({"w": g}, part_of(replica, 1.0))
        opt.step()
        return params["w"].copy()

    for size in (1, 2, 4):
        for found in on_ranks(size, run):
            assert found[0] == 1 - np.float16(1 + 7 * 2.0**-11)


def test_averages_show_on_all_ranks_and_go_again():
    def run(ranks):
        opt = train(ranks, ema=0.5)[2]
        before = opt.params["W"].copy()
        with opt.averaged():
            shown = opt.params["W"].copy()
        assert same(opt.params["W"], before)
        return shown

    expected = alone(ema=0.5)[1]["state"]["W"]["average"]
    for size in (1, 3):
        for found in on_ranks(size, run):
            assert same(found, expected)


@pytest.mark.parametrize("options", [{}, {"lr": {"W": 0.1, "*": 0.01}}])
def test_a_state_goes_to_any_number_of_ranks_and_to_one_optimizer(options):
    (((expected, saved, *_), _, _),) = on_ranks(
        1, lambda r: train(r, steps=2, **options)
    )

    def loads(ranks):
        params = gdopt.Arena.of(expected)
        opt = ranks.sharded(gdopt.AdamW, params, replicas=REPLICAS, lr=0.5)
        assert opt.load_state_dict(saved) is opt
        return opt.state_dict(), opt.t, opt.hyper.settings["lr"]

    for size in (1, 2, 3, 8):
        for state, t, lr in on_ranks(size, loads):
            assert same(state, saved)
            assert t == 2
            assert lr == saved["hyper"]["lr"]
    plain = gdopt.AdamW(gdopt.Arena.of(expected), lr=0.5).load_state_dict(saved)
    assert same(plain.state_dict(), saved)


def test_slices_are_the_state_by_name_and_element():
    (((_, whole, *_), _, _),) = on_ranks(1, train)
    found = {
        name: np.full(a.shape, np.nan, a.dtype).ravel() for name, a in START.items()
    }
    for _, _, opt in on_ranks(3, train):
        for name, piece in opt.slices().items():
            found[name][piece["start"] : piece["stop"]] = piece["m"]
    for name, array in found.items():
        assert same(array.reshape(START[name].shape), whole["state"][name]["m"])


def damaged(saved, how):
    state = {n: dict(parts) for n, parts in saved["state"].items()}
    if how == "shape":
        state["W"]["m"] = state["W"]["m"].reshape(-1)
    elif how == "name":
        state["V"] = state.pop("W")
    elif how == "part":
        del state["b"]["v"]
    elif how == "dtype":
        state["b"]["v"] = state["b"]["v"].astype(np.float64)
    return {**saved, "state": state} | ({"rule": "sgd"} if how == "rule" else {})


@pytest.mark.parametrize("how", ["shape", "name", "part", "dtype", "rule", "nothing"])
def test_a_state_that_does_not_fit_is_refused_whole(how):
    def run(ranks):
        opt = train(ranks, steps=2)[2]
        before = opt.state_dict()
        given = damaged(before, how) if how != "nothing" else None
        with pytest.raises(gdopt.StateError):
            opt.load_state_dict(given)
        return same(opt.state_dict(), before)

    assert on_ranks(2, run) == [True, True]


@pytest.mark.parametrize("kind", [gdopt.LARS, gdopt.LAMB, gdopt.Adafactor, gdopt.Muon])
def test_rules_of_whole_arrays_are_refused_by_name(kind):
    def run(ranks):
        with pytest.raises(gdopt.ArgumentTypeError, match=f"^kind .*{kind.__name__}"):
            ranks.sharded(kind, gdopt.Arena.of(START), lr=0.1)

    on_ranks(2, run)


WRONG = [
    ({"frozen": "b"}, "^frozen must not be given"),
    ({"accumulate": 2}, "^accumulate must not be given"),
    ({"clip_each": 1.0}, "^clip_each must not be given"),
    ({"agc": 0.1, "unit_axis": 0}, "must not be given"),
    ({"clip_norm": 1.0, "clip_value": 1.0}, "^clip_norm must be given without"),
    ({"replicas": 3}, "^replicas must be a power of two, at least 2"),
    ({"replicas": 1}, "^replicas must be a power of two, at least 2"),
    ({"order": "all"}, "^order must be"),
    ({"params": {"W": np.ones(3)}}, r"^params must be a gdopt.Arena"),
    ({"kind": "adam"}, "^kind must be"),
    ({"params": gdopt.Arena.of(np.ones(3, "c8"))}, "real arrays"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_what_cannot_be_sharded_is_refused(given, message):
    def run(ranks):
        given_ = {"kind": gdopt.AdamW, "params": gdopt.Arena.of(START)} | given
        with pytest.raises(gdopt.GdoptError, match=message):
            ranks.sharded(given_.pop("kind"), given_.pop("params"), **given_)

    on_ranks(2, run)


def test_parts_are_added_in_order_and_once():
    params = gdopt.Arena.of({"w": np.ones(3)})

    def run(ranks):
        opt = ranks.sharded(gdopt.SGD, params, replicas=2, lr=1.0)
        with pytest.raises(
            gdopt.ArgumentError, match="replica 0, got that of replica 1"
        ):
            opt.add({"w": np.ones(3)}, part_of(1))
        with pytest.raises(gdopt.ArgumentError, match=r"add must be called .* 0, 1$"):
            opt.step()
        opt.add({"w": np.ones(3)}, part_of(0, 0.5))
        for wrong in ({"w": np.ones(4)}, {"v": np.ones(3)}, None, [None]):
            with pytest.raises(gdopt.GdoptError):
                opt.add(wrong, part_of(1, 0.5))
        opt.add({"w": np.ones(3)}, part_of(1, 0.5))
        with pytest.raises(gdopt.ArgumentError, match="after step"):
            opt.add({"w": np.ones(3)}, part_of(0, 0.5))
        assert opt.step()

    on_ranks(1, run)
    assert same(params["w"], np.zeros(3))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("replicas", lambda given: given | {"replicas": 4}),
        ("lr", lambda given: given | {"lr": 0.2}),
        (
            "parameter b",
            lambda given: given | {"params": START | {"b": START["b"] + 1}},
        ),
        ("parameter b", lambda given: given | {"params": {n: START[n] for n in "Wd"}}),
        ("clip_norm", lambda given: given | {"clip_norm": 1.0}),
        ("class", lambda given: given | {"kind": gdopt.Adam}),
    ],
)
def test_ranks_that_differ_are_refused_on_all(what, change):
    refused = []

    def run(ranks):
        given = {"kind": gdopt.AdamW, "params": START, "lr": 0.1, "replicas": 8}
        given = change(given) if ranks.rank == 1 else given
        with pytest.raises(gdopt.ParallelError, match=f"{what}.*rank 0.*rank 1"):
            ranks.sharded(
                given.pop("kind"), gdopt.Arena.of(given.pop("params")), **given
            )
        refused.append(ranks.rank)

    on_ranks(2, run)
    assert sorted(refused) == [0, 1]


def test_hyper_parameters_are_attributes_for_all_parameters():
    def run(ranks):
        opt = ranks.sharded(gdopt.AdamW, gdopt.Arena.of(START), lr={"W": 0.1, "*": 0.2})
        assert opt.hyper.settings["lr"] == {"W": 0.1, "*": 0.2}
        opt.lr = 0.5
        assert opt.lr == opt.optimizer.lr == 0.5
        opt.lr = {"*": 0.25, "b": 0.5}
        assert opt.hyper.settings["lr"] == {"*": 0.25, "b": 0.5}
        for wrong in ({"V": 1.0}, {"W": 1.0}, -1.0, "much"):
            with pytest.raises(gdopt.GdoptError):
                opt.lr = wrong
        assert opt.hyper.settings["lr"] == {"*": 0.25, "b": 0.5}
        with pytest.raises(AttributeError, match="learning_rate"):
            opt.learning_rate = 1.0

    on_ranks(8, run)


def test_discarded_gradients_are_not_in_the_next_step():
    def run(ranks):
        params = gdopt.Arena.of({"w": np.zeros(3)})
        opt = ranks.sharded(gdopt.SGD, params, replicas=2, lr=1.0)
        for scale in (7.0, 1.0):
            opt.discard()
            for replica in share_of(ranks.rank, ranks.size, 2):
                opt.add({"w": np.full(3, scale)}, part_of(replica, 0.5))
        opt.step()
        return params["w"].tolist()

    assert on_ranks(2, run) == [[-1.0] * 3] * 2


def test_sums_do_not_depend_on_who_adds():
    """The tree's sum, written out as its definition."""
    values = [next(gradients(1))[k] for k in (0, 1, 3, 4, 5, 6, 7, 0)]

    def total(first, width):
        if width == 1:
            return np.float32(0.125) * values[first]["W"]
        return total(first, width // 2) + total(first + width // 2, width // 2)

    tree = TreeSum(gdopt.Arena.of(START))
    for replica, grads in enumerate(values):
        tree.add(replica, grads, 0.125)
    ((node, sums),) = tree.done
    assert node == (0, 8)
    assert math.isfinite(sums["W"][0, 0])
    assert same(sums["W"], total(0, 8))
