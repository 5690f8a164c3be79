"""Ctrl-C, SIGTERM and SIGHUP in a run that has a checkpoint."""

import contextlib
import signal
import threading

import numpy as np
import pytest

import gdopt
from gdopt.training import checkpoints

NUMBERS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]
START = np.array([3.0, -4.0, 5.0])


def bowl(x):
    return float(x @ x), 2 * x


def options(folder, **more):
    rules = {"lr": 0.1, "max_iter": 12, "checkpoint_seconds": 1e9}
    return {"checkpoint": folder, **rules, **more}


def minimize(folder, fg=bowl, **more):
    return gdopt.minimize(fg, START.copy(), **options(folder, **more))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Let no time pass: only signals and the end write checkpoints."""
    time = type("Time", (), {"monotonic": staticmethod(lambda: 0.0)})
    monkeypatch.setattr(checkpoints, "time", time)


@pytest.fixture(autouse=True)
def same_handlers():
    """See that every run leaves the handlers as they were."""
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    assert [signal.getsignal(number) for number in NUMBERS] == before


@contextlib.contextmanager
def handling(number, handler):
    before = signal.signal(number, handler)
    try:
        yield
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


class EndedError(Exception):
    """What a caller's handler raises."""


def end(number, frame):
    raise EndedError


def saved(folder):
    return sorted(int(path.stem[-12:]) for path in folder.glob("checkpoint-*.npz"))


def goes_on(folder):
    """Continue the run; return its first step, and see that the end is the same."""
    seen, expected = [], minimize(None)
    result = minimize(folder, callback=lambda record: seen.append(record.step))
    assert result.x.tobytes() == expected.x.tobytes()
    assert (result.nit, result.nfev) == (expected.nit, expected.nfev)
    return seen[0]


def raising_at(evaluation, *numbers):
    """Return the function, in whose n-th evaluation signals come."""
    count = [0]

    def fg(x):
        count[0] += 1
        if count[0] == evaluation:
            for number in numbers:
                signal.raise_signal(number)
        return bowl(x)

    return fg


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_for_the_update_which_is_then_saved(tmp_path, number):
    with handling(number, end), pytest.raises(EndedError):
        minimize(tmp_path, raising_at(6, number))
    assert saved(tmp_path) == [5]  # the first evaluation was at the start
    assert goes_on(tmp_path) == 6


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_at_the_start_ends_a_run_that_has_nothing_to_save(tmp_path, number):
    with handling(number, end), pytest.raises(EndedError):
        minimize(tmp_path, raising_at(1, number))
    assert saved(tmp_path) == []
    assert goes_on(tmp_path) == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_during_the_last_update_is_not_lost(tmp_path, number):
    with handling(number, end), pytest.raises(EndedError):
        minimize(tmp_path, raising_at(13, number))
    assert saved(tmp_path) == [12]


@pytest.mark.parametrize("second", NUMBERS)
def test_a_second_signal_does_not_wait(tmp_path, second):
    reached = []

    def fg(x):
        found = raising_at(1, signal.SIGTERM, second)(x) if reached else bowl(x)
        reached.append(1)
        return found

    with (
        handling(second, end),
        handling(signal.SIGTERM, end),
        pytest.raises(EndedError),
    ):
        minimize(tmp_path, fg)
    assert len(reached) == 1  # the evaluation was interrupted
    assert saved(tmp_path) == []


def test_the_first_signal_counts_where_the_second_returns(tmp_path):
    heard = []

    def note(number, frame):
        heard.append((number, saved(tmp_path)))

    with handling(signal.SIGTERM, note), handling(signal.SIGINT, note):
        result = minimize(tmp_path, raising_at(4, signal.SIGTERM, signal.SIGINT))
    assert heard == [(signal.SIGINT, []), (signal.SIGTERM, [3])]
    assert result.nit == 12


