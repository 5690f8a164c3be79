import gc
import itertools
import json
from collections import deque

import numpy as np
import pytest

from gdopt.arrays.numpy_ import NumpyBackend
from gdopt.data import gather, minibatches
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError, StateError


def rows(count, width=3, dtype=np.float32):
    """Rows that tell their own index: row k holds k everywhere."""
    return np.repeat(np.arange(count, dtype=dtype)[:, None], width, axis=1)


def indices(batches):
    """Indices visited by one epoch of batches of `rows`."""
    return [int(k) for batch in batches for k in np.asarray(batch)[:, 0]]


@pytest.mark.parametrize("size", [1, 3, 4, 10])
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_visits_every_example_once(size, drop_last):
    batches = minibatches(rows(10), size=size, seed=1, drop_last=drop_last)
    sizes = [len(batch) for batch in batches]
    full, ragged = divmod(10, size)
    expected = [size] * full + ([ragged] if ragged and not drop_last else [])
    assert expected == sizes
    assert len(expected) == len(batches)
    visited = indices(batches)
    assert sum(expected) == len(set(visited)) == len(visited)


def test_size_m_is_batch_gradient_descent():
    (batch,) = minibatches(rows(10), size=10, seed=0)
    assert list(range(10)) == sorted(batch[:, 0])


def test_the_order_is_numpys_permutation_from_seed_and_epoch():
    batches = minibatches(rows(50), size=7, seed=3)
    for epoch in range(3):
        entropy = np.random.SeedSequence(3, spawn_key=(epoch,))
        expected = np.random.default_rng(entropy).permutation(50).tolist()
        assert expected == indices(batches)


def test_epochs_and_seeds_differ_and_repeat():
    first = minibatches(rows(50), size=7, seed=3)
    orders = [tuple(indices(first)) for _ in range(3)]
    again = minibatches(rows(50), size=7, seed=3)
    assert orders == [tuple(indices(again)) for _ in range(3)]
    other = tuple(indices(minibatches(rows(50), size=7, seed=4)))
    assert len({*orders, other}) == 4


def test_large_seeds_do_not_meet_other_epochs():
    # As words, (1, 1) and 1 + 2**32 in epoch 0 are the same entropy.
    small = minibatches(rows(50), size=50, seed=1)
    large = minibatches(rows(50), size=50, seed=1 + 2**32)
    assert indices(large) not in [indices(small) for _ in range(2)]


def test_several_arrays_are_gathered_alike():
    X, y = rows(11), np.arange(11)
    for x, labels in minibatches(X, y, size=4, seed=0):
        np.testing.assert_array_equal(labels, x[:, 0])
        assert (np.float32, np.int64) == (x.dtype, labels.dtype)


def test_one_array_comes_bare_and_several_as_a_tuple():
    assert isinstance(next(iter(minibatches(rows(4), size=2, seed=0))), np.ndarray)
    assert isinstance(next(iter(minibatches(rows(4), rows(4), size=2, seed=0))), tuple)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_columns_are_examples_with_axis_1(order, shuffle):
    X = np.array(rows(11).T, order=order)
    Y, y = X[:1] * 2, np.arange(11)
    batches = minibatches(X, Y, y, size=4, seed=0, axis=1, shuffle=shuffle)
    seen = []
    for x, doubled, labels in batches:
        assert (3, len(labels)) == x.shape
        assert (1, len(labels)) == doubled.shape
        np.testing.assert_array_equal(x, np.tile(labels, (3, 1)))
        np.testing.assert_array_equal(doubled[0], 2 * labels)
        seen.extend(labels.tolist())
    assert list(range(11)) == sorted(seen)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(object),
        lambda a: a.astype(str),
        lambda a: a[:, :0],
        lambda a: np.broadcast_to(a, a.shape),
        lambda a: np.stack([a, a], axis=2),
        lambda a: np.stack([a, a], axis=2).transpose(0, 2, 1),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_any_layout_and_dtype_gives_the_same_batches(arrange, axis):
    X = arrange(rows(10))
    X = X if axis == 0 else X.swapaxes(0, 1)
    order = np.arange(10)
    for x, k in minibatches(X, order, size=3, seed=0, axis=axis):
        np.testing.assert_array_equal(x, np.take(X, k, axis=axis))
        assert X.dtype == x.dtype


