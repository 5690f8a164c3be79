import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.data import minibatches
from gdopt.errors import DivergenceError
from gdopt.nn import Network
from gdopt.schedules import polynomial
from gdopt.training import EarlyStopping, fit, steps


def records_of(run, **options):
    records = []
    fit(
        run.network,
        run.optimizer,
        run.batches,
        **{"callback": records.append} | options,
    )
    return records


def steps_of(run, **options):
    """Train as `fit` does, record by record."""

    def fg(_params, x, y):
        return run.network.loss_and_grads(x, y)

    how = {"data": run.batches, "method": run.optimizer}
    return steps(fg, run.network.params, **how, **options)


def flat(run):
    return run.network.params.backend.to_host(run.network.params.flat).copy()


def test_training_is_the_loop_one_would_write_by_hand(make_run, engine):
    run, by_hand = make_run(l2=0.5), make_run(l2=0.5)
    records = records_of(run, epochs=2)
    losses = []
    for _ in range(2):
        for x, y in by_hand.batches:
            loss, grads = by_hand.network.loss_and_grads(x, y)
            losses.append(float(loss))
            by_hand.optimizer.step(grads)
    assert losses == [record.loss for record in records]
    np.testing.assert_array_equal(flat(by_hand), flat(run))


def test_records_count_epochs_and_steps_from_one(make_run):
    records = records_of(make_run(size=16), epochs=2)
    assert [(record.epoch, record.step) for record in records] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 4),
        (2, 5),
        (2, 6),
    ]


def test_every_call_counts_from_one_and_trains_on(make_run):
    run, whole = make_run(size=40), make_run(size=40)
    records_of(run, epochs=2)
    assert [(r.epoch, r.step) for r in records_of(run, epochs=1)] == [(1, 1)]
    assert run.optimizer.t == 3
    records_of(whole, epochs=3)
    np.testing.assert_array_equal(flat(whole), flat(run))


def test_the_smoothed_loss_is_the_weighted_mean_of_the_losses(make_run):
    records = records_of(make_run(), epochs=2, smoothing=0.8)
    for count, record in enumerate(records, start=1):
        weights = 0.8 ** np.arange(count)[::-1]
        losses = [r.loss for r in records[:count]]
        expected = np.dot(weights, losses) / weights.sum()
        # Two ways to add up at most 10 float64 numbers.
        assert expected == pytest.approx(record.smoothed_loss, rel=1e-12)


def test_the_learning_rate_is_that_of_the_update(make_run):
    run = make_run(size=20, lr=polynomial(0.4, 0.0, steps=4))
    rates = [record.lr for record in records_of(run, epochs=3)]
    assert pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0, 0.0]) == rates


def test_a_callback_changes_the_rate_between_epochs_and_a_list_logs_it(make_run):
    run = make_run(size=20, lr=0.4, optimizer=gdopt.SGD)
    rates, log = [], []

    def halve(record):
        rates.append(record.lr)
        if record.dev_accuracy is not None and record.epoch < 3:
            run.optimizer.hyper["lr"] = record.lr / 2
            log.append((record.epoch, record.lr, run.optimizer.hyper["lr"]))

    records_of(run, epochs=3, dev=(run.X, run.y), callback=halve)
    assert rates == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
    assert log == [(1, 0.4, 0.2), (2, 0.2, 0.1)]


def test_the_rate_is_changed_by_hand_between_epochs_and_a_list_logs_it(make_run):
    run, log = make_run(size=20, lr=0.4, optimizer=gdopt.SGD), []

    def halve(record):
        if record.dev_accuracy is not None and record.epoch < 3:
            run.optimizer.lr = record.lr / 2
            log.append((record.epoch, record.lr, run.optimizer.lr))

    options = {"epochs": 3, "dev": (run.X, run.y), "callback": halve}
    result = fit(run.network, run.optimizer, run.batches, **options)
    assert list(result.history["lr"]) == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
    assert log == [(1, 0.4, 0.2), (2, 0.2, 0.1)]