def test_each_signal_of_a_run_that_goes_on_is_saved_at(tmp_path):
    """Also where the next record is far."""
    heard, third, sixth = [], *(raising_at(n, signal.SIGTERM) for n in (3, 6))

    def fg(x):
        third(x)
        return sixth(x)

    with handling(signal.SIGTERM, lambda *_: heard.append(saved(tmp_path))):
        minimize(tmp_path, fg, record_every=100)
    assert heard == [[2], [2, 5]]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_callers_own_code_is_interrupted_at_once_after_a_save(tmp_path, number):
    heard = []

    def note(number, frame):
        heard.append(saved(tmp_path))
        raise EndedError

    records = gdopt.steps(bowl, START.copy(), **options(tmp_path))

    def loop():
        for record in records:
            if record.step == 4:
                signal.raise_signal(number)
                heard.append("not reached")

    with handling(number, note), pytest.raises(EndedError):
        loop()  # the handlers are as before, although the run may go on
    assert heard == [[4]]
    records.close()
    assert goes_on(tmp_path) == 5


def test_a_caller_who_catches_the_interrupt_goes_on(tmp_path):
    """And is interrupted again by the next one only, after it was saved."""
    x, caught = START.copy(), []
    with handling(signal.SIGINT, signal.default_int_handler):
        for record in gdopt.steps(bowl, x, **options(tmp_path)):
            try:
                if record.step in (4, 9):
                    signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                caught.append((record.step, saved(tmp_path)))
    assert caught == [(4, [4]), (9, [4, 9])]
    assert x.tobytes() == minimize(None).x.tobytes()


@pytest.mark.parametrize("number", NUMBERS)
def test_an_ignored_signal_stays_ignored(tmp_path, number):
    with handling(number, signal.SIG_IGN):
        result = minimize(tmp_path, raising_at(6, number))
    assert (result.nit, saved(tmp_path)) == (12, [12])


def test_a_handler_that_is_set_during_the_run_stays(tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def set_own(record):
        if record.step == 3:
            signal.signal(signal.SIGTERM, end)

    minimize(tmp_path, callback=set_own)
    assert signal.getsignal(signal.SIGTERM) is end
    signal.signal(signal.SIGTERM, before)


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path):
    before, found = [signal.getsignal(n) for n in NUMBERS], []

    def look(record):
        found.append([signal.getsignal(n) for n in NUMBERS] == before)

    thread = threading.Thread(
        target=minimize, args=(tmp_path,), kwargs={"callback": look}
    )
    thread.start()
    thread.join()
    assert found == [True] * 13
    assert saved(tmp_path) == [12]


def test_a_run_without_a_checkpoint_leaves_signals_alone():
    before, found = [signal.getsignal(n) for n in NUMBERS], []
    minimize(
        None, callback=lambda r: found.append([signal.getsignal(n) for n in NUMBERS])
    )
    assert found == [before] * 13


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_of_the_function_leaves_the_last_checkpoint(tmp_path, error):
    def fg(x):
        fg.count += 1
        if fg.count == 9:
            raise error
        return bowl(x)

    fg.count = 0
    with pytest.raises(error):
        minimize(tmp_path, fg, checkpoint_seconds=1e-9, callback=tick(checkpoints))
    assert saved(tmp_path) == [6, 7]
    assert goes_on(tmp_path) == 8


def tick(module):
    """Return a callback that lets a second pass."""
    now = [0.0]
    module.time = type("Time", (), {"monotonic": staticmethod(lambda: now[0])})

    def callback(record):
        now[0] += 1.0

    return callback


def test_a_signal_ends_a_run_that_cannot_be_saved(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    with (
        handling(signal.SIGTERM, end),
        pytest.warns(UserWarning, match="the run was not saved: .*No space left"),
        pytest.raises(EndedError),
    ):
        minimize(tmp_path, raising_at(6, signal.SIGTERM))


def test_a_signal_while_a_signal_is_answered_does_not_wait(tmp_path, monkeypatch):
    save = checkpoints.save

    def interrupted(path, tree):
        signal.raise_signal(signal.SIGTERM)
        save(path, tree)

    monkeypatch.setattr(checkpoints, "save", interrupted)
    with handling(signal.SIGTERM, end), pytest.raises(EndedError):
        minimize(tmp_path, raising_at(6, signal.SIGTERM))
    assert saved(tmp_path) == []