def test_a_fortran_array_is_not_copied_for_every_batch(monkeypatch):
    sources = []
    take = np.take

    def spy(array, indices, axis=None, out=None, mode="raise"):
        sources.append((array.flags.c_contiguous, out is not None, mode))
        return take(array, indices, axis, out, mode)

    monkeypatch.setattr(np, "take", spy)
    list(minibatches(np.asfortranarray(rows(8)), size=4, seed=0))
    assert sources == [(True, True, "clip")] * 2


def test_batches_kept_in_a_list_stay_as_they_were():
    X = rows(1000)
    for _ in range(3):
        kept = list(minibatches(X, size=10, seed=0))
        assert list(range(1000)) == sorted(indices(kept))
        assert all((batch == batch[:, :1]).all() for batch in kept)


KEEP = {
    "the batch": lambda x: x,
    "a slice": lambda x: x[2:],
    "a transpose": lambda x: x.T,
    "a slice of a reshaped view": lambda x: x.reshape(-1)[::2].reshape(2, -1)[1],
    "a view as bytes": lambda x: x.view(np.uint8),
    "a memoryview": memoryview,
    "a diagonal": np.diagonal,
    "a broadcast": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "a strided window": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, 0),
    "an array over its buffer": lambda x: np.frombuffer(x, np.float32),
    "an array through the interface": lambda x: np.asarray(memoryview(x)),
    "an iterator": lambda x: x.flat,
    "DLPack": np.from_dlpack,
    "a tuple in a generator": lambda x: (part for part in (x,)),
}


def copied(kept):
    if hasattr(kept, "gi_frame"):
        return None
    return bytes(kept) if isinstance(kept, memoryview) else np.array(kept)


@pytest.mark.parametrize("keep", KEEP.values(), ids=KEEP.keys())
def test_memory_is_left_alone_while_anything_views_it(keep):
    kept = []
    for batch in minibatches(rows(80), size=4, seed=0):
        view = keep(batch)
        kept.append((view, copied(view), batch.copy() if copied(view) is None else 0))
        del batch, view
    for view, before, original in kept:
        if before is None:
            np.testing.assert_array_equal(original, next(view))
        else:
            np.testing.assert_array_equal(before, copied(view))


def test_memory_is_left_alone_in_every_pattern_of_keeping():
    # What is kept at each of 6 batches: nothing, or it, for 0 to 5 batches more.
    for lengths in itertools.product([0, 1, 5], repeat=6):
        kept = []
        for number, batch in enumerate(minibatches(rows(24), size=4, seed=0)):
            kept.append((number + lengths[number], batch[1:], batch.copy()))
            kept = [entry for entry in kept if entry[0] >= number]
            for _, view, original in kept:
                np.testing.assert_array_equal(original[1:], view)


def test_a_batch_held_by_a_cycle_stays_until_it_is_collected():
    gc.disable()
    try:
        batches = iter(minibatches(rows(80), size=4, seed=0))
        cycle = [next(batches)]
        cycle.append(cycle)
        original = cycle[0].copy()
        for _ in range(8):
            next(batches)
        np.testing.assert_array_equal(original, cycle[0])
    finally:
        gc.enable()


def test_the_previous_batch_is_still_there():
    previous = original = None
    for batch in minibatches(rows(80), size=4, seed=0):
        if previous is not None:
            np.testing.assert_array_equal(original, previous)
            assert not np.shares_memory(previous, batch)
        previous, original = batch, batch.copy()


@pytest.fixture
def buffers_made(monkeypatch):
    """Every buffer that is made, for its number."""
    made, make = [], gather.Buffer

    def spy(*args):
        made.append(args)
        return make(*args)

    monkeypatch.setattr(gather, "Buffer", spy)
    return made


