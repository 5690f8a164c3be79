"""A function of arrays is minimized in place, record by record or in one call."""

import gc
import inspect
import weakref

import numpy as np
import pytest
from bowls import INF, bowl, collect, halve, start

import gdopt
from gdopt.data import minibatches
from gdopt.training import Result
from gdopt.training.loop import RunOptions


def test_the_parameters_are_updated_in_place_and_are_the_result():
    x = start()
    result = halve(x=x, max_iter=3)
    assert isinstance(result, Result)
    assert result.x is x
    assert x.tolist() == [2.0, -1.0]
    assert (result.fun, result.grad_norm) == (1.0, 1.0)
    assert (result.nit, result.nfev, result.success) == (3, 4, False)
    assert result.reason == "max_iter=3 updates were made"


def test_records_begin_at_the_start_and_describe_the_parameters_after_each_update():
    x, seen = start(), []

    def look(record):
        seen.append((record.step, record.loss, record.grad_norm, x[0] - 1))

    result = halve(x=x, max_iter=2, callback=look)
    assert seen == [(0, 64.0, 8.0, 8.0), (1, 16.0, 4.0, 4.0), (2, 4.0, 2.0, 2.0)]
    history = result.history
    assert history["step"].tolist() == [0, 1, 2]
    assert history["epoch"].tolist() == [1, 1, 1]
    assert history["lr"].tolist() == [0.5, 0.5, 0.5]
    assert (np.diff(history["seconds"]) >= 0).all()
    assert np.isnan(history["examples_per_second"]).all()


def test_steps_yields_the_records_that_minimize_gives_to_callbacks():
    _, expected = collect(bowl, start(), method="adam", max_iter=5)
    records = list(gdopt.steps(bowl, start(), method="adam", max_iter=5))
    for one, other in zip(records, expected, strict=True):
        for name in ("step", "epoch", "loss", "smoothed_loss", "lr", "grad_norm"):
            assert getattr(one, name) == getattr(other, name)


def test_steps_does_nothing_before_the_first_record_is_asked_for():
    calls = []

    def fg(x):
        calls.append(1)
        return bowl(x)

    x = start()
    records = gdopt.steps(fg, x, method="sgd", lr=0.5)
    assert calls == []
    assert next(records).step == 0
    assert (len(calls), x.tolist()) == (1, [9, 6])
    assert next(records).step == 1
    assert (len(calls), x.tolist()) == (2, [5, 2])


def test_both_functions_show_the_options_they_take():
    for function in (gdopt.minimize, gdopt.steps):
        names = list(inspect.signature(function).parameters)
        assert names[:2] == ["fg", "params"]
        assert set(names[2:]) == set(RunOptions.__annotations__)


def test_a_run_that_has_ended_lets_its_arrays_go():
    X = np.ones((4, 2))
    batches = minibatches(X, batch_size=2)
    alive = weakref.ref(batches)
    gc.disable()
    try:
        gdopt.minimize(
            lambda w, x: (w.sum(), x.sum(0)), np.ones(2), data=batches, epochs=1
        )
        del batches
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("rule", "nit", "reason"),
    [
        ({"gtol": 1.0}, 3, "the gradient's norm 1 is at most gtol=1"),
        ({"gtol": 100.0}, 0, "the gradient's norm 8 is at most gtol=100"),
        # Each update takes 3/4 of the value, in proportion to 1 or the larger value.
        ({"ftol": 0.75}, 1, "the value changed by 48, within ftol=0.75"),
        ({"ftol": 0.7}, 5, "the value changed by 0.188, within ftol=0.7"),
        ({"xtol": 1.0}, 3, "no parameter changed by more than xtol=1"),
        ({"target": 1.0}, 3, "the value 1 is at most target=1"),
        ({"target": 64.0}, 0, "the value 64 is at most target=64"),
    ],
)
def test_each_rule_of_convergence_is_a_success(rule, nit, reason):
    result = halve(**rule)
    assert (result.nit, result.nfev, result.reason) == (nit, nit + 1, reason)
    assert result.success is True
    assert len(result.history["step"]) == nit + 1


