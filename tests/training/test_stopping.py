"""Early stopping counts as its rule says, and gives back the best weights."""

import copy

import numpy as np
import pytest

import gdopt
from gdopt.data import minibatches
from gdopt.nn import Network
from gdopt.training import fit, load, save
from gdopt.training.stopping import EarlyStopping

NAN, INF = float("nan"), float("inf")


def follow(values, **options):
    """Give, for each value, whether to stop and how long was waited."""
    stopping = EarlyStopping(np.zeros(1), **{"patience": 2} | options)
    return [(stopping.update(value), stopping.waited) for value in values], stopping


@pytest.mark.parametrize(
    ("values", "options", "waited", "best"),
    [
        ([1, 2, 3], {}, [0, 0, 0], (3, 3)),
        ([3, 2, 1], {}, [0, 1, 2], (3, 1)),
        ([3, 3, 3], {}, [0, 1, 2], (3, 1)),  # as good is not better
        ([3, 2, 4, 1, 0], {}, [0, 1, 0, 1, 2], (4, 3)),
        ([3, 2, 1], {"mode": "min"}, [0, 0, 0], (1, 3)),
        ([1, 2, 0, 3, 4], {"mode": "min"}, [0, 1, 0, 1, 2], (0, 3)),
        ([1, 1.5, 1.75], {"min_delta": 0.5}, [0, 1, 0], (1.75, 3)),
        ([1, 1.25, 1.5, 1.75], {"min_delta": 0.5, "patience": 9}, [0, 1, 2, 0], None),
        ([1, 0.5, 0.25], {"min_delta": 0.5, "mode": "min"}, [0, 1, 0], (0.25, 3)),
        ([NAN, 1, NAN, NAN], {}, [1, 0, 1, 2], (1, 2)),
        ([NAN, NAN], {"mode": "min"}, [1, 2], (None, None)),
        ([INF, 5, NAN], {"mode": "min"}, [0, 0, 1], (5, 2)),
        ([-INF, -INF, 5], {}, [0, 1, 0], (5, 3)),
        ([np.float32(0.5), np.int64(1)], {}, [0, 0], (1, 2)),
    ],
)
def test_waiting_begins_anew_with_every_better_value(values, options, waited, best):
    found, stopping = follow(values, **options)
    patience = options.get("patience", 2)
    assert found == [(count >= patience, count) for count in waited]
    if best:
        assert best == (stopping.best, stopping.best_update)
    assert stopping.updates == len(values)
    assert stopping.nans == sum(np.isnan(values))


def test_it_counts_as_keras_does_by_the_definition():
    values = np.random.default_rng(0).integers(0, 8, 200) / 8
    for patience, delta in ((1, 0.0), (3, 0.125), (5, 0.25)):
        best, wait, expected = -INF, 0, []
        for value in values:  # keras/src/callbacks/early_stopping.py
            wait += 1
            if value - delta > best:
                best, wait = value, 0
            expected.append(wait >= patience and wait > 0)
        found, _ = follow(values, patience=patience, min_delta=delta)
        assert [stop for stop, _ in found] == expected


FORMS = {
    "array": lambda w, b: w,
    "list": lambda w, b: [w, b],
    "mapping": lambda w, b: {"W": w, "b": b},
    "arena": lambda w, b: gdopt.Arena.of({"W": w, "b": b}),
}


def arrays_of(params):
    if isinstance(params, np.ndarray):
        return [params]
    return list(params.values() if hasattr(params, "values") else params)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_restore_puts_the_best_weights_back_in_place(form, dtype):
    strided = np.zeros((3, 8), dtype)[:, ::2]
    params = FORMS[form](strided, np.array(0.0, dtype))
    arrays = arrays_of(params)
    stopping = EarlyStopping(params, patience=3)
    for k, value in enumerate([1, 5, 2, 5]):
        for array in arrays:
            array[...] = k
        stopping.update(value)
    stopping.restore()
    assert all((array == 1).all() for array in arrays)
    assert all(a is b for a, b in zip(arrays, arrays_of(params), strict=True))
    for array in arrays:
        array[...] = 7
    stopping.restore()  # the copy is still the stopping's own
    assert all((array == 1).all() for array in arrays)


def test_restore_needs_a_value_that_is_a_number():
    w = np.ones(2)
    stopping = EarlyStopping(w, patience=2)
    with pytest.raises(
        gdopt.StateError, match="restore needs a best value, got 0 values"
    ):
        stopping.restore()
    stopping.update(NAN)
    with pytest.raises(gdopt.StateError, match="got 1 values, 1 of them NaN"):
        stopping.restore()
    assert w.tolist() == [1, 1]