def test_memory_that_nothing_holds_is_used_again(buffers_made):
    for batch in minibatches(rows(800), size=4, seed=0):
        del batch
    assert len(buffers_made) == 1


def test_a_plain_loop_needs_two_buffers(buffers_made):
    for _ in minibatches(rows(800), size=4, seed=0):
        pass
    assert len(buffers_made) == 2


def test_a_loop_that_keeps_two_batches_needs_three_buffers(buffers_made):
    recent = deque(maxlen=2)
    for batch in minibatches(rows(800), size=4, seed=0):
        recent.append(batch)
    assert len(buffers_made) == 3


def test_writing_to_a_shuffled_batch_leaves_the_data_alone():
    X = rows(10)
    for batch in minibatches(X, size=4, seed=0):
        batch[...] = -1
    np.testing.assert_array_equal(rows(10), X)


def test_flags_set_on_a_batch_do_not_reach_the_next():
    for batch in minibatches(rows(80), size=4, seed=0):
        assert batch.flags.writeable
        batch.setflags(write=False)


def test_without_shuffling_batches_are_views_in_order():
    X = rows(10)
    batches = list(minibatches(X, size=4, shuffle=False))
    assert list(range(10)) == indices(batches)
    assert all(np.shares_memory(X, batch) for batch in batches)


def test_two_loops_at_once_are_two_epochs():
    batches = minibatches(rows(12), size=4, seed=0)
    expected = minibatches(rows(12), size=4, seed=0)
    first, second = indices(expected), indices(expected)
    pairs = [(a.copy(), b.copy()) for a, b in zip(batches, batches, strict=True)]
    assert first == indices(a for a, _ in pairs)
    assert second == indices(b for _, b in pairs)
    assert batches.epoch == 2


def test_a_loop_after_a_break_begins_the_next_epoch():
    batches, whole = (minibatches(rows(12), size=4, seed=0) for _ in range(2))
    for _ in batches:
        break
    indices(whole)
    assert indices(whole) == indices(batches)


