"""What is public is copied and pickled, and goes on as the original does."""

import copy
import io
import multiprocessing
import pickle

import joblib
import numpy as np
import pytest
from test_reprs import EXAMPLES, X, Y

import gdopt
from gdopt import problems
from gdopt.training.graph import CapturedWork


def by_joblib(one):
    file = io.BytesIO()
    joblib.dump(one, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301 - our own
    "joblib": by_joblib,
}
MADE_BY_HAND = {
    f"{name} {how}": change(getattr(problems, name)())
    for name in problems.__all__
    if name != "Problem"
    for how, change in {"": lambda p: p, "turned": lambda p: p.turned(0.5)}.items()
}


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "Sharded"])
def test_everything_public_is_copied(name, numpy_engine):
    one = EXAMPLES[name][0]()
    for way in WAYS.values():
        other = way(one)
        assert type(other) is type(one)
        assert repr(other) == repr(one)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", [gdopt.Adam, gdopt.Muon])
def test_parameters_and_state_that_are_read_are_copied(kind, way, numpy_engine):
    optimizer = kind({"W": np.ones((2, 3)), "b": np.zeros(3)}, ema=0.9)
    optimizer.step({"W": np.ones((2, 3)), "b": np.ones(3)})
    for read in (lambda: optimizer.params, lambda: optimizer.state["W"]):
        shown, copied = read(), way(read())
        assert [*copied] == [*shown]
        for array, other in zip(shown.values(), copied.values(), strict=True):
            assert array.tobytes() == other.tobytes()
            assert not np.shares_memory(array, other)
        with pytest.raises(TypeError, match="does not support item assignment"):
            copied["W"] = np.ones((2, 3))


@pytest.mark.parametrize("name", MADE_BY_HAND)
def test_a_problem_is_copied(name):
    one, p = MADE_BY_HAND[name], np.array([0.3, -0.7])
    for way in WAYS.values():
        other = way(one)
        assert (other.name, other.start) == (one.name, one.start)
        assert other.value(p) == one.value(p)
        np.testing.assert_array_equal(other.gradient(p), one.gradient(p))


def trained(parts):
    network, optimizer, batches = parts
    gdopt.fit(network, optimizer, batches, epochs=2)
    return {name: np.array(array) for name, array in network.params.items()}


def training(**options):
    network = gdopt.nn.Network((2, 4, 2), seed=0, backend="numpy", **options)
    batches = gdopt.minibatches(X, Y, batch_size=8, seed=1)
    return network, gdopt.Adam(network.params, ema=0.5), batches


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"keep_prob": 0.5}])
def test_copies_train_with_the_bits_of_the_original(options, numpy_engine):
    parts = training(**options)
    trained(parts)
    copies = {name: way(parts) for name, way in WAYS.items()}
    before = {name: array.copy() for name, array in parts[0].params.items()}
    for other in copies.values():
        assert other[1].params is other[0].params
        found = trained(other)
        for name, array in before.items():
            np.testing.assert_array_equal(parts[0].params[name], array)
    expected = trained(parts)
    for other in copies.values():
        for name, array in expected.items():
            np.testing.assert_array_equal(other[0].params[name], array)
            np.testing.assert_array_equal(found[name], array)


HELD = {
    "mapping": dict,
    "list": lambda arrays: [*arrays.values()],
    "nested": lambda arrays: {"layers": [arrays], "more": np.ones(2)},
    "arena": gdopt.Arena.of,
}


def leaves(held):
    if isinstance(held, np.ndarray):
        return [held]
    parts = held.values() if hasattr(held, "values") else held
    return [array for part in parts for array in leaves(part)]


@pytest.mark.parametrize("kind", [gdopt.Adam, gdopt.Muon])
@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("way", WAYS)
def test_what_holds_the_parameters_is_copied_with_them(way, held, kind, numpy_engine):
    params = HELD[held]({"W": np.full((2, 3), 0.5), "b": np.ones(3)})
    optimizer = kind(params)
    grads = {n: np.ones_like(array) for n, array in optimizer.params.items()}
    optimizer.step(grads)
    other, copied = WAYS[way]((params, optimizer))
    for one in (optimizer, copied):
        one.step(grads)
    for array, found in zip(leaves(params), leaves(other), strict=True):
        np.testing.assert_array_equal(found, array)
    if held in ("mapping", "list"):
        key = 0 if held == "list" else "W"
        other[key] = other[key] - 1
        with pytest.raises(gdopt.ArgumentError, match="is another array"):
            copied.step(grads)
        with pytest.raises(gdopt.ArgumentError, match="is another array"):
            WAYS[way](copied)


