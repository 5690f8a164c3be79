import itertools
import json

import numpy as np
import pytest
from data.examples import indices, rows

from gdopt.data import minibatches
from gdopt.errors import StateError


def test_two_loops_at_once_are_two_epochs():
    batches = minibatches(rows(12), batch_size=4, seed=0)
    expected = minibatches(rows(12), batch_size=4, seed=0)
    first, second = indices(expected), indices(expected)
    pairs = [(a.copy(), b.copy()) for a, b in zip(batches, batches, strict=True)]
    assert first == indices(a for a, _ in pairs)
    assert second == indices(b for _, b in pairs)
    assert batches.epoch == 2


def test_a_loop_after_a_break_begins_the_next_epoch():
    batches, whole = (minibatches(rows(12), batch_size=4, seed=0) for _ in range(2))
    for _ in batches:
        break
    indices(whole)
    assert indices(whole) == indices(batches)


def test_epoch_counts_from_zero():
    batches = minibatches(rows(12), batch_size=4, seed=0)
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
        return minibatches(rows(10), batch_size=4, seed=0, shuffle=shuffle)

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
    batches = minibatches(rows(12), batch_size=4, seed=0)
    for _ in batches:
        break
    state = batches.state_dict()
    expected = indices(minibatches(rows(12), batch_size=4, seed=0))[4:]
    batches.load_state_dict(state)
    assert expected == indices(batches)
    assert batches.epoch == 1


def test_only_the_first_loop_after_loading_goes_on_in_midst_of_an_epoch():
    batches, whole = (minibatches(rows(12), batch_size=4, seed=0) for _ in range(2))
    batches.load_state_dict(batches.state_dict() | {"position": 1})
    for _ in batches:
        break
    indices(whole)
    assert indices(whole) == indices(batches)


def test_a_loop_left_over_from_before_loading_does_not_move_the_state():
    batches = minibatches(rows(12), batch_size=4, seed=0)
    state = batches.state_dict()
    left_over = iter(batches)
    next(left_over)
    batches.load_state_dict(state)
    list(left_over)
    assert state == batches.state_dict()


def test_state_survives_as_arrays_of_npz(tmp_path):
    batches = minibatches(rows(12), batch_size=4, seed=0)
    next(iter(batches))
    np.savez(tmp_path / "state.npz", **batches.state_dict())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        resumed = minibatches(rows(12), batch_size=4, seed=0)
        resumed.load_state_dict(state)
    assert batches.state_dict() == resumed.state_dict()


def test_changing_a_state_dict_does_not_change_the_batches():
    batches = minibatches(rows(12), batch_size=4, seed=0)
    batches.state_dict()["epoch"] = 7
    assert batches.state_dict()["epoch"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 5}, "batch_size of state must be 4 to match, got 5"),
        ({"count": 13}, "count of state must be 12 to match, got 13"),
        ({"seed": 1}, "seed of state must be 0 to match, got 1"),
        ({"shuffle": False}, "shuffle of state must be True to match, got False"),
        ({"drop_last": True}, "drop_last of state must be False to match, got True"),
        ({"position": 3}, "position in state must be below 3, got 3"),
        ({"position": -1}, "position must be a whole number of at least 0, got -1"),
        ({"epoch": 1.5}, "epoch must be a whole number of at least 0, got 1.5"),
        ({"extra": 1}, "state must have .*: unknown 'extra'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    batches = minibatches(rows(12), batch_size=4, seed=0)
    before = batches.state_dict()
    with pytest.raises(StateError, match=message):
        batches.load_state_dict(before | {"epoch": 2} | change)
    assert before == batches.state_dict()


def test_a_state_without_a_name_is_refused():
    batches = minibatches(rows(12), batch_size=4, seed=0)
    state = batches.state_dict()
    del state["epoch"]
    with pytest.raises(StateError, match=r"expected keys: missing 'epoch'$"):
        batches.load_state_dict(state)