def test_epoch_counts_from_zero():
    batches = minibatches(rows(12), size=4, seed=0)
    assert batches.epoch == 0
    assert [batches.epoch for _ in batches] == [0, 0, 0]
    assert batches.epoch == 1
    for _ in batches:
        break
    assert batches.epoch == 1


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("done", range(8))
def test_a_resumed_run_goes_on_with_the_very_next_batch(done, shuffle):
    def make():
        return minibatches(rows(10), size=4, seed=0, shuffle=shuffle)

    whole = make()
    expected = [batch.copy() for _ in range(3) for batch in whole]
    batches, state = make(), make().state_dict()
    stream = (batch for _ in range(3) for batch in batches)
    for _ in itertools.islice(stream, done):
        state = batches.state_dict()
    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(state)))
    assert done // 3 == resumed.epoch
    rest = [batch for _ in range(resumed.epoch, 3) for batch in resumed]
    assert 9 - done == len(rest)
    for one, other in zip(expected[done:], rest, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_state_taken_after_a_break_goes_on_there():
    batches = minibatches(rows(12), size=4, seed=0)
    for _ in batches:
        break
    state = batches.state_dict()
    expected = indices(minibatches(rows(12), size=4, seed=0))[4:]
    batches.load_state_dict(state)
    assert expected == indices(batches)
    assert batches.epoch == 1


def test_only_the_first_loop_after_loading_goes_on_in_midst_of_an_epoch():
    batches, whole = (minibatches(rows(12), size=4, seed=0) for _ in range(2))
    batches.load_state_dict(batches.state_dict() | {"position": 1})
    for _ in batches:
        break
    indices(whole)
    assert indices(whole) == indices(batches)


def test_a_loop_left_over_from_before_loading_does_not_move_the_state():
    batches = minibatches(rows(12), size=4, seed=0)
    state = batches.state_dict()
    left_over = iter(batches)
    next(left_over)
    batches.load_state_dict(state)
    list(left_over)
    assert state == batches.state_dict()


def test_state_survives_as_arrays_of_npz(tmp_path):
    batches = minibatches(rows(12), size=4, seed=0)
    next(iter(batches))
    np.savez(tmp_path / "state.npz", **batches.state_dict())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        resumed = minibatches(rows(12), size=4, seed=0)
        resumed.load_state_dict(state)
    assert batches.state_dict() == resumed.state_dict()


def test_changing_a_state_dict_does_not_change_the_batches():
    batches = minibatches(rows(12), size=4, seed=0)
    batches.state_dict()["epoch"] = 7
    assert batches.state_dict()["epoch"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 5}, "size = 4, got size = 5"),
        ({"count": 13}, "count = 12, got count = 13"),
        ({"seed": 1}, "seed = 0, got seed = 1"),
        ({"shuffle": False}, "shuffle = True, got shuffle = False"),
        ({"drop_last": True}, "drop_last = False, got drop_last = True"),
        ({"position": 3}, "position in state must be below 3, got 3"),
        ({"position": -1}, "position must be a whole number of at least 0, got -1"),
        ({"epoch": 1.5}, "epoch must be a whole number of at least 0, got 1.5"),
        ({"extra": 1}, "state must have the names count.*, got .*extra"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    batches = minibatches(rows(12), size=4, seed=0)
    before = batches.state_dict()
    with pytest.raises(StateError, match=message):
        batches.load_state_dict(before | {"epoch": 2} | change)
    assert before == batches.state_dict()


def test_a_state_without_a_name_is_refused():
    batches = minibatches(rows(12), size=4, seed=0)
    state = batches.state_dict()
    del state["epoch"]
    with pytest.raises(StateError, match=r"names count, .*epoch"):
        batches.load_state_dict(state)


def test_a_batch_larger_than_the_data_is_refused():
    message = "size must be at most the number of examples, 10, got 11"
    with pytest.raises(ArgumentError, match=message):
        minibatches(rows(10), size=11, seed=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"size": 0},
            ArgumentError,
            "size must be a whole number of at least 1, got 0",
        ),
        ({"size": -4}, ArgumentError, "size .* at least 1, got -4"),
        ({"size": 2.5}, ArgumentTypeError, "size must be a whole number.*, got 2.5"),
        ({"size": True}, ArgumentTypeError, "size must be a whole number.*, got True"),
        ({"size": "4"}, ArgumentTypeError, "size must be a whole number.*, got '4'"),
        ({"seed": None}, ArgumentError, "seed must be a whole number.*, got None"),
        ({"seed": -1}, ArgumentError, "seed must be .* at least 0, got -1"),
        ({"seed": 0.5}, ArgumentTypeError, "seed must be .*, got 0.5"),
        ({"seed": True}, ArgumentTypeError, "seed must be .*, got True"),
        ({"axis": 2}, ArgumentError, "axis must be 0 .* or 1 .*, got 2"),
        ({"axis": True}, ArgumentError, "axis must be 0 .* or 1 .*, got True"),
        ({"shuffle": 1}, ArgumentTypeError, "shuffle must be True or False, got 1"),
        ({"drop_last": None}, ArgumentTypeError, "drop_last must be True or False"),
        ({"allow_nan": "no"}, ArgumentTypeError, "allow_nan must be True or False"),
    ],
)
def test_a_wrong_argument_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        minibatches(rows(10), **({"size": 4, "seed": 0} | options))


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert len(minibatches(rows(10), size=np.int32(4), seed=np.uint8(1))) == 3


def test_the_seed_may_be_left_out_only_without_shuffling():
    assert len(minibatches(rows(10), size=4, shuffle=False)) == 3


