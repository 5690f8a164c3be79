"""A run with a checkpoint: the same call continues it with the same bits."""

import itertools
import signal
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.schedules import cosine
from gdopt.training import EarlyStopping, checkpoints, fit

COLUMNS = [
    n for n in gdopt.training.History() if n not in ("seconds", "examples_per_second")
]


def bits(run):
    return gdopt.backend_of(run.X).to_host(run.network.params.flat).tobytes()


def train(run, epochs, **options):
    return fit(run.network, run.optimizer, run.batches, epochs=epochs, **options)


def crash_at(step):
    """Return a callback that raises an error at a step."""

    def crash(record):
        if record.step == step:
            message = "the machine is switched off"
            raise RuntimeError(message)

    return crash


def stop_at(step):
    def crash(record):
        return record.step == step

    return crash


def same_history(one, other):
    for name in COLUMNS:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def same_results(one, other):
    same_history(one.history, other.history)
    for name in ("fun", "grad_norm", "nit", "nfev", "reason", "success"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("rule", [gdopt.SGD, gdopt.Momentum, gdopt.AdamW])
@pytest.mark.parametrize("step", [6, 10])
def test_a_run_that_crashed_continues_with_the_bits_of_an_uninterrupted_one(
    make_run, tmp_path, engine, rule, step
):
    settings = {"optimizer": rule, "lr": cosine(0.1, 0.0, steps=15), "l2": 0.1}
    whole, first, rest = (make_run(**settings) for _ in range(3))
    expected = train(whole, 3, callback=stop_at(99))
    how = {"checkpoint": tmp_path, "checkpoint_seconds": 1e-9}
    with pytest.raises(RuntimeError, match="switched off"):
        train(first, 3, callback=crash_at(step), **how)
    records = []

    def crash(record):
        records.append(record.step)

    result = train(rest, 3, callback=crash, **how)
    assert records[0] == step
    assert bits(whole) == bits(rest)
    same_results(expected, result)


def stop_clock(monkeypatch):
    """Let all updates take no time."""
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: 0.0))


def test_a_run_that_crashed_at_the_same_step_twice_continues(make_run, tmp_path):
    expected = make_run()
    train(expected, 3)
    how = {"checkpoint": tmp_path, "checkpoint_seconds": 1e-9}
    for _ in range(2):  # a checkpoint is due as soon as the second one continues
        with pytest.raises(RuntimeError, match="switched off"):
            train(make_run(), 3, callback=crash_at(6), **how)
    run = make_run()
    train(run, 3, **how)
    assert bits(run) == bits(expected)


def test_the_first_checkpoint_is_written_after_an_epoch(
    make_run, tmp_path, monkeypatch
):
    stop_clock(monkeypatch)
    first = make_run()
    with pytest.raises(RuntimeError, match="switched off"):
        train(first, 3, callback=crash_at(5), checkpoint=tmp_path)  # 5 steps an epoch
    assert not list(tmp_path.glob("*.npz"))
    with pytest.raises(RuntimeError, match="switched off"):
        train(first, 3, callback=crash_at(9), checkpoint=tmp_path)
    assert [p.name for p in tmp_path.glob("*.npz")] == ["checkpoint-000000000005.npz"]


def test_the_last_two_checkpoints_are_kept(make_run, tmp_path):
    train(make_run(), 2, checkpoint=tmp_path, checkpoint_seconds=1e-9)
    names = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert names == [f"checkpoint-{step:012d}.npz" for step in (9, 10)]


def rosenbrock(x):
    u, v = 1 - x[0], x[1] - x[0] ** 2
    return u**2 + 100 * v**2, np.array([-2 * u - 400 * x[0] * v, 200 * v])


def minimize(folder, x=None, fg=rosenbrock, **options):
    x = np.array([-1.2, 1.0]) if x is None else x
    usual = {"method": "adam", "lr": 0.1, "max_iter": 30, "gtol": 1e-3}
    usual |= {"checkpoint": folder, "checkpoint_seconds": 1e-9}
    return gdopt.minimize(fg, x, **usual | options)


@pytest.mark.parametrize("step", [0, 1, 2, 17, 30])
@pytest.mark.parametrize("rule", [{}, {"xtol": 1e-9}, {"ftol": 1e-12}])
def test_a_minimization_that_crashed_continues_with_equal_bits(tmp_path, step, rule):
    expected = minimize(None, callback=stop_at(99), **rule)
    with pytest.raises(RuntimeError, match="switched off"):
        minimize(tmp_path, callback=crash_at(step), **rule)
    result = minimize(tmp_path, callback=stop_at(99), **rule)
    same_results(expected, result)
    assert expected.x.tobytes() == result.x.tobytes()