@pytest.mark.parametrize("value", [None, "0.9", True, 1j, np.ones(1)])
def test_a_value_that_is_no_number_is_refused_and_changes_nothing(value):
    stopping = EarlyStopping(np.zeros(1), patience=1)
    stopping.update(0.5)
    before = copy.deepcopy(stopping.state_dict())
    with pytest.raises(gdopt.ArgumentTypeError, match="value must be a number"):
        stopping.update(value)
    assert before == stopping.state_dict()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 0}, gdopt.ArgumentError, "patience must be a whole number of at"),
        ({"patience": 2.0}, gdopt.ArgumentTypeError, "patience must be a whole"),
        ({"min_delta": -0.1}, gdopt.ArgumentError, "min_delta must be in"),
        ({"min_delta": NAN}, gdopt.ArgumentError, "min_delta must be in"),
        ({"mode": "most"}, gdopt.ArgumentError, "mode must be one of max, min, got"),
        ({"layers": 3}, gdopt.ArgumentTypeError, "layers must have state_dict"),
        ({"params": []}, gdopt.ArgumentError, "params must hold at least one"),
        ({"params": {1, 2}}, gdopt.ArgumentTypeError, "unordered set"),
        ({"params": np.arange(3)}, gdopt.ArgumentTypeError, "int64"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    options = {"params": np.zeros(2), "patience": 3} | options
    with pytest.raises(error, match=message):
        EarlyStopping(options.pop("params"), **options)


@pytest.mark.parametrize("form", ["list", "mapping", "arena"])
def test_copies_are_made_on_the_arrays_own_device(form, cp, cuda):
    params = FORMS[form](cp.zeros((2, 3), np.float32), cp.zeros(3, np.float32))
    arrays = arrays_of(params)
    stopping = EarlyStopping(params, patience=2)
    cuda.forget()
    for k, value in enumerate([0.1, 0.9, 0.5]):
        for array in arrays:
            array[...] = k
        stopping.update(value)
    stopping.restore()
    assert cuda.count("waits") == 0  # nothing was brought to the host
    assert all((array.get() == 1).all() for array in arrays)
    state = stopping.state_dict()
    assert {type(array) for array in state["params"].values()} == {np.ndarray}
    for array in arrays:
        array[...] = 5
    stopping.load_state_dict(state)
    stopping.restore()
    assert all((array.get() == 1).all() for array in arrays)


@pytest.fixture
def overfitting(device):
    """Return a large network and few examples with labels that are half wrong."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((240, 8)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    wrong = rng.random(40) < 0.3
    y[:40] = np.where(wrong, 1 - y[:40], y[:40])

    def make(**options):
        network = Network((8, 64, 2), seed=0, backend=device, **options)
        put = network.params.backend.from_host
        optimizer = gdopt.Adam(network.params, lr=0.01)
        batches = minibatches(put(X[:40]), put(y[:40]), batch_size=10, seed=0)
        return network, optimizer, batches, (put(X[40:]), put(y[40:]))

    return make


def test_a_network_that_overfits_is_stopped_and_gets_its_best_weights_back(overfitting):
    network, optimizer, batches, dev = overfitting()
    stopping = EarlyStopping(network.params, patience=8)
    accuracies = []
    for record in fit(network, optimizer, batches, epochs=200, dev=dev):
        if record.dev_accuracy is not None:
            accuracies.append(record.dev_accuracy)
            if stopping.update(record.dev_accuracy):
                break
    assert 8 < len(accuracies) < 200
    peak = int(np.argmax(accuracies))
    assert peak == len(accuracies) - 1 - 8
    assert (stopping.best, stopping.best_update) == (accuracies[peak], peak + 1)
    assert network.accuracy(*dev) == accuracies[-1] < stopping.best
    stopping.restore()
    assert network.accuracy(*dev) == stopping.best
    # A run that ends at the peak has the same weights.
    other, optimizer, batches, _ = overfitting()
    list(fit(other, optimizer, batches, epochs=peak + 1))
    host = network.params.backend.to_host
    for name, array in network.params.items():
        assert host(array).tobytes() == host(other.params[name]).tobytes()


def test_batch_normalizations_averages_come_back_with_the_weights(
    overfitting, tmp_path
):
    network, optimizer, batches, dev = overfitting(batch_norm=True)
    stopping = EarlyStopping(network.params, patience=3, layers=network)
    for record in fit(network, optimizer, batches, epochs=30, dev=dev):
        if record.dev_accuracy is not None and stopping.update(record.dev_accuracy):
            break
    assert stopping.waited == 3
    save(tmp_path / "stopping.npz", stopping.state_dict())
    without = EarlyStopping(network.params, patience=3)
    with pytest.raises(gdopt.StateError, match="layers of the state must be None"):
        without.load_state_dict(load(tmp_path / "stopping.npz"))
    stopping.restore()
    assert network.accuracy(*dev) == stopping.best
    fresh, *_ = overfitting(batch_norm=True)
    resumed = EarlyStopping(fresh.params, patience=3, layers=fresh)
    resumed.load_state_dict(load(tmp_path / "stopping.npz"))
    resumed.restore()
    assert fresh.accuracy(*dev) == stopping.best
