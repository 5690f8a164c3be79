import gc
import itertools
from collections import deque

import numpy as np
import pytest
from data.examples import indices, rows

from gdopt.data import gather, minibatches


def test_batches_kept_in_a_list_stay_as_they_were():
    X = rows(1000)
    for _ in range(3):
        kept = list(minibatches(X, batch_size=10, seed=0))
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
    for batch in minibatches(rows(80), batch_size=4, seed=0):
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
        for number, batch in enumerate(minibatches(rows(24), batch_size=4, seed=0)):
            kept.append((number + lengths[number], batch[1:], batch.copy()))
            kept = [entry for entry in kept if entry[0] >= number]
            for _, view, original in kept:
                np.testing.assert_array_equal(original[1:], view)


@pytest.mark.usefixtures("unfrozen_objects")
def test_a_batch_held_by_a_cycle_stays_until_it_is_collected():
    gc.disable()
    try:
        batches = iter(minibatches(rows(80), batch_size=4, seed=0))
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
    for batch in minibatches(rows(80), batch_size=4, seed=0):
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
    for batch in minibatches(rows(800), batch_size=4, seed=0):
        del batch
    assert len(buffers_made) == 1


def test_a_plain_loop_needs_two_buffers(buffers_made):
    for _ in minibatches(rows(800), batch_size=4, seed=0):
        pass
    assert len(buffers_made) == 2


def test_a_loop_that_keeps_two_batches_needs_three_buffers(buffers_made):
    recent = deque(maxlen=2)
    for batch in minibatches(rows(800), batch_size=4, seed=0):
        recent.append(batch)
    assert len(buffers_made) == 3


def test_writing_to_a_shuffled_batch_leaves_the_data_alone():
    X = rows(10)
    for batch in minibatches(X, batch_size=4, seed=0):
        batch[...] = -1
    np.testing.assert_array_equal(rows(10), X)


def test_flags_set_on_a_batch_do_not_reach_the_next():
    for batch in minibatches(rows(80), batch_size=4, seed=0):
        assert batch.flags.writeable
        batch.setflags(write=False)
