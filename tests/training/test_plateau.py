"""Rates that a plateau reduces, against torch's and Keras' sequences of rates."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.training import ReduceOnPlateau
from gdopt.training.records import Record

NAN, INF = float("nan"), float("inf")
MODES = list(itertools.product(("min", "max"), ("rel", "abs")))


def plain(p, g):
    return p - g


def descent(lr=1.0):
    return gdopt.SGD(np.zeros(1), lr=lr)


def run_of(optimizer, measures="dev_accuracy", **changes):
    parts = {"optimizer": optimizer, "data": None, "dev": None}
    objective = SimpleNamespace(measures=measures)
    return SimpleNamespace(**parts | changes, objective=objective)


def record(value, name="loss"):
    values = {"step": 1, "epoch": 1, "loss": 0.0, "smoothed_loss": 0.0, name: value}
    return Record(**values)


def begun(lr=1.0, **options):
    optimizer, plateau = descent(lr), ReduceOnPlateau(**options)
    plateau.begin(run_of(optimizer))
    return optimizer, plateau


def rates(values, lr=1.0, **options):
    """Return the rate after each value."""
    optimizer, plateau = begun(lr, **options)
    found = []
    for value in values:
        assert plateau(record(value)) is None
        found.append(optimizer.lr)
    return found


def series(seed, mode):
    """Return values that improve slowly and noisily, some of them twice, NaN, inf."""
    rng = np.random.default_rng(seed)
    values = np.exp(-np.arange(80) / 30) + 0.02 * rng.standard_normal(80)
    values = np.repeat(values, rng.integers(1, 3, 80))[:80]
    values[rng.integers(0, 80, 3)] = NAN
    values[rng.integers(0, 80, 2)] = INF, -INF if seed % 7 == 0 else 1.0
    return (values if mode == "min" else -values).tolist()


def options_of(seed):
    rng = np.random.default_rng([1, seed])
    return {
        "factor": float(rng.choice([0.1, 0.5, 0.9, 1 / 3])),
        "patience": int(rng.integers(0, 6)),
        "cooldown": int(rng.integers(0, 5)),
        "threshold": float(rng.choice([0.0, 1e-4, 0.01, 0.2])),
        "min_lr": float(rng.choice([0.0, 1e-3, 0.05])),
        "eps": float(rng.choice([0.0, 1e-8, 0.02])),
    }


def torch_rates(torch, values, lr=1.0, **options):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    found = []
    for value in values:
        scheduler.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.peers("torch")
@pytest.mark.parametrize(("mode", "threshold_mode"), MODES)
def test_the_rates_are_torchs(torch, mode, threshold_mode):
    reductions = set()
    for seed in range(60):
        values = series(seed, mode)
        options = options_of(seed) | {"mode": mode, "threshold_mode": threshold_mode}
        expected = torch_rates(torch, values, **options)
        assert rates(values, **options) == expected, (seed, options)
        reductions.add(len(set(expected)))
    assert len(reductions) > 4


@pytest.mark.peers("torch")
@pytest.mark.parametrize("values", [[NAN] * 30, [1.0] * 30, [INF] * 30, [-1.0] * 30])
def test_the_defaults_are_torchs(torch, values):
    assert rates(values, mode="min") == torch_rates(torch, values)


def keras_rates(keras, values, **options):
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=1.0))
    callback = keras.callbacks.ReduceLROnPlateau(monitor="value", **options)
    callback.set_model(model)
    callback.on_train_begin()
    found = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"value": value})
        found.append(model.optimizer.learning_rate)
    return found


@pytest.mark.peers("keras", "jax")
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_rates_are_keras_(keras, mode):
    reductions = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        # Multiples of 1/64: Keras adds min_delta to the other side. And no least rate
        # near a power of the factor: Keras compares them in float32.
        values = np.cumsum(rng.integers(-3, 3, 60)) / 64.0
        values = (values if mode == "min" else -values).tolist()
        values[30] = NAN
        patience, cooldown = rng.integers(0, 5, 2).tolist()
        factor, min_lr = rng.choice([0.1, 0.5, 0.9]), rng.choice([3e-9, 3e-3, 0.05])
        shared = {"mode": mode, "factor": float(factor), "min_lr": float(min_lr)}
        delta = float(rng.choice([0, 1 / 64, 1 / 8]))
        asked = {"patience": patience, "cooldown": cooldown, "min_delta": delta}
        expected = keras_rates(keras, values, **shared, **asked)
        found = rates(
            values,
            **shared,
            patience=max(patience - 1, 0),
            cooldown=max(cooldown - 1, 0),
            threshold=delta,
            threshold_mode="abs",
            eps=0,
        )
        assert found == expected, (seed, shared, asked)
        reductions.add(len(set(expected)))
    assert len(reductions) > 4


def test_values_on_a_plateau_reduce_the_rate_after_patience():
    options = {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 0.2}
    expected = [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]
    assert rates([3.0] * 12, **options) == expected


def test_a_reduction_by_no_more_than_eps_is_not_made():
    assert rates([3.0] * 5, factor=0.5, patience=0, eps=0.25) == [1, 0.5, 0.5, 0.5, 0.5]


def test_nan_is_never_better_even_if_it_comes_first():
    optimizer, plateau = begun(patience=2, factor=0.5)
    for value, waited in [(NAN, 1), (NAN, 2), (5.0, 0), (NAN, 1), (4.0, 0)]:
        plateau(record(value))
        assert plateau.waited == waited
    assert (plateau.best, optimizer.lr) == (4.0, 1.0)


@pytest.mark.parametrize(
    ("run", "name", "higher"),
    [
        ({}, "loss", False),
        ({"data": object()}, "smoothed_loss", False),
        ({"data": object(), "dev": (np.ones(9), np.ones(9))}, "dev_accuracy", True),
        (
            {"data": object(), "dev": (np.ones(9),), "measures": "dev_loss"},
            "dev_loss",
            False,
        ),
    ],
)
def test_what_is_watched_follows_from_the_run(run, name, higher):
    optimizer, plateau = descent(), ReduceOnPlateau(0.5, 0)
    plateau.begin(run_of(optimizer, **run))
    for value, lr in [(2.0, 1.0), (3.0 if higher else 1.0, 1.0), (2.5, 0.5)]:
        plateau(record(value, name))
        assert optimizer.lr == lr


def test_a_named_value_is_watched_and_records_without_it_are_passed_over():
    optimizer, plateau = begun(factor=0.5, patience=0, monitor="grad_norm")
    for value, lr in [(2.0, 1.0), (None, 1.0), (1.0, 1.0), (None, 1.0), (1.0, 0.5)]:
        plateau(record(value, "grad_norm"))
        assert optimizer.lr == lr


def test_another_run_starts_over():
    optimizer, plateau = begun(patience=0, factor=0.5, cooldown=3)
    for value in (1.0, 1.0):
        plateau(record(value))
    plateau.begin(run_of(optimizer))
    assert (plateau.best, plateau.waited, plateau.cooldown_left) == (None, 0, 0)


@pytest.mark.parametrize("lr", [np.float32(0.5), np.float64(0.5), 1])
def test_a_rate_may_be_any_kind_of_number(lr):
    assert rates([1.0, 1.0], lr=lr, patience=0, factor=0.5)[-1] == lr / 2


@pytest.mark.parametrize("taken", range(9))
def test_a_resumed_run_takes_the_same_rates(taken):
    values, options = [3.0, NAN, 2.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0], {}
    options = {"factor": 0.5, "patience": 1, "cooldown": 1}
    expected = rates(values, **options)
    optimizer, first = begun(**options)
    for value in values[:taken]:
        first(record(value))
    rest = ReduceOnPlateau(**options)
    rest.begin(run_of(optimizer))
    rest.load_state_dict(first.state_dict())
    found = []
    for value in values[taken:]:
        rest(record(value))
        found.append(optimizer.lr)
    assert found == expected[taken:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1.0}, r"factor must be in \(0, 1\) and finite, got 1.0"),
        ({"factor": 0.0}, r"factor must be in \(0, 1\) and finite, got 0.0"),
        ({"patience": -1}, "patience must be a whole number of at least 0, got -1"),
        ({"patience": 1.5}, "patience must be a whole number"),
        ({"cooldown": -1}, "cooldown must be a whole number of at least 0"),
        ({"threshold": 1.0}, r"threshold must be in \[0, 1\) and finite, got 1.0"),
        ({"threshold": -1, "threshold_mode": "abs"}, r"threshold must be in \[0, inf"),
        ({"threshold_mode": "max"}, "threshold_mode must be one of rel, abs"),
        ({"mode": "auto"}, "mode must be one of max, min, got 'auto'"),
        ({"monitor": "val_loss"}, "monitor must be one of step, .* got 'val_loss'"),
        ({"min_lr": -1e-3}, "min_lr must be in"),
        ({"eps": NAN}, "eps must be in"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(gdopt.GdoptError, match=message):
        ReduceOnPlateau(**options)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (descent(gdopt.schedules.cosine(1, 0, steps=9)), "SGD must be .* cosine"),
        (descent({"0": 0.1}), "lr of SGD must be one number"),
        (descent(np.array(0.1)), "lr of SGD must be one number"),
        (gdopt.Optimizer(np.zeros(1), plain), "lr of Optimizer must be .* got None"),
        (SimpleNamespace(), "lr of SimpleNamespace must be one number"),
    ],
)
def test_a_rate_that_is_not_one_number_is_refused_when_the_run_begins(
    optimizer, message
):
    plateau = ReduceOnPlateau(patience=0)
    with pytest.raises(gdopt.ArgumentError, match=message):
        plateau.begin(run_of(optimizer))


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        ({}, {"monitor": "dev_loss"}, "needs dev examples"),
        ({"dev": (np.ones(1), np.ones(1))}, {}, "dev must hold 2 examples or more"),
    ],
)
def test_a_value_that_the_run_does_not_measure_is_refused(run, options, message):
    with pytest.raises(gdopt.ArgumentError, match=message):
        ReduceOnPlateau(**options).begin(run_of(descent(), **run))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"best": "1"}, "state is damaged: best must be a number"),
        ({"waited": -1}, "state is damaged: waited must be a whole number"),
        ({"cooldown_left": 0.5}, "state is damaged: cooldown_left must be a whole"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(change, message):
    _, plateau = begun()
    plateau(record(2.0))
    with pytest.raises(gdopt.StateError, match=message):
        plateau.load_state_dict({"best": 7.0, "waited": 3, "cooldown_left": 2} | change)
    assert plateau.state_dict() == {"best": 2.0, "waited": 0, "cooldown_left": 0}


def test_a_run_is_resumed_with_its_rates(tmp_path):
    def train(**options):
        return gdopt.minimize(
            lambda x: (np.abs(x).sum(), np.sign(x)),
            np.array([0.3, 1.7]),
            method="sgd",
            lr=1.0,
            callback=ReduceOnPlateau(0.5, patience=1, cooldown=2, min_lr=0.1),
            **options,
        )

    whole = train(max_iter=30)
    train(max_iter=9, checkpoint=tmp_path / "run")
    with pytest.warns(UserWarning, match="continues from step 9"):
        rest = train(max_iter=30, checkpoint=tmp_path / "run")
    rates = whole.history["lr"]
    assert set(rates) == {1.0, 0.5, 0.25, 0.125, 0.1}
    assert np.array_equal(rest.history["lr"], rates)
    assert np.array_equal(rest.x, whole.x)
