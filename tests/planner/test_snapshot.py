import random

import numpy as np
import pytest

import gdopt
from gdopt.planner.snapshot import Snapshot


def test_arrays_come_back_whatever_their_strides():
    whole = np.arange(24.0).reshape(4, 6)
    parts = [np.array(3.0), whole[:, ::2], whole.T, np.arange(3), np.array(["a", None])]
    before = [part.copy() for part in parts]
    kept = Snapshot(parts)
    for part in parts:
        part[...] = 0
    kept.restore()
    for part, old in zip(parts, before, strict=True):
        assert (part == old).all()


def test_an_array_that_cannot_be_written_is_let_be():
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    Snapshot(fixed).restore()


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "clip_norm": 1.0}])
def test_an_optimizer_comes_back_with_everything(unchanged, numpy_engine, options):
    params = gdopt.Arena.of({"W": np.ones((3, 2)), "b": np.zeros(2)})
    schedule = gdopt.schedules.cosine(0.1, 0.0, 10)
    optimizer = gdopt.Adam(params, lr=schedule, **options)
    grads = params.like()
    grads.flat[...] = 0.5
    optimizer.step(grads)
    norm = optimizer.grad_norm
    with unchanged(optimizer):
        kept = Snapshot(optimizer)
        for _ in range(3):
            grads.flat[...] *= 2
            optimizer.step(grads)
        with pytest.warns(UserWarning, match="lr was a schedule"):
            optimizer.hyper["lr"] = 0.7
        kept.restore()
    assert optimizer.grad_norm == norm
    assert optimizer.hyper.settings["lr"] is schedule


def test_a_rule_that_writes_between_the_arrays_is_undone_there_too(numpy_engine):
    def shift(p, g, *, lr):
        return p - lr * (g + 1)

    params = gdopt.Arena.of({"W": np.ones(3), "b": np.zeros(2)})
    optimizer = gdopt.Optimizer(params, rule=shift, lr=1.0)
    before = params.flat.tobytes()
    kept = Snapshot(optimizer)
    optimizer.step(params.like())
    assert params.flat.tobytes() != before
    kept.restore()
    assert params.flat.tobytes() == before


def test_a_network_comes_back_with_its_gradients():
    network = gdopt.nn.Network((3, 4, 2), seed=0, backend="numpy")
    network.grads.flat[...] = 7
    before = network.params.flat.tobytes(), network.grads.flat.tobytes()
    kept = Snapshot(network)
    network.params.flat[...] = 0
    network.loss_and_grads(np.ones((2, 3), np.float32), np.zeros(2, int))
    kept.restore()
    assert (network.params.flat.tobytes(), network.grads.flat.tobytes()) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.random.default_rng(1),
        lambda: np.random.MT19937(1),
        lambda: np.random.RandomState(1),
        lambda: random.Random(1),  # noqa: S311
    ],
)
def test_random_generators_draw_the_same_again(make):
    def draw(generator):
        if isinstance(generator, np.random.BitGenerator):
            return generator.random_raw()
        return generator.random()

    generator = make()
    draw(generator)
    kept = Snapshot(generator)
    drawn = [draw(generator) for _ in range(5)]
    kept.restore()
    assert [draw(generator) for _ in range(5)] == drawn


def test_the_global_generators_are_kept_unasked():
    kept = Snapshot(None)
    drawn = random.random(), np.random.random()  # noqa: NPY002, S311
    kept.restore()
    assert (random.random(), np.random.random()) == drawn  # noqa: NPY002, S311


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_mini_batches_go_on_as_if_nobody_had_looked(taken):
    def make():
        batches = gdopt.minibatches(np.arange(10), batch_size=3, seed=0)
        for number, _ in enumerate(batches, start=1):
            if number == taken:
                break
        return batches

    batches, untouched = make(), make()
    kept = Snapshot(batches)
    list(batches)
    list(batches)
    kept.restore()
    for mine, other in zip(batches, untouched, strict=True):
        assert mine.tolist() == other.tolist()


def test_averages_come_back():
    number, array = gdopt.EWA(0.9), gdopt.EWA(0.9)
    number.update(3.0)
    array.update(np.ones(2))
    kept = Snapshot([number, array])
    number.update(5.0)
    array.update(np.zeros(2))
    kept.restore()
    assert number.value == 3.0
    assert array.value.tolist() == pytest.approx([1.0, 1.0])


def test_what_has_a_state_dict_is_kept_by_it():
    class Momentum:
        def __init__(self):
            self.velocity = np.ones(2)

        def state_dict(self):
            return {"velocity": self.velocity}  # alive, as torch's are

        def load_state_dict(self, state):
            self.velocity = state["velocity"]  # and goes on with what it was given

    mine = Momentum()
    kept = Snapshot(mine)
    for _ in range(2):  # it may be put back more than once
        mine.velocity *= 5
        kept.restore()
        assert mine.velocity.tolist() == [1, 1]


def test_containers_get_their_entries_back():
    inner = np.ones(2)
    state = {"t": 3, "parts": [inner, "text"]}
    kept = Snapshot(state)
    state["t"], state["new"] = 9, 1
    state["parts"].append(5)
    state["parts"][0] = np.zeros(2)
    inner *= 4
    kept.restore()
    assert list(state) == ["t", "parts"]
    assert state["t"] == 3
    assert state["parts"][0] is inner
    assert inner.tolist() == [1, 1]
    assert len(state["parts"]) == 2


def test_what_cannot_be_kept_is_refused_by_its_place():
    with pytest.raises(
        gdopt.ArgumentTypeError, match=r"state\['a'\]\[1\] must be an a"
    ):
        Snapshot({"a": [np.ones(2), object()]})


def test_everything_else_is_put_back_where_one_thing_cannot_be():
    class Broken:
        def state_dict(self):
            return {}

        def load_state_dict(self, _):
            message = "the device is lost"
            raise RuntimeError(message)

    array = np.ones(2)
    kept = Snapshot([Broken(), array])
    array[...] = 0
    with pytest.raises(gdopt.StateError, match="not be restored: the device is lost"):
        kept.restore()
    assert array.tolist() == [1, 1]


def test_memory_that_arrays_share_is_counted_once():
    whole = np.zeros(100)
    kept = Snapshot([whole, whole[:50], np.zeros(10)])
    assert kept.resident_bytes("cpu", [whole[40:]]) == 880
    assert kept.resident_bytes("cuda:0") == 0
