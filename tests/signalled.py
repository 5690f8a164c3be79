"""Signals that arrive at a chosen place of gdopt's code, as the kernel would send them.

They become pending before one bytecode instruction, and CPython calls their handlers
where it looks for them: at the next call, function entry or backward jump.
"""

import _thread
import contextlib
import functools
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1)
SIGNALS += (signal.SIGVTALRM, signal.SIGRTMIN + 3)


class Signalled(Exception):  # noqa: N818 - not an error
    """What handlers raise."""


@contextlib.contextmanager
def handling(handler, *numbers):
    """Set a handler of signals for a block, at whose end it must still be there."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        now = [signal.getsignal(number) for number in numbers]
        for number, one in before.items():
            signal.signal(number, one)
    assert now == [handler] * len(numbers)


def raising(number, _frame):
    """Raise an exception that names the signal."""
    raise Signalled(signal.Signals(number) if number < signal.SIGRTMIN else number)


def answered(call):
    """Call a function; return what up to three handlers have raised, the last one."""
    look = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, ())
    try:
        try:
            try:
                try:
                    call()
                finally:
                    look()
            finally:
                look()
        finally:
            look()
    except Signalled as error:
        return error


def call_with_signals(place, call, *numbers, files="/gdopt/"):
    """Call a function with signals before one instruction; return how many it has.

    What the handlers raise, the call raises.
    """
    count, pend = 0, _thread.interrupt_main
    files = (files,) if isinstance(files, str) else files

    def trace(frame, event, _):
        nonlocal count
        if not any(name in frame.f_code.co_filename for name in files):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            count += 1
            if count == place:
                sys.settrace(None)
                [*map(pend, numbers)]  # without a call: a handler would run here
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
