"""Early stopping counts as its rule says, and puts back the best parameters."""

import numpy as np
import pytest
from scripted import begin, losses

import gdopt
from gdopt.data import minibatches
from gdopt.nn import Network
from gdopt.training import EarlyStopping, Record, fit

NAN, INF = float("nan"), float("inf")


def follow(values, **options):
    """Return, for each value, whether to stop and how long was waited."""
    options = {"patience": 2, "mode": "max"} | options
    stopping = begin(EarlyStopping(options.pop("patience"), **options), np.zeros(1))
    return [(*losses(stopping, [value]), stopping.waited) for value in values], stopping


@pytest.mark.parametrize(
    ("values", "options", "waited", "best"),
    [
        ([1, 2, 3], {}, [0, 0, 0], 3),
        ([3, 2, 1], {}, [0, 1, 2], 3),
        ([3, 3, 3], {}, [0, 1, 2], 3),  # as good is not better
        ([3, 2, 4, 1, 0], {}, [0, 1, 0, 1, 2], 4),
        ([3, 2, 1], {"mode": "min"}, [0, 0, 0], 1),
        ([3, 2, 1], {"mode": None}, [0, 0, 0], 1),  # a loss
        ([1, 2, 0, 3, 4], {"mode": "min"}, [0, 1, 0, 1, 2], 0),
        ([1, 1.5, 1.75], {"min_delta": 0.5}, [0, 1, 0], 1.75),
        ([1, 1.25, 1.5, 1.75], {"min_delta": 0.5, "patience": 9}, [0, 1, 2, 0], 1.75),
        ([1, 0.5, 0.25], {"min_delta": 0.5, "mode": "min"}, [0, 1, 0], 0.25),
        ([NAN, 1, NAN, NAN], {}, [1, 0, 1, 2], 1),
        ([NAN, NAN], {"mode": "min"}, [1, 2], None),
        ([INF, 5, NAN], {"mode": "min"}, [0, 0, 1], 5),
        ([-INF, -INF, 5], {}, [0, 1, 0], 5),
    ],
)
def test_waiting_begins_anew_with_every_better_value(values, options, waited, best):
    found, stopping = follow(values, **options)
    patience = options.get("patience", 2)
    assert found == [(count >= patience, count) for count in waited]
    assert stopping.best == best
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
def test_the_end_puts_the_best_parameters_back_in_place(form, dtype):
    strided = np.zeros((3, 8), dtype)[:, ::2]
    params = FORMS[form](strided, np.array(0.0, dtype))
    arrays = arrays_of(params)

    def fill(step):
        for array in arrays:
            array[...] = step

    stopping = begin(EarlyStopping(3), params)
    losses(stopping, [5, 1, 2, 1], fill)
    assert stopping.restored is None
    stopping.end(None)
    assert all((array == 1).all() for array in arrays)
    assert all(a is b for a, b in zip(arrays, arrays_of(params), strict=True))
    assert stopping.restored == Record(1, 1, 1, 1)
    fill(7)
    stopping.end(None)  # the copy is still the stopping's own
    assert all((array == 1).all() for array in arrays)


def test_without_a_number_nothing_is_put_back():
    w = np.ones(2)
    stopping = begin(EarlyStopping(2), w)
    losses(stopping, [NAN])
    w[...] = 3
    stopping.end(None)
    assert w.tolist() == [3, 3]
    assert (stopping.best, stopping.best_step, stopping.restored) == (None, None, None)


def test_another_run_starts_anew_also_where_it_is_refused():
    first, second, stopping = np.ones(2), np.zeros(2), EarlyStopping(2)
    begin(stopping, first)
    losses(stopping, [0.5, 0.7])
    stopping.end(None)
    begin(stopping, second)
    assert (stopping.best, stopping.waited, stopping.restored) == (None, 0, None)
    losses(stopping, [0.9])
    second[...] = 4
    with pytest.raises(gdopt.ArgumentError, match="dev must hold 2 examples"):
        begin(stopping, second, dev=(np.ones((0, 2)), np.ones(0)))
    stopping.end(None)  # as a run that cannot begin ends, too
    assert second.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 0}, gdopt.ArgumentError, "patience must be a whole number of at"),
        ({"patience": 2.0}, gdopt.ArgumentTypeError, "patience must be a whole"),
        ({"min_delta": -0.1}, gdopt.ArgumentError, "min_delta must be in"),
        ({"min_delta": NAN}, gdopt.ArgumentError, "min_delta must be in"),
        ({"mode": "most"}, gdopt.ArgumentError, "mode must be one of max, min, got"),
        (
            {"monitor": "cost"},
            gdopt.ArgumentError,
            "monitor must be one of step, .*los",
        ),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    options = {"patience": 3} | options
    with pytest.raises(error, match=message):
        EarlyStopping(options.pop("patience"), **options)


