import numpy as np
import pytest

import gdopt
from gdopt.tune import Change, Nurse

pytestmark = pytest.mark.usefixtures("numpy_engine")


@pytest.fixture
def run():
    """Give ``run(lr)``: records of 4 epochs of 2 steps, optimizer and batches."""

    def make(lr=0.5):
        X, y = np.eye(6, dtype=np.float32), np.arange(6) % 3
        network = gdopt.nn.Network((6, 3), seed=0, backend="numpy")
        optimizer = gdopt.Momentum(network.params, lr=lr)
        batches = gdopt.minibatches(X, y, size=4, seed=0)
        records = gdopt.fit(network, optimizer, batches, epochs=4, dev=(X, y))
        return records, optimizer, batches

    return make


def test_a_rule_changes_the_rate_between_epochs_and_the_log_tells(run):
    def thirds(record):
        return {"lr": record.lr / 2} if record.epoch in {1, 3} else None

    nurse = Nurse(*run(), thirds)
    rates = [record.lr for record in nurse]
    assert rates == [0.5] * 2 + [0.25] * 4 + [0.125] * 2
    assert nurse.log == [
        Change(1, 2, "lr", 0.5, 0.25, "thirds"),
        Change(3, 6, "lr", 0.25, 0.125, "thirds"),
    ]


def test_a_rule_sees_the_last_record_of_every_epoch_alone(run):
    seen = []
    nurse = Nurse(*run(), seen.append)
    list(nurse)
    assert [(record.epoch, record.step) for record in seen] == [
        (1, 2),
        (2, 4),
        (3, 6),
        (4, 8),
    ]
    assert all(record.dev_accuracy is not None for record in seen)
    assert nurse.log == []


def test_a_hand_changes_what_it_likes_at_any_record(run):
    records, optimizer, batches = run()
    nurse = Nurse(records, optimizer, batches)
    rates = []
    for record in nurse:
        rates.append(record.lr)
        if record.step == 3:
            nurse.change({"lr": 0.1, "beta": 0.5}, why="it shook")
    assert rates == [0.5] * 3 + [0.1] * 5
    assert optimizer.hyper["beta"] == 0.5
    assert nurse.log == [
        Change(2, 3, "lr", 0.5, 0.1, "it shook"),
        Change(2, 3, "beta", 0.9, 0.5, "it shook"),
    ]


def test_a_schedule_gives_way_to_a_number_and_a_number_to_a_schedule(run):
    nurse = Nurse(*run(lr=gdopt.schedules.halving(1.0, every=2)))
    rates = []
    for record in nurse:
        rates.append(record.lr)
        if record.step == 3:
            nurse.change({"lr": 0.3})
        if record.step == 5:
            nurse.change({"lr": gdopt.schedules.polynomial(8.0, 0.0, steps=8)})
    assert rates == [1.0, 1.0, 0.5, 0.3, 0.3, 3.0, 2.0, 1.0]
    assert [(c.before, c.after) for c in nurse.log] == [(0.5, 0.3), (0.3, 3.0)]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lr": 0.1, "rate": 0.1}, "ArgumentError", "hyper must be one of .* 'rate'"),
        ({"lr": 0.1, "beta": 1.0}, "ArgumentError", r"beta must be in \[0, 1\)"),
        ({"lr": 0.1, "beta": "0.9"}, "ArgumentTypeError", "beta must be a number"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(settings, error, message, run):
    rate = gdopt.schedules.halving(1.0, every=2)
    records, optimizer, batches = run(lr=rate)
    nurse = Nurse(records, optimizer, batches)
    next(iter(nurse))
    with pytest.raises(getattr(gdopt, error), match=message):
        nurse.change(settings)
    assert optimizer.hyper.settings == {"lr": rate, "beta": 0.9}
    assert nurse.log == []


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, "adam", "optimizer must be a gdopt Optimizer, got str"),
        (2, [1, 2], "batches must be a gdopt MiniBatches, got list"),
        (3, {"lr": 0.1}, "rule must be a function of a record, got {'lr'"),
    ],
)
def test_bad_arguments_are_refused(place, value, message, run):
    arguments = [*run(), None]
    arguments[place] = value
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        Nurse(*arguments)
