"""The state of early stopping: a resumed run stops where the whole one does."""

import copy

import numpy as np
import pytest
from scripted import begin, losses

import gdopt
from gdopt.training import EarlyStopping, load, save

NAN = float("nan")


def made(size=3, **options):
    w = np.zeros(size)
    options = {"patience": 3, "mode": "max"} | options
    stopping = EarlyStopping(options.pop("patience"), **options)
    return w, begin(stopping, {"w": w})


@pytest.mark.parametrize("taken", range(7))
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(taken, tmp_path):
    values = [0.5, NAN, 0.7, 0.6, 0.7, 0.1]
    w, whole = made()
    expected = losses(whole, values, w.fill)
    first_w, first = made()
    losses(first, values[:taken], first_w.fill)
    save(tmp_path / "stopping.npz", first.state_dict())
    rest_w, rest = made()
    losses(rest, [99.0])
    rest.load_state_dict(load(tmp_path / "stopping.npz"))
    assert rest_w.tolist() == [0, 0, 0]
    found = losses(rest, values[taken:], lambda step: rest_w.fill(step + taken))
    assert found == expected[taken:]
    assert (rest.best, rest.waited, rest.nans) == (0.7, 3, 1)
    assert rest.reason.startswith(whole.reason.partition(" at step")[0])
    rest.end(None)
    whole.end(None)
    assert rest_w.tolist() == w.tolist() == [2, 2, 2]


def test_a_state_changed_by_its_caller_changes_nothing():
    w, stopping = made()
    w[...] = 4
    losses(stopping, [1.0])
    state = stopping.state_dict()
    state["params"]["w"][...] = 9
    stopping.end(None)
    assert w.tolist() == [4, 4, 4]
    stopping.load_state_dict(state)
    state["params"]["w"][...] = 5
    stopping.end(None)
    assert w.tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "format of state must be 2 to match, got 3"),
        ({"mode": "min"}, "mode of state must be 'max' to match, got 'min'"),
        ({"monitor": "loss"}, "monitor of state must be None to match, got 'loss'"),
        ({"waited": -1}, "damaged: waited must be a whole number"),
        ({"nans": 0.5}, "damaged: nans must be a whole number"),
        ({"best": "much"}, "damaged: best"),
        ({"best": NAN}, "damaged: best is nan"),
        ({"best": None}, "damaged: best is None"),
        ({"record": None}, "damaged: best is 0.5, record None"),
        ({"record": {"step": 1}}, "record must have the expected keys: missing 'dev_"),
        ({"params": None}, "params must be a mapping, got None"),
        (
            {"params": {"v": np.zeros(3)}},
            "params must have the expected keys: missing 'w'; unknown 'v'",
        ),
        ({"params": {"w": np.zeros(4)}}, r"params\['w'\] must be float64 of shape \(3"),
        ({"params": {"w": np.zeros(3, "f4")}}, "got float32 of shape"),
        ({"more": 1}, "state must have the expected keys: unknown 'more'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    _, stopping = made()
    losses(stopping, [0.5, NAN])
    state = stopping.state_dict()
    other_w, other = made()
    other_w[...] = 3
    losses(other, [0.25])
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(gdopt.StateError, match=message):
        other.load_state_dict(state | change)
    assert repr(other.state_dict()) == repr(before)
    other_w[...] = 8
    other.end(None)
    assert other_w.tolist() == [3, 3, 3]