def test_a_learning_rate_by_name_is_not_one_number(make_run):
    run = make_run()
    run.optimizer.hyper["lr"] = dict.fromkeys(run.network.params, 0.1)
    assert {None} == {record.lr for record in records_of(run, epochs=1)}


def test_dev_accuracy_is_measured_at_the_end_of_each_epoch_only(make_run):
    run = make_run(size=16)
    records = records_of(run, epochs=2, dev=(run.X, run.y))
    measured = [record.dev_accuracy is not None for record in records]
    assert measured == [False, False, True] * 2
    assert run.network.accuracy(run.X, run.y) == records[-1].dev_accuracy


def test_without_dev_examples_no_accuracy_is_reported(make_run):
    assert {None} == {
        record.dev_accuracy for record in records_of(make_run(), epochs=2)
    }


def test_speed_is_a_positive_number(make_run):
    assert all(r.examples_per_second > 0 for r in records_of(make_run(), epochs=1))


def test_the_loop_prints_nothing(make_run, capfd):
    run = make_run(size=40, lr=1e3, optimizer=gdopt.SGD)
    records_of(run, epochs=3, dev=(run.X, run.y))
    assert tuple(capfd.readouterr()) == ("", "")


def test_only_every_so_many_steps_and_the_last_of_an_epoch_are_recorded(make_run):
    run, all_recorded = make_run(), make_run()
    records = records_of(run, epochs=2, record_every=3)  # 5 steps an epoch
    assert [record.step for record in records] == [3, 5, 6, 9, 10]
    records_of(all_recorded, epochs=2)
    np.testing.assert_array_equal(flat(all_recorded), flat(run))


def test_the_loop_may_be_left_and_gone_on_with(make_run):
    run, whole = make_run(size=40), make_run(size=40)
    for record in steps_of(run, epochs=10):
        if record.step == 2:
            break
    records_of(run, epochs=1)
    records_of(whole, epochs=3)
    np.testing.assert_array_equal(flat(whole), flat(run))


def test_a_loop_left_within_an_epoch_has_drawn_no_batch_ahead(make_run):
    run, whole = make_run(), make_run()
    records = steps_of(run, epochs=2)
    assert [next(records).step for _ in range(3)] == [1, 2, 3]
    assert (run.optimizer.t, run.batches.state_dict()["position"]) == (3, 3)
    left = [(record.epoch, record.step) for record in records]
    assert left == [(1, 4), (1, 5), *((2, step) for step in range(6, 11))]
    records_of(whole, epochs=2)
    np.testing.assert_array_equal(flat(whole), flat(run))


def test_a_loss_that_is_not_finite_ends_training_and_names_the_rate(make_run):
    run, steps_before = make_run(lr=1e30, optimizer=gdopt.SGD), []

    def note(record):
        steps_before.append((record.step, flat(run)))

    with pytest.raises(DivergenceError) as caught:
        records_of(run, epochs=9, callback=note)
    step, before = steps_before[-1]
    expected = (
        rf"loss must stay finite, got (nan|inf) at step {step + 1}, in epoch 1: "
        r"the learning rate, 1e\+30, is probably too large"
    )
    assert caught.match(expected)
    assert run.optimizer.t == step
    np.testing.assert_array_equal(before, flat(run))
    assert isinstance(caught.value, gdopt.GdoptError)
    assert isinstance(caught.value, ArithmeticError)


def test_full_batch_descent_whose_loss_rises_is_reported_once_with_the_cause(make_run):
    run = make_run(size=40, lr=50.0, optimizer=gdopt.SGD)
    records = records_of(run, epochs=6)
    losses = [record.loss for record in records]
    rises = [k for k in range(1, 6) if losses[k] > losses[k - 1]]
    assert len(rises) > 1  # the rate is indeed too large
    noticed = [k for k, record in enumerate(records) if record.warning]
    assert rises[:1] == noticed
    at = rises[0]
    assert (
        f"the loss rose from {losses[at - 1]:.6g} to {losses[at]:.6g} at step "
        f"{at + 1}; in batch gradient descent it must fall at every step: the learning "
        "rate, 50, is probably too large"
    ) == records[at].warning