@pytest.mark.parametrize(
    ("arrays", "axis", "error", "message"),
    [
        ((), 0, ArgumentError, "at least one array must be given, got none"),
        ((rows(10), rows(9)), 0, ArgumentError, "array 0 holds 10, array 1 holds 9"),
        ((rows(10).T, rows(10)), 1, ArgumentError, "0 holds 10, array 1 holds 3"),
        ((np.array(1.0),), 0, ArgumentError, r"array 0 must have .* got shape \(\)"),
        (([1, 2, 3],), 0, ArgumentTypeError, "array 0 must be a NumPy or CuPy array"),
        ((rows(0),), 0, ArgumentError, "number of examples, 0, got 1"),
    ],
)
def test_wrong_arrays_are_refused(arrays, axis, error, message):
    with pytest.raises(error, match=message):
        minibatches(*arrays, size=1, seed=0, axis=axis)


def test_arrays_on_two_devices_are_refused(device):
    with pytest.raises(BackendError, match=r"array 0 is on .*, array 1 is on cpu"):
        minibatches(device.put(rows(4)), rows(4), size=2, seed=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_nan_is_refused_with_its_place(dtype):
    X = rows(10).astype(dtype)
    X[5, 2] = X[7, 0] = np.nan
    message = r"array 1 must not contain NaN, got 2, the first at \[5, 2\]; allow_nan"
    with pytest.raises(ArgumentError, match=message):
        minibatches(rows(10), X, size=4, seed=0)
    assert len(minibatches(rows(10), X, size=4, seed=0, allow_nan=True)) == 3


def test_nan_in_a_late_block_of_columns_is_found(monkeypatch):
    monkeypatch.setattr("gdopt.data.checks.BLOCK", 6)
    X = rows(10).T.copy()
    X[1, 9] = np.nan
    with pytest.raises(ArgumentError, match=r"got 1, the first at \[1, 9\]"):
        minibatches(X, size=4, seed=0, axis=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_data_are_looked_through_once_and_not_every_epoch(monkeypatch, shuffle):
    batches = minibatches(rows(10), size=4, seed=0, shuffle=shuffle)
    monkeypatch.setattr(np, "isnan", None)
    assert list(range(10)) == sorted(indices(batches))


def test_one_seed_gives_the_same_batches_on_a_device(device):
    X, y = rows(10), np.arange(10)
    columns = np.asfortranarray(rows(10).T)
    for options in ({}, {"shuffle": False}, {"drop_last": True}):
        here = minibatches(X, y, size=4, seed=5, **options)
        there = minibatches(device.put(X), device.put(y), size=4, seed=5, **options)
        for _ in range(2):
            for (x, labels), batch in zip(here, there, strict=True):
                np.testing.assert_array_equal(x, device.get(batch[0]))
                np.testing.assert_array_equal(labels, device.get(batch[1]))
    here = minibatches(columns, size=4, seed=5, axis=1)
    there = minibatches(device.put(columns), size=4, seed=5, axis=1)
    for x, batch in zip(here, there, strict=True):
        np.testing.assert_array_equal(x, device.get(batch))


def test_batches_kept_on_a_device_stay_as_they_were(device):
    batches = minibatches(device.put(rows(80)), size=4, seed=0)
    kept = [batch[1:].T for batch in batches]
    expected = minibatches(rows(80), size=4, seed=0)
    for one, other in zip(expected, kept, strict=True):
        np.testing.assert_array_equal(one[1:].T, device.get(other))


def test_indices_cross_to_the_device_once_an_epoch(monkeypatch):
    moved = []
    from_host = NumpyBackend.from_host

    def spy(self, array, device=None):
        moved.append(len(array))
        return from_host(self, array, device)

    monkeypatch.setattr(NumpyBackend, "from_host", spy)
    batches = minibatches(rows(10), np.arange(10), size=2, seed=0)
    for _ in range(2):
        list(batches)
    assert moved == [10, 10]


def test_without_shuffling_nothing_crosses_to_the_device(device):
    list(minibatches(device.put(rows(10)), size=4, shuffle=False))
    assert device.backend is None or not device.backend.moved