@pytest.mark.parametrize("form", ["list", "mapping", "arena"])
def test_copies_are_made_on_the_arrays_own_device(form, cp, cuda):
    params = FORMS[form](cp.zeros((2, 3), np.float32), cp.zeros(3, np.float32))
    arrays = arrays_of(params)

    def fill(step):
        for array in arrays:
            array[...] = step

    stopping = begin(EarlyStopping(2), params)
    cuda.forget()
    losses(stopping, [0.9, 0.1, 0.5], fill)
    stopping.end(None)
    assert cuda.count("waits") == 0  # nothing was brought to the host
    assert all((array.get() == 1).all() for array in arrays)
    state = stopping.state_dict()
    assert {type(array) for array in state["params"].values()} == {np.ndarray}
    fill(5)
    stopping.load_state_dict(state)
    stopping.end(None)
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
    stopping = EarlyStopping(8)
    how = {"record_every": "epoch", "dev": dev, "callback": stopping}
    result = fit(network, optimizer, batches, epochs=200, **how)
    accuracies = result.history["dev_accuracy"]
    assert 8 < len(accuracies) < 200
    peak = int(np.argmax(accuracies))
    assert peak == len(accuracies) - 1 - 8
    assert (stopping.best, stopping.best_step) == (accuracies[peak], 4 * (peak + 1))
    assert result.reason == (
        f"the dev accuracy has not improved for 8 epochs; the best is "
        f"{stopping.best:.3g} at step {stopping.best_step}"
    )
    assert (result.success, result.nit) == (False, 4 * len(accuracies))
    assert result.fun == result.history["smoothed_loss"][peak]
    assert network.accuracy(*dev) == stopping.best > accuracies[-1]
    # A run that ends at the peak has the same weights.
    other, optimizer, batches, _ = overfitting()
    fit(other, optimizer, batches, epochs=peak + 1)
    host = network.params.backend.to_host
    for name, array in network.params.items():
        assert host(array).tobytes() == host(other.params[name]).tobytes()


def test_batch_normalizations_averages_come_back_with_the_weights(overfitting):
    network, optimizer, batches, dev = overfitting(batch_norm=True)
    stopping, states = EarlyStopping(3), []

    def keep(record):
        if record.dev_accuracy is not None:
            states.append(repr(network.state_dict()))

    how = {"epochs": 30, "dev": dev, "callback": [stopping, keep]}
    fit(network, optimizer, batches, **how)
    assert stopping.waited == 3
    assert network.accuracy(*dev) == stopping.best
    assert repr(network.state_dict()) == states[-4] != states[-1]


@pytest.mark.parametrize("ends", ["an error", "Ctrl-C", "divergence", "all epochs"])
def test_however_a_run_ends_the_best_parameters_come_back(overfitting, ends):
    network, optimizer, batches, dev = overfitting()
    stopping, seen = EarlyStopping(99), {}

    def fail(record):
        if record.dev_accuracy is not None:
            seen[record.step] = network.params.backend.to_host(
                network.params.flat
            ).copy()
        if record.step == 30 and ends == "an error":
            raise ZeroDivisionError
        if record.step == 30 and ends == "Ctrl-C":
            raise KeyboardInterrupt
        if record.step == 30 and ends == "divergence":
            network.params["W1"][...] = NAN

    error = {
        "an error": ZeroDivisionError,
        "Ctrl-C": KeyboardInterrupt,
        "divergence": gdopt.DivergenceError,
    }.get(ends)
    how = {"epochs": 12, "dev": dev, "callback": [stopping, fail]}
    if error is None:
        fit(network, optimizer, batches, **how)
    else:
        with pytest.raises(error):
            fit(network, optimizer, batches, **how)
    flat = network.params.backend.to_host(network.params.flat)
    np.testing.assert_array_equal(flat, seen[stopping.best_step])
    assert stopping.restored.step == stopping.best_step


@pytest.mark.parametrize(
    ("options", "dev", "message"),
    [
        (
            {"monitor": "dev_accuracy"},
            None,
            "monitor='dev_accuracy' needs dev examples",
        ),
        ({}, 1, "dev must hold 2 examples or more to be watched, got 1"),
    ],
)
def test_a_run_that_does_not_measure_it_is_refused_at_the_start(
    overfitting, options, dev, message
):
    network, optimizer, batches, whole = overfitting()
    before = network.params.backend.to_host(network.params.flat).copy()
    few = None if dev is None else tuple(part[:dev] for part in whole)
    how = {"epochs": 3, "dev": few, "callback": EarlyStopping(2, **options)}
    with pytest.raises(gdopt.ArgumentError, match=message):
        fit(network, optimizer, batches, **how)
    flat = network.params.backend.to_host(network.params.flat)
    np.testing.assert_array_equal(before, flat)
    assert optimizer.t == 0


def test_what_the_dev_examples_do_not_give_is_refused_at_the_start():
    x, batches = np.ones(2), gdopt.minibatches(np.ones((4, 2)), batch_size=2, seed=0)
    stopping = EarlyStopping(2, monitor="dev_accuracy")
    how = {
        "data": batches,
        "epochs": 3,
        "dev": (np.ones((4, 2)),),
        "callback": stopping,
    }
    with pytest.raises(
        gdopt.ArgumentError,
        match=r"monitor must be 'dev_loss', which .*got 'dev_accuracy'",
    ):
        gdopt.minimize(lambda x, X: (x @ x, 2 * x), x, **how)
    assert x.tolist() == [1, 1]


def test_the_dev_loss_of_a_classifier_may_be_watched(overfitting):
    network, optimizer, batches, dev = overfitting()
    stopping = EarlyStopping(2, monitor="dev_loss")
    how = {"epochs": 3, "dev": dev, "callback": stopping}
    result = fit(network, optimizer, batches, **how)
    assert stopping.best == np.nanmin(result.history["dev_loss"])
    assert stopping.best == network.loss(*dev)


def test_a_number_without_dev_examples_is_watched_too(overfitting):
    network, optimizer, batches, _ = overfitting()
    stopping = EarlyStopping(3, monitor="loss", min_delta=0.5)
    result = fit(network, optimizer, batches, epochs=9, callback=stopping)
    assert result.reason.startswith("the loss has not improved for 3 records")
    assert stopping.best == result.history["loss"][stopping.best_step - 1]
