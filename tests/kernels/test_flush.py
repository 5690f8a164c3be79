"""The processor's mode is restored on every path out of what sets it."""

from functools import partial

import numpy as np
import pytest
from signalled import SIGNALS, Signalled, answered, call_with_signals, handling, raising

import gdopt
from gdopt.kernels.cpu.flush import FlushToZero, can_flush, flushes
from gdopt.nn import Network

PLACES = 60  # instructions at which a signal comes, of each call
pytestmark = [
    pytest.mark.usefixtures("numpy_engine"),
    pytest.mark.skipif(not can_flush(), reason="the mode cannot be set here"),
]


def full(*shape):
    return np.full(shape, 0.5, np.float32)


def entered():
    with FlushToZero():
        assert flushes()


def stepped(**options):
    params = {"a": full(3), "b": full(2, 2)}
    optimizer = gdopt.Adam(params, **options)
    grads = {name: array.copy() for name, array in params.items()}
    for _ in range(3):
        optimizer.step(grads)
    return partial(optimizer.step, grads)


CALLS = {
    "the context alone": lambda: entered,
    "a step": stepped,
    "a clipped step": lambda: stepped(clip_norm=0.1, clip_value=0.1),
    "a kernel": lambda: partial(gdopt.Kernel(lambda y, x: y + x), full(3), full(3)),
    "an average": lambda: partial(gdopt.ewa, full(50), beta=0.9),
    "a network": lambda: partial(
        Network([4, 3, 2], dtype=np.float32).loss_and_grads,
        full(5, 4),
        np.arange(5) % 2,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_signal_that_raises_at_any_place_restores_the_mode(name):
    call = CALLS[name]()
    call()
    last = call_with_signals(0, call)
    for place in range(1, last + 1, max(1, last // PLACES)):
        with handling(raising, *SIGNALS):
            error = answered(
                partial(call_with_signals, place, call, SIGNALS[place % 6])
            )
        assert isinstance(error, Signalled)
        assert not flushes(), place


@pytest.mark.parametrize("within", [False, True])
def test_an_error_restores_the_mode_that_was_there(within):
    with FlushToZero() if within else np.errstate():
        with pytest.raises(ZeroDivisionError), FlushToZero():
            raise ZeroDivisionError
        assert flushes() == within
    assert not flushes()