def test_full_batch_descent_whose_loss_falls_is_left_in_peace(make_run):
    records = records_of(make_run(size=40, lr=0.1, optimizer=gdopt.SGD), epochs=30)
    losses = [record.loss for record in records]
    assert sorted(losses, reverse=True) == losses
    assert {None} == {record.warning for record in records}


def test_the_loss_of_mini_batches_may_rise(make_run):
    records = records_of(make_run(lr=1.0, optimizer=gdopt.SGD), epochs=5)
    assert any(b.loss > a.loss for a, b in itertools.pairwise(records))
    assert {None} == {record.warning for record in records}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (0.5, 0.5 + 2e-6, False),  # what float32 gets wrong
        (0.5, 0.5 + 2e-5, True),
        (1e4, 1e4 + 0.05, False),
        (1e4, 1e4 + 0.2, True),
        (0.5, 0.4, False),
    ],
)
def test_a_rise_within_rounding_is_no_rise(before, after, told):
    losses = iter([before, after])
    model = SimpleNamespace(
        params=np.ones(1), loss_and_grads=lambda _: (next(losses), np.ones(1))
    )
    batches = minibatches(np.ones((4, 1)), batch_size=4)
    records = []
    optimizer = gdopt.SGD(model.params, lr={"0": 0.1})
    fit(model, optimizer, batches, epochs=2, callback=records.append)
    first, second = (record.warning for record in records)
    assert first is None
    assert told == (second is not None)
    assert second is None or second.endswith("the learning rate is probably too large")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        ({"record_every": 0}, "record_every must be a whole number of at least 1"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\) and finite, got 1.0"),
        ({"dev": np.zeros((2, 3))}, "dev must be a tuple of arrays .*, got array"),
        ({"dev": (np.zeros((2, 3)),)}, "dev must be of 2 arrays, .*, got 1"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(make_run, options, message):
    run = make_run()
    before = flat(run)
    with pytest.raises(gdopt.GdoptError, match=message):
        fit(run.network, run.optimizer, run.batches, **{"epochs": 1, **options})
    np.testing.assert_array_equal(before, flat(run))
    assert run.optimizer.t == 0


def test_an_optimizer_of_other_parameters_is_refused(make_run):
    run, other = make_run(), make_run()
    with pytest.raises(gdopt.ArgumentTypeError, match=r"must update network\.params"):
        fit(run.network, other.optimizer, run.batches, epochs=1)


def test_batches_without_labels_are_refused(make_run):
    run = make_run()
    alone = minibatches(run.X, batch_size=8, seed=0)
    with pytest.raises(gdopt.ArgumentError, match=r"of 2 arrays, .*, got 1"):
        fit(run.network, run.optimizer, alone, epochs=1)


def test_an_unknown_label_is_refused_and_nothing_changed(make_run):
    run = make_run()
    run.y[:] = 3
    before = flat(run)
    with pytest.raises(gdopt.ArgumentError, match="labels must be class numbers"):
        fit(run.network, run.optimizer, run.batches, epochs=1)
    np.testing.assert_array_equal(before, flat(run))


def test_a_skipped_step_counts_for_the_run_and_not_for_the_optimizer(make_run):
    run = make_run()
    network = run.network
    skipping = gdopt.SGD(network.params, lr=0.1, non_finite="skip")
    ordinary = network.loss_and_grads

    def broken(x, y, **options):
        loss, grads = ordinary(x, y, **options)
        grads["b1"][0] = math.nan
        return loss, grads

    network.loss_and_grads = broken
    result = fit(network, skipping, run.batches, epochs=1)
    assert (result.nit, skipping.t) == (5, 0)


def test_a_network_of_float64_is_trained_alike():
    X, y = np.eye(3), np.arange(3)
    network = Network((3, 3), seed=0, dtype=np.float64, backend="numpy")
    optimizer = gdopt.SGD(network.params, lr=1.0)
    batches = minibatches(X, y, batch_size=3, seed=0)
    result = fit(network, optimizer, batches, epochs=40)
    assert result.history["loss"][-1] < 0.1


@pytest.mark.parametrize("last", [1, 31])
def test_a_smaller_last_batch_is_penalized_as_the_others_are(device, last):
    network = Network((3, 2), l2=5.0, l1=0.5, seed=0, dtype=np.float64, backend=device)
    home, W = network.params.backend, network.params["W1"]
    X, y = np.zeros((64 + last, 3)), np.zeros(64 + last, int)
    batches = minibatches(home.from_host(X), home.from_host(y), batch_size=32)
    expected, penalties = home.to_host(W).copy(), []
    for _ in batches:
        penalties.append((5 * np.square(expected) + 0.5 * np.abs(expected)).sum() / 64)
        expected -= 0.1 * (5 / 32 * expected + 0.5 / 64 * np.sign(expected))
    optimizer = gdopt.SGD(network.params, lr=0.1)
    start = network.loss(home.from_host(X), home.from_host(y))
    losses = fit(network, optimizer, batches, epochs=1).history["loss"]
    np.testing.assert_allclose(home.to_host(W), expected, rtol=1e-13)
    assert losses[0] == pytest.approx(start + penalties[0])
    assert losses[2] < losses[1] < losses[0]


def test_accumulated_batches_are_penalized_as_one(engine):
    rng, ends = np.random.default_rng(0), []
    X, y = rng.standard_normal((64, 3)), rng.integers(0, 2, 64)
    for size, accumulate in ((32, 1), (8, 4)):
        network = Network((3, 2), l2=5.0, seed=0, dtype=np.float64, backend="numpy")
        optimizer = gdopt.SGD(network.params, lr=0.5, accumulate=accumulate)
        batches = minibatches(X, y, batch_size=size, shuffle=False)
        fit(network, optimizer, batches, epochs=2)
        assert optimizer.t == 4
        ends.append(network.params.flat.copy())
    np.testing.assert_allclose(*ends, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maxiter": 3}, gdopt.ArgumentTypeError, "'maxiter'; did you mean max_iter"),
        ({"learning_rate": 1.0}, gdopt.ArgumentTypeError, "did you mean lr"),
        ({"jac": True}, gdopt.ArgumentTypeError, "minimize got an unknown .* 'jac'$"),
        ({"method": "Adam"}, gdopt.ArgumentError, "got 'Adam'; did you mean 'adam'"),
        ({"method": "rmspropp"}, gdopt.ArgumentError, "did you mean 'rmsprop'"),
        ({"dev": (1,)}, gdopt.ArgumentError, "dev must be None without data"),
        (
            {"callback": EarlyStopping},
            gdopt.ArgumentTypeError,
            r"got <class .*: write EarlyStopping\(...\)",
        ),
    ],
)
def test_what_minimize_does_not_take_is_refused_with_what_may_be_meant(
    options, error, message
):
    x = np.ones(2)
    for run in (gdopt.minimize, gdopt.steps):
        with pytest.raises(error, match=message.replace("minimize", run.__name__)):
            run(lambda x: (x @ x, 2 * x), x, **options)
    assert (x == 1).all()


@pytest.mark.parametrize(("count", "got"), [(3, "3"), (5, "more")])
def test_data_with_another_number_of_batches_than_their_length_are_refused(count, got):
    class Four:
        def __len__(self):
            return 4

        def __iter__(self):
            return iter([(np.ones(2),)] * count)

    message = f"must yield the 4 batches of its len.* got {got}$"
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.minimize(lambda w, x: (w @ x, x), np.zeros(2), data=Four(), epochs=1)


def test_a_first_loss_that_is_not_finite_is_not_blamed_on_the_rate():
    data = [(np.ones(2),)] * 3
    message = "at step 1, in epoch 1: start where the function is defined"
    with pytest.raises(DivergenceError, match=message) as caught:
        gdopt.minimize(lambda w, x: (math.nan, x), np.zeros(2), data=data, epochs=1)
    assert not caught.value.by_rate
    with pytest.raises(DivergenceError, match=r"at step 2, .* learning rate") as caught:
        gdopt.minimize(
            lambda w, x: (math.inf if w.any() else 0.0, x),
            np.zeros(2),
            data=data,
            epochs=1,
        )
    assert caught.value.by_rate
