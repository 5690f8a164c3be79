"""The state of early stopping: a resumed run stops where the whole one does."""

import numpy as np
import pytest

import gdopt
from gdopt.training import load, save
from gdopt.training.stopping import EarlyStopping

NAN = float("nan")


def made(size=3, **options):
    w = np.zeros(size)
    return w, EarlyStopping({"w": w}, **{"patience": 3} | options)


@pytest.mark.parametrize("taken", range(6))
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(taken, tmp_path):
    values = [0.5, NAN, 0.7, 0.6, 0.7, 0.1]
    w, whole = made()
    expected = []
    for k, value in enumerate(values):
        w[...] = k
        expected.append(whole.update(value))
    first_w, first = made()
    for k, value in enumerate(values[:taken]):
        first_w[...] = k
        first.update(value)
    save(tmp_path / "stopping.npz", first.state_dict())
    rest_w, rest = made()
    rest.update(99.0)
    rest.load_state_dict(load(tmp_path / "stopping.npz"))
    assert rest_w.tolist() == [0, 0, 0]
    found = []
    for k, value in enumerate(values[taken:], taken):
        rest_w[...] = k
        found.append(rest.update(value))
    assert found == expected[taken:]
    assert (rest.best, rest.best_update, rest.waited, rest.nans) == (0.7, 3, 3, 1)
    rest.restore()
    whole.restore()
    assert rest_w.tolist() == w.tolist() == [2, 2, 2]


def test_a_state_changed_by_its_caller_changes_nothing():
    w, stopping = made()
    w[...] = 4
    stopping.update(1.0)
    state = stopping.state_dict()
    state["params"]["w"][...] = 9
    stopping.restore()
    assert w.tolist() == [4, 4, 4]
    stopping.load_state_dict(state)
    state["params"]["w"][...] = 5
    stopping.restore()
    assert w.tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format of state must be 1 to match, got 2"),
        ({"mode": "min"}, "mode of state must be 'max' to match, got 'min'"),
        ({"updates": -1}, "damaged: updates must be a whole number"),
        ({"updates": 0}, "damaged: best is 0.5 with"),
        ({"nans": 2}, "damaged: best is 0.5 with"),
        ({"best": "much"}, "damaged: best must be a number"),
        ({"best": NAN}, "damaged: best is nan"),
        ({"best": None}, "damaged: best is None"),
        ({"best_update": 3}, "damaged: best is 0.5 with"),
        ({"best_update": None}, "damaged: best_update must be a whole"),
        ({"params": None}, "params must be a mapping, got None"),
        (
            {"params": {"v": np.zeros(3)}},
            "params must have the expected keys: missing 'w'; unknown 'v'",
        ),
        ({"params": {"w": np.zeros(4)}}, r"params\['w'\] must be float64 of shape \(3"),
        ({"params": {"w": np.zeros(3, "f4")}}, "got float32 of shape"),
        ({"layers": {}}, "layers of the state must be None"),
        ({"more": 1}, "state must have the expected keys: unknown 'more'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    _, stopping = made()
    stopping.update(0.5)
    stopping.update(NAN)
    state = stopping.state_dict()
    other_w, other = made()
    other_w[...] = 3
    other.update(0.25)
    with pytest.raises(gdopt.StateError, match=message):
        other.load_state_dict(state | change)
    assert (other.best, other.best_update, other.updates, other.nans) == (0.25, 1, 1, 0)
    other_w[...] = 8
    other.restore()
    assert other_w.tolist() == [3, 3, 3]
