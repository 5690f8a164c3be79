"""A saved state with other keys is refused by whatever loads one; nothing changes."""

import copy

import numpy as np
import pytest
from scripted import begin, losses

import gdopt
from gdopt.data import augment, minibatches
from gdopt.nn import Network
from gdopt.training.plateau import ReduceOnPlateau
from gdopt.training.records import History, Record
from gdopt.training.stopping import EarlyStopping


def average(value):
    mean = gdopt.EWA(0.5)
    mean.update(value)
    return mean


def normed(seed=0):
    network = Network((2, 4, 4, 2), seed=seed, batch_norm=True, backend="numpy")
    network.loss_and_grads(np.eye(2, dtype=np.float32) * (seed + 1), np.arange(2))
    return network


def stopping():
    made = begin(EarlyStopping(2), {"w": np.zeros(3)})
    losses(made, [0.5])
    return made


def history():
    made = History()
    made.append(Record(3, 1, 0.5, 0.6, lr=0.1, warning="the loss rose"))
    return made


LOADERS = {
    "optimizer": lambda: gdopt.Adam({"W": np.zeros(3)}),
    "network": normed,
    "plain network": lambda: Network((2, 2), seed=0, backend="numpy"),
    "batches": lambda: minibatches(np.zeros(9), batch_size=3, seed=0),
    "augmentation": lambda: augment.Augment([augment.flip], seed=0),
    "average": lambda: average(3.0),
    "average of arrays": lambda: average(np.ones(3)),
    "stopping": stopping,
    "history": history,
    "plateau": ReduceOnPlateau,
}


def places(state, path=()):
    """Return the path of every mapping in a state."""
    yield path
    for key, part in state.items():
        if isinstance(part, dict):
            yield from places(part, (*path, key))


def damaged(state):
    """Return states in which one mapping is none, lacks a key, or has one too many."""
    for path in places(state):
        found = state
        for key in path:
            found = found[key]
        others = [None, list(found), {**found, "more": 1}]
        others += [{k: v for k, v in found.items() if k != key} for key in found]
        for other in others:
            if not path:
                yield other
                continue
            changed = copy.deepcopy(state)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = other
            yield changed


@pytest.mark.parametrize("name", LOADERS)
def test_a_state_with_other_keys_is_refused_and_changes_nothing(name, numpy_engine):
    loader = LOADERS[name]()
    state = loader.state_dict()
    tried = list(damaged(state))
    assert len(tried) > 3
    for other in tried:
        with pytest.raises(gdopt.StateError):
            loader.load_state_dict(other)
        assert repr(loader.state_dict()) == repr(state)
    loader.load_state_dict(state)


def test_a_normalizer_is_not_made_of_other_keys():
    state = gdopt.Normalizer.fit(np.eye(3)).state_dict()
    for other in damaged(state):
        with pytest.raises(gdopt.StateError):
            gdopt.Normalizer.from_state_dict(other)


@pytest.mark.parametrize("value", [3.0, np.array([3.0, 4.0])])
def test_an_average_goes_on_where_its_state_was_taken(value):
    first, rest = average(value), average(7 * value)
    rest.load_state_dict(first.state_dict())
    expected = first.update(2 * value)
    assert np.array_equal(rest.update(2 * value), expected)
    assert rest.t == 2


@pytest.mark.parametrize(
    "change",
    [
        {"t": -1},
        {"t": True},
        {"t": 0},
        {"value": None},
        {"value": "3.0"},
        {"value": [3.0]},
        {"value": np.arange(3)},
        {"value": True},
    ],
)
def test_a_damaged_average_is_refused_and_changes_nothing(change):
    mean = average(3.0)
    with pytest.raises(gdopt.StateError):
        mean.load_state_dict(average(5.0).state_dict() | change)
    assert (mean.t, mean.value) == (1, 3.0)


@pytest.mark.parametrize(
    "value", [np.ones(3, np.float32), np.ones(4), 1.0, np.ones((4, 1), np.float32)]
)
@pytest.mark.parametrize(("layer", "name"), [("1", "mean"), ("2", "variance")])
def test_statistics_of_another_layer_are_refused_and_change_nothing(value, layer, name):
    network, state = normed(), normed(seed=1).state_dict()
    before = repr(network.state_dict())
    state["statistics"][layer][name]["value"] = value
    with pytest.raises(gdopt.StateError, match=f"statistics of layer {layer}, {name}"):
        network.load_state_dict(state)
    assert repr(network.state_dict()) == before