def test_leaving_the_loop_saves_where_it_is(make_run, tmp_path):
    x, whole = np.array([-1.2, 1.0]), minimize(None)
    how = {"lr": 0.1, "max_iter": 30, "gtol": 1e-3, "checkpoint": tmp_path}
    for record in gdopt.steps(rosenbrock, x, **how):
        if record.step == 13:
            break
    fresh = np.array([-1.2, 1.0])
    records = list(gdopt.steps(rosenbrock, fresh, **how))
    assert [record.step for record in records] == list(range(14, 31))
    assert fresh.tobytes() == whole.x.tobytes()


def test_leaving_a_loop_over_data_saves_where_it_is_within_an_epoch(make_run, tmp_path):
    whole, first, rest = (make_run() for _ in range(3))

    def records_of(run):
        def fg(_params, x, y):
            return run.network.loss_and_grads(x, y)

        how = {"data": run.batches, "method": run.optimizer, "epochs": 3}
        return gdopt.steps(fg, run.network.params, checkpoint=tmp_path, **how)

    train(whole, 3)
    records = records_of(first)
    assert len(list(itertools.islice(records, 7))) == 7  # 5 steps an epoch
    records.close()
    assert [record.step for record in records_of(rest)] == list(range(8, 16))
    assert bits(whole) == bits(rest)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("step", [3, 30])
def test_a_signal_saves_and_then_does_what_it_did_before(tmp_path, name, step):
    if not hasattr(signal, name):
        pytest.skip(f"there is no {name} here")
    number, heard = getattr(signal, name), []

    def handler(number, frame):
        heard.append(number)
        raise SystemExit(3)

    def crash(record):
        if record.step == step:
            signal.raise_signal(number)

    before = signal.signal(number, handler)
    try:
        with pytest.raises(SystemExit):
            minimize(tmp_path, callback=crash, checkpoint_seconds=1e9)
        assert heard == [number]
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert [path.name for path in tmp_path.glob("*.npz")] == [
        f"checkpoint-{step:012d}.npz"
    ]
    result = minimize(tmp_path, callback=stop_at(99))
    same_results(minimize(None, callback=stop_at(99)), result)


def test_a_handler_that_returns_lets_the_run_continue(tmp_path):
    heard, records = [], []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:

        def note(record):
            records.append(record.step)
            if record.step in (3, 7):
                signal.raise_signal(signal.SIGTERM)

        minimize(tmp_path, callback=note)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] * 2
    assert records == list(range(31))


def test_a_finished_run_returns_its_result_without_training_on(tmp_path):
    calls = []

    def counted(x):
        calls.append(1)
        return rosenbrock(x)

    expected = minimize(tmp_path, fg=counted)
    assert len(calls) == 31
    result = minimize(tmp_path, fg=counted)
    assert len(calls) == 32
    same_results(expected, result)
    assert expected.x.tobytes() == result.x.tobytes()


def test_a_finished_fit_returns_its_result_and_moves_nothing(make_run, tmp_path):
    first, again, calls = make_run(), make_run(), []
    expected = train(first, 2, checkpoint=tmp_path)
    evaluate = again.network.loss_and_grads

    def counted(*batch, **options):
        calls.append(1)
        return evaluate(*batch, **options)

    again.network.loss_and_grads = counted
    result = train(again, 2, checkpoint=tmp_path)
    assert len(calls) == 1  # it compares with what the checkpoint holds
    same_results(expected, result)
    assert bits(first) == bits(again)
    assert first.batches.state_dict() == again.batches.state_dict()
    assert (again.optimizer.t, again.network.batches_seen) == (10, 10)


def test_more_epochs_train_on_and_say_so(make_run, tmp_path):
    whole, first, rest = (make_run() for _ in range(3))
    expected = train(whole, 3)
    train(first, 1, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="epochs 1, now 3: it continues from step 5"):
        result = train(rest, 3, checkpoint=tmp_path)
    same_results(expected, result)
    assert bits(whole) == bits(rest)