@pytest.mark.parametrize("held", [*HELD, "alone"])
def test_copies_in_read_only_memory_are_written_to(held, numpy_engine):
    """As those of joblib's processes: arrays of more than a megabyte are maps."""
    params = HELD.get(held, lambda arrays: arrays["W"])({"W": np.ones((2, 3))})
    optimizer, buffers = gdopt.SGD(params, lr=1.0), []
    sent = pickle.dumps((params, optimizer), protocol=5, buffer_callback=buffers.append)
    views = [bytes(buffer.raw()) for buffer in buffers]
    other, copied = pickle.loads(sent, buffers=views)  # noqa: S301 - our own
    copied.step({n: np.ones_like(a) for n, a in copied.params.items()})
    assert not any(array.any() for array in copied.params.values())
    if held != "alone":
        assert not any(array.any() for array in leaves(other))


def test_an_entry_that_was_added_is_no_parameter_of_a_copy(numpy_engine):
    params = {"W": np.ones(3), "b": np.ones(2)}
    optimizer = gdopt.SGD(params, frozen="b")
    params["c"] = np.ones(4)
    for way in WAYS.values():
        assert [*way(optimizer).params] == ["W", "b"]
    optimizer.frozen = ()
    optimizer.replace("W", np.ones(5))
    assert [*optimizer.params] == ["W", "b"]


def test_a_spawned_process_trains_with_the_bits_of_the_original():
    parts = training()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(trained, [parts])
    for name, array in trained(parts).items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("way", [copy.copy, *WAYS.values()])
def test_the_arrays_of_a_copied_arena_are_views_of_its_own_buffers(way):
    one = gdopt.Arena.of({"W": np.ones((2, 3)), "b": np.ones(3, np.float32)})
    other = way(one)
    for name, slot in other.layout.slots.items():
        other.buffers[slot.group][slot.start] = 5
        assert other[name].flat[0] == 5
        assert one[name].flat[0] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("way", [copy.copy, *WAYS.values()])
def test_an_arena_is_copied_on_a_gpu(way, cp):
    one = gdopt.Arena.of({"W": cp.ones((2, 3)), "b": cp.ones(3, np.float32)})
    other = way(one)
    gdopt.SGD(other, lr=1.0).step({"W": cp.ones((2, 3)), "b": cp.ones(3, np.float32)})
    for name, slot in other.layout.slots.items():
        assert (other.buffers[slot.group] == 0).all()
        assert (one[name] == 1).all()


def squares(x):
    return x @ x, 2 * x


class Captured(CapturedWork):
    """Captured work without a device, of which nothing has to be let go."""

    def __del__(self):
        pass


def uncopied(name):
    batches = gdopt.minibatches(X, Y, batch_size=8)
    return {
        "steps": lambda: gdopt.steps(squares, np.ones(2)),
        "batches": lambda: iter(batches),
        "positions": batches.positions,
        "prefetched": lambda: gdopt.prefetch(batches, backend="numpy"),
        "training graph": lambda: object.__new__(gdopt.training.TrainingGraph),
        "captured": lambda: object.__new__(Captured),
        "sharded": lambda: object.__new__(gdopt.parallel.Sharded),
        "hyper": lambda: gdopt.SGD(np.ones(2)).hyper,
    }[name]()


@pytest.mark.parametrize("way", [copy.copy, *WAYS.values()])
@pytest.mark.parametrize(
    "name",
    [
        *("steps", "batches", "positions", "prefetched", "training graph", "captured"),
        *("sharded", "hyper"),
    ],
)
def test_what_runs_is_not_copied(name, way):
    with pytest.raises(gdopt.ArgumentTypeError, match="not copied: copy "):
        way(uncopied(name))


@pytest.mark.gpu
def test_prefetched_batches_are_not_copied_on_a_gpu(cp):
    batches = gdopt.prefetch(gdopt.minibatches(X, batch_size=8), backend="cupy")
    with pytest.raises(gdopt.ArgumentTypeError, match="not copied"):
        copy.deepcopy(batches)


def test_an_optimizer_is_not_copied_without_its_arrays(numpy_engine):
    for optimizer in (gdopt.SGD(np.ones(2)), gdopt.Muon(np.ones((2, 2)))):
        with pytest.raises(gdopt.ArgumentTypeError, match=r"use copy\.deepcopy"):
            copy.copy(optimizer)


def test_a_rule_that_pickle_does_not_find_says_where_to_define_it(numpy_engine):
    def local(p, g, *, lr):
        return p - lr * g

    for rule in (local, lambda p, g, *, lr: p - lr * g, gdopt.rule(local)):
        optimizer = gdopt.Optimizer(np.ones(2), rule, lr=0.1)
        with pytest.raises(gdopt.RuleError, match="define it at the top of a module"):
            pickle.dumps(optimizer)
        copy.deepcopy(optimizer).step(np.ones(2))
    kernel, p = gdopt.Kernel(local), np.ones(2)
    with pytest.raises(gdopt.RuleError, match="define it at the top of a module"):
        pickle.dumps(kernel)
    copy.deepcopy(kernel)(p, np.ones(2), lr=0.5)
    assert p.tolist() == [0.5, 0.5]