def test_without_a_rule_a_run_ends_at_a_gradient_of_1e_5():
    result = halve()
    assert result.success
    assert result.reason.endswith("is at most gtol=1e-05")
    assert 0.5e-5 < result.grad_norm <= 1e-5


def test_without_a_rule_a_run_ends_after_10_000_updates_at_most():
    result = halve(lr=1e-9, record_every=10_000)
    assert (result.nit, result.success) == (10_000, False)
    assert result.reason == "max_iter=10000 updates were made"


def test_convergence_in_the_last_update_is_a_success():
    assert halve(gtol=1.0, max_iter=3).success


class Clock:
    """Stands still, but for what a function adds."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("gdopt.training.run.time", made)
    return made


def slow(clock, seconds=0.25):
    def fg(x, *batch):
        clock.now += seconds
        return bowl(x)

    return fg


def test_seconds_end_a_run(clock):
    result, records = collect(
        slow(clock), start(), method="sgd", lr=0.5, max_seconds=1.0
    )
    assert (result.success, result.reason) == (False, "max_seconds=1 have passed")
    # The update that begins after a second is the last one.
    assert [record.seconds for record in records] == [0.25 * k for k in range(1, 6)]


def test_a_run_with_data_ends_after_seconds_and_records_its_last_update(clock):
    result, records = collect(
        slow(clock), start(), data=[start()] * 3, max_seconds=1.0, record_every=99
    )
    assert result.reason == "max_seconds=1 have passed"
    assert [record.step for record in records] == [3, 4]  # 3 ends an epoch
    assert result.nit == 4


def test_epochs_and_updates_end_a_run_with_data():
    data = [np.ones(2)] * 4
    result, records = collect(lambda x, _: bowl(x), start(), data=data, epochs=2)
    assert (result.reason, result.success) == ("epochs=2 were run", False)
    assert [(r.epoch, r.step) for r in records][3:5] == [(1, 4), (2, 5)]
    assert (result.nit, result.nfev) == (8, 8)
    result, records = collect(lambda x, _: bowl(x), start(), data=data, max_iter=5)
    assert (result.reason, result.nit) == ("max_iter=5 updates were made", 5)
    assert (records[-1].epoch, records[-1].step) == (2, 5)


def test_with_data_the_target_is_one_of_the_smoothed_loss():
    how = {"method": "sgd", "lr": 0.5, "data": [0], "target": 20.0, "smoothing": 0.5}
    result, records = collect(lambda x, _: bowl(x), start(), **how)
    smoothed = [record.smoothed_loss for record in records]
    assert smoothed == pytest.approx([64, 32, 16], rel=1e-12)  # of 64, 16, 4 + bias
    assert (result.success, result.nit) == (True, 3)
    assert result.fun == smoothed[-1]
    assert result.reason == "the value 16 is at most target=20"


@pytest.mark.parametrize("stop", [True, np.True_])
def test_a_callback_stops_the_run_by_returning_true(stop):
    after = []

    def enough(record):
        return stop if record.step == 2 else None

    result = halve(callback=[enough, after.append])
    assert (result.nit, result.success) == (2, False)
    assert result.reason == "enough stopped the run at step 2"
    assert [record.step for record in after] == [0, 1, 2]  # it still gets the record


def test_a_callback_may_stop_it_at_the_start():
    result = halve(callback=lambda _: True)
    assert (result.nit, result.nfev, result.x.tolist()) == (0, 1, [9, 6])


@pytest.mark.parametrize("answer", [None, False, np.False_])
def test_other_answers_let_it_continue(answer):
    assert halve(callback=lambda _: answer, max_iter=3).nit == 3


@pytest.mark.parametrize("answer", [0, 1, "stop", np.zeros(2)])
def test_an_answer_that_is_not_a_truth_value_is_refused(answer):
    with pytest.raises(
        gdopt.ArgumentTypeError, match="callback must return True, False or None, got"
    ):
        halve(callback=lambda _: answer)


def test_callbacks_begin_and_end_with_the_run_however_it_ends():
    calls = []

    class Watching:
        def __call__(self, record):
            calls.append(record.step)
            if record.step == 2:
                raise ZeroDivisionError

        def begin(self, run):
            calls.append(("begin", run.params, run.optimizer.t, run.data))

        def end(self, run):
            calls.append(("end", run.params, run.optimizer.t, run.step))

    x = start()
    with pytest.raises(ZeroDivisionError):
        halve(x=x, callback=Watching())
    assert calls == [("begin", x, 0, None), 0, 1, 2, ("end", x, 2, 2)]


def test_a_record_every_so_many_updates_and_at_the_end():
    result, records = collect(
        bowl, start(), method="sgd", lr=0.5, max_iter=8, record_every=3
    )
    assert [record.step for record in records] == [0, 3, 6, 8]
    assert result.fun == 64 / 4**8
    result = halve(gtol=1e-1, record_every=100)
    assert result.history["step"].tolist() == [0, 7]


@pytest.mark.parametrize(
    ("batches", "steps"), [(1, [5, 10, 12]), (4, [4, 5, 8, 10, 12])]
)
def test_with_data_the_end_of_an_epoch_of_several_batches_is_recorded(batches, steps):
    how = {"data": [0] * batches, "epochs": 12 // batches, "record_every": 5}
    _, records = collect(lambda x, _: bowl(x), start(), **how)
    assert [record.step for record in records] == steps


@pytest.mark.parametrize("batches", [1, 4])
def test_a_record_every_epoch(batches):
    how = {"data": [0] * batches, "epochs": 3, "record_every": "epoch"}
    _, records = collect(lambda x, _: bowl(x), start(), **how)
    assert [record.step for record in records] == [batches, 2 * batches, 3 * batches]
    assert [record.epoch for record in records] == [1, 2, 3]


def test_without_data_an_epoch_is_the_run():
    assert halve(max_iter=5, record_every="epoch").history["step"].tolist() == [0, 5]


@pytest.mark.parametrize("every", ["0.5 s", "0.5s", ".5 s"])
def test_a_record_after_seconds(clock, every):
    how = {"method": "sgd", "lr": 0.5, "max_iter": 6, "record_every": every}
    _, records = collect(slow(clock, 0.25), start(), **how)
    # It is decided before an update, whose quarter of a second counts for the next,
    assert [record.step for record in records] == [0, 3, 6]
    how |= {"data": [0] * 2, "epochs": 4, "max_iter": None}
    _, records = collect(slow(clock, 0.25), start(), **how)
    # but with data after the evaluation that it uses.
    assert [record.step for record in records] == [2, 4, 6, 8]


def test_the_gradient_is_projected_under_bounds():
    result, records = collect(
        bowl, start(), method="sgd", lr=0.5, bounds=(np.array([3.0, -9.0]), 20.0)
    )
    np.testing.assert_allclose(result.x, [3, -2], atol=1e-5)
    assert result.success
    assert result.reason.endswith("is at most gtol=1e-05")
    assert result.fun == pytest.approx(2.0, abs=1e-9)
    # x - clip(x - gradient) at the start: min(8, 9 - 3) and 8.
    assert records[0].grad_norm == 8.0
    assert records[1].grad_norm == 4.0


def test_bounds_by_name_are_projected_too():
    params = {"u": np.array([9.0]), "v": np.array([6.0])}

    def fg(p):
        grads = {"u": p["u"] - 1, "v": p["v"] + 2}
        return float(grads["u"] @ grads["u"] + grads["v"] @ grads["v"]) / 2, grads

    bounds = {"u": (3.0, 20.0), "*": (-INF, INF)}
    result = gdopt.minimize(fg, params, method="sgd", lr=0.5, bounds=bounds)
    assert result.success
    assert params["u"].tolist() == [3.0]
    assert params["v"][0] == pytest.approx(-2, abs=1e-5)


def test_dev_examples_are_measured_after_the_update_that_ends_an_epoch():
    def fg(w, x):
        return float(w[0] * x), np.array([1.0])

    how = {"data": [1.0, 1.0], "dev": (10.0,), "method": "sgd", "lr": 0.25}
    result, records = collect(fg, np.array([1.0]), epochs=2, **how)
    assert [record.dev_loss for record in records] == [None, 5.0, None, 0.0]
    assert {record.dev_accuracy for record in records} == {None}
    assert result.nfev == 4  # what is measured is not used for an update