def test_early_stopping_and_a_changed_rate_continue(make_run, tmp_path):
    """Also where the callback's state was made before the crash."""
    ends = []
    for crashes in (False, True):
        run = make_run(size=10, lr=0.4, optimizer=gdopt.SGD)
        stopping = EarlyStopping(3)

        def halve(record, run=run):
            if record.dev_accuracy is not None:
                run.optimizer.lr = run.optimizer.lr / 2

        how = {"dev": (run.X, run.y), "checkpoint_seconds": 1e-9}
        if crashes:
            how["checkpoint"] = tmp_path
            broken = crash_at(14)
            broken.__name__ = "halve"

            def both(record, halve=halve, broken=broken):
                halve(record)
                broken(record)

            with pytest.raises(RuntimeError, match="switched off"):
                train(run, 20, callback=[EarlyStopping(3), both], **how)
            run = make_run(size=10, lr=0.4, optimizer=gdopt.SGD)
            how["dev"] = run.X, run.y

            def halve(record, run=run):
                if record.dev_accuracy is not None:
                    run.optimizer.lr = run.optimizer.lr / 2

        result = train(run, 20, callback=[stopping, halve], **how)
        ends.append((result, bits(run), stopping.best, stopping.best_step))
    same_results(ends[0][0], ends[1][0])
    assert ends[0][1:] == ends[1][1:]
    assert ends[0][0].reason.startswith("the dev accuracy has not improved for 3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 9}, "batch_size of state must be 8 to match, got|batch_size .* 9"),
        ({"seed": 1}, "seed of state|at its parameters the value"),
        ({"examples": 41}, "count of state"),
        ({"l2": 5.0}, "at its parameters the value was"),
    ],
)
def test_other_data_are_refused_and_nothing_changed(
    make_run, tmp_path, change, message
):
    train(make_run(), 1, checkpoint=tmp_path)
    run = make_run(**change)
    before = bits(run), run.optimizer.state_dict(), run.batches.state_dict()
    with pytest.raises(gdopt.StateError, match=message):
        train(run, 1, checkpoint=tmp_path)
    state = run.optimizer.state_dict()
    assert before[0] == bits(run)
    assert before[1]["t"] == state["t"] == 0
    assert before[2] == run.batches.state_dict()
    assert run.network.batches_seen == 0


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    with pytest.raises(RuntimeError, match="switched off"):
        minimize(tmp_path, callback=crash_at(9))
    older, newest = sorted(tmp_path.glob("*.npz"))
    damage(newest)
    with pytest.warns(gdopt.DataWarning, match=f"continues from {older.name}"):
        result = minimize(tmp_path, callback=stop_at(99))
    same_results(minimize(None, callback=stop_at(99)), result)


def test_where_every_checkpoint_is_damaged_nothing_starts_over(tmp_path):
    minimize(tmp_path)
    for path in tmp_path.glob("*.npz"):
        damage(path)
    x = np.array([3.0, 4.0])
    with pytest.raises(gdopt.StateError):
        minimize(tmp_path, x)
    assert x.tolist() == [3, 4]


@pytest.mark.parametrize("callback", [True, False])
def test_a_folder_that_is_a_file_is_refused_before_anything_runs(tmp_path, callback):
    (tmp_path / "mine").write_text("mine")
    x = np.ones(2)
    with pytest.raises(gdopt.ArgumentError, match="checkpoint must name a folder that"):
        minimize(tmp_path / "mine", x)
    assert x.tolist() == [1, 1]


def test_two_runs_do_not_share_a_folder(tmp_path):
    records = gdopt.steps(rosenbrock, np.ones(2) * 3, max_iter=3, checkpoint=tmp_path)
    next(records)
    with pytest.raises(gdopt.ArgumentError, match="must be a folder of one run"):
        minimize(tmp_path)
    records.close()
    minimize(tmp_path)


@pytest.mark.parametrize("checkpoint", [3, True, b"run"])
def test_what_is_not_a_path_is_refused_at_the_call(checkpoint):
    with pytest.raises(gdopt.ArgumentTypeError, match="checkpoint must be the path of"):
        gdopt.steps(rosenbrock, np.ones(2), checkpoint=checkpoint)


def test_data_without_a_state_are_refused_where_there_is_a_checkpoint(tmp_path):
    batches = [(np.ones(3),)]
    with pytest.raises(gdopt.ArgumentTypeError, match="data must have state_dict"):
        gdopt.steps(
            lambda x, b: (x.sum(), b),
            np.ones(3),
            data=batches,
            epochs=1,
            checkpoint=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
