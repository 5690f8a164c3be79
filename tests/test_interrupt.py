"""Signals in the middle of an update are answered when it is whole."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
from signalled import (
    SIGNALS,
    Signalled,
    answered,
    call_with_signals,
    handling,
    raising,
)

import gdopt
from gdopt.interrupt import DEFERRAL, Uninterrupted


def test_an_update_is_whole_when_ctrl_c_comes_in_its_middle(monkeypatch):
    params = {"a": np.ones(3), "b": np.ones(3)}
    opt = gdopt.SGD(params, lr=0.5)
    run = opt.executor.run

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        run(*arguments)

    monkeypatch.setattr(opt.executor, "run", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        opt.step({"a": np.ones(3), "b": np.ones(3)})
    assert params["a"].tolist() == params["b"].tolist() == [0.5] * 3
    assert opt.t == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_steps_in_other_threads_leave_the_signal_alone():
    p = np.ones(1)
    opt = gdopt.SGD(p, lr=0.5)
    thread = threading.Thread(target=opt.step, args=(np.ones(1),))
    thread.start()
    thread.join()
    assert p.tolist() == [0.5]


@pytest.mark.parametrize("numbers", [SIGNALS[:1], SIGNALS[2:4], SIGNALS[-3:]])
def test_signals_at_any_instruction_are_answered_outside_and_leave_all_handlers(
    numbers,
):
    inside, heard = [], []

    def hear(number, frame):
        heard.append((number, bool(inside)))
        raising(number, frame)

    def body():
        with Uninterrupted():
            inside.append(True)
            inside.append(len(inside))
            inside.clear()

    files = ("interrupt.py", "test_interrupt.py")
    with handling(hear, *SIGNALS):
        body()  # the handlers are looked for at their places from now on
        last = call_with_signals(0, body, files=files)
        for place in range(1, last + 1):
            call = partial(call_with_signals, place, body, *numbers, files=files)
            answered(call)
            inside.clear()
            assert sorted(heard) == [(number, False) for number in sorted(numbers)]
            assert {*map(signal.getsignal, SIGNALS)} == {hear}, place
            heard.clear()


def test_signals_are_answered_in_their_order_each_error_in_the_next_ones_context():
    order = [SIGNALS[k] for k in (3, 0, 5, 0, 2)]

    def body():
        with Uninterrupted():
            [*map(signal.raise_signal, order)]
            raise ValueError

    with handling(raising, *SIGNALS):
        found, error = [], answered(body)
    while isinstance(error, Signalled):
        found, error = [error.args[0], *found], error.__context__
    assert found == order
    assert isinstance(error, ValueError)


def test_what_a_signal_does_is_what_it_is_set_to_when_the_block_ends():
    heard = []

    def first(number, _frame):
        heard.append(number)
        signal.signal(signal.SIGUSR2, lambda number, _: heard.append(-number))

    before = signal.signal(signal.SIGUSR2, raising)
    try:
        with handling(first, signal.SIGUSR1), Uninterrupted():
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR1, -signal.SIGUSR2]


def test_handlers_that_a_handler_sets_while_handlers_are_swapped_wait_too():
    def first(_number, _frame):
        signal.signal(signal.SIGHUP, raising)  # of a lower number than its own

    def body():
        with Uninterrupted():
            inside.append(signal.getsignal(signal.SIGHUP))

    inside = []
    with handling(first, signal.SIGUSR1):
        body()
        last = call_with_signals(0, body, files="interrupt.py")
        for place in range(1, last + 1):
            before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
            call_with_signals(place, body, signal.SIGUSR1, files="interrupt.py")
            assert signal.signal(signal.SIGHUP, before) is raising
            assert inside.pop() is not raising


@pytest.mark.parametrize("action", [signal.SIG_IGN, signal.SIG_DFL])
def test_signals_without_a_handler_keep_their_effect(action):
    with handling(action, signal.SIGTERM), Uninterrupted():
        assert signal.getsignal(signal.SIGTERM) == action


def test_a_child_that_is_forked_within_a_block_has_its_handlers():
    code = """
import os, signal
from gdopt.interrupt import Uninterrupted
signal.signal(signal.SIGUSR1, print)
with Uninterrupted():
    assert signal.getsignal(signal.SIGUSR1) is not print
    signal.raise_signal(signal.SIGUSR1)  # the parent's alone
    child = os.fork()
    if child == 0:
        found = [signal.getsignal(signal.SIGUSR1) is print]
        signal.signal(signal.SIGUSR1, lambda *_: found.append(False))
        with Uninterrupted():
            found.append(signal.getsignal(signal.SIGUSR1) is not print)
            found.append("lambda" not in str(signal.getsignal(signal.SIGUSR1)))
        os._exit(0 if all(found) else 1)
    assert os.waitpid(child, 0)[1] == 0
"""  # in a process without JAX, which warns of a fork
    subprocess.run([sys.executable, "-c", code], check=True)


def in_a_thread(work):
    """Return the errors of some work in another thread."""
    errors = []

    def caught():
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join()
    return errors


def enter():
    with Uninterrupted():
        pass


def test_another_thread_leaves_handlers_alone_that_are_being_swapped():
    with handling(raising, signal.SIGUSR1), Uninterrupted():
        waiting = signal.getsignal(signal.SIGUSR1)
        DEFERRAL.running = False  # as before the main thread has swapped all
        assert in_a_thread(enter) == []
        assert signal.getsignal(signal.SIGUSR1) is waiting
        DEFERRAL.running = True


def test_a_main_thread_that_cannot_set_handlers_does_without(monkeypatch):
    """As a thread does that embeds Python."""

    def embedding():
        monkeypatch.setattr(DEFERRAL, "thread", threading.get_ident())
        enter()

    assert in_a_thread(embedding) == []


def test_handlers_that_an_interrupted_end_has_left_are_restored():
    with handling(raising, signal.SIGUSR1):
        enter()
        assert DEFERRAL.begin()
        DEFERRAL.running = False
        enter()
        assert signal.getsignal(signal.SIGUSR1) is raising


def test_a_handler_that_is_set_within_a_block_stays():
    with handling(raising, signal.SIGUSR1):
        with Uninterrupted():
            signal.signal(signal.SIGUSR1, print)
        assert signal.signal(signal.SIGUSR1, raising) is print
