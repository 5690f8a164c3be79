"""What a handler raises, and what it calls, comes before an update or after it."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
from signalled import SIGNALS, Signalled, answered, call_with_signals, handling, raising

import gdopt
from gdopt.nn import Network
from gdopt.optim import turns

pytestmark = pytest.mark.newest

PLACES = 12  # instructions at which a signal comes, of each call
SHAPES = {"a": (3,), "b": (2, 2), "c": (), "d": (5,)}
FLAWED = {name: np.full(shape, np.nan) for name, shape in SHAPES.items()}
ROWS = {"b": np.array([1])}
AT = {name: np.full((1, 2) if name == "b" else s, 0.5) for name, s in SHAPES.items()}


def make(kind=gdopt.Adam, arrays=dict, **options):
    """Make an optimizer that has done steps, with all that these compile."""
    params = {name: np.full(shape, 1.0) for name, shape in SHAPES.items()}
    optimizer = kind(np.ones(3) if arrays is None else arrays(params), **options)
    for _ in range(4):
        optimizer.step(grads_of(optimizer))
    return optimizer


def grads_of(optimizer):
    """Return gradients in the form of the parameters."""
    arrays = optimizer.params.items()
    named = {name: np.full_like(array, 0.5) for name, array in arrays}
    if isinstance(optimizer.params, gdopt.Arena):
        return gdopt.Arena.of(named)
    return named if len(named) > 1 else named["0"]


def stepped(optimizer, grads=None, **how):
    grads = grads_of(optimizer) if grads is None else grads
    return lambda: optimizer.step(grads, **how)


def loaded(optimizer):
    saved = optimizer.state_dict()
    for key, parts in saved["state"].items():
        saved["state"][key] = {name: array + 1 for name, array in parts.items()}
    saved["t"], saved["hyper"]["lr"] = 7, 0.25
    return lambda: optimizer.load_state_dict(saved)


def both_dtypes(params):
    return {"a": params["a"], "b": params["b"].astype(np.float32)}


def lone(**options):
    return make(arrays=None, **options)


ACCUMULATES = {"accumulate": 2, "loss_scale": "dynamic"}
CALLS = {
    "lone": (lone, stepped),
    "lone, norm, average": (lambda: lone(clip_norm=0.1, ema=0.5), stepped),
    "lone, schedule": (
        lambda: lone(lr=gdopt.schedules.exponential(0.1, 0.9, 1)),
        stepped,
    ),
    "lone, function": (lambda: lone(lr=lambda t: 0.1 / (1 + t)), stepped),
    "separate": (make, stepped),
    "arena": (lambda: make(arrays=gdopt.Arena.of), stepped),
    "dtypes": (lambda: make(arrays=both_dtypes), stepped),
    "norm": (lambda: make(clip_norm=0.1), stepped),
    "reducing": (lambda: make(gdopt.LARS, lr=0.1), stepped),
    "matrices": (lambda: make(gdopt.Muon, lr=0.1), stepped),
    "complex": (
        lambda: gdopt.Adam(np.full(3, 1j), complex_mode="split"),
        lambda optimizer: stepped(optimizer, np.full(3, 1 + 1j)),
    ),
    "accumulated": (lambda: make(**ACCUMULATES), stepped),
    "skipped": (lambda: make(**ACCUMULATES), lambda opt: stepped(opt, FLAWED)),
    "rows": (make, lambda optimizer: stepped(optimizer, AT, at=ROWS)),
    "given": (make, lambda optimizer: stepped(optimizer, lr=0.25)),
    "load": (lambda: make(ema=0.5), loaded),
    "reset": (lambda: make(ema=0.5), lambda optimizer: optimizer.reset),
    "frozen": (make, lambda opt: lambda: setattr(opt, "frozen", ["a"])),
    "set": (make, lambda opt: lambda: setattr(opt, "lr", 0.5)),
    "set by name": (make, lambda opt: lambda: setattr(opt, "lr", {"a": 1.0, "*": 0.5})),
}


def facts(optimizer):
    """Return all that steps depend on, as text."""
    bits = {name: array.tobytes() for name, array in optimizer.params.items()}
    also = {"frozen": optimizer.frozen, "norm": optimizer.grad_norm}
    return repr(optimizer.state_dict() | bits | also)


def places(call):
    """Return the instructions before which signals come: some of all that there are."""
    last = call_with_signals(0, call)
    return range(1, last + 1, max(1, last // PLACES))


@pytest.mark.parametrize("name", CALLS)
def test_what_a_handler_raises_comes_before_a_call_or_after_it(name, engine):
    kind, call_of = CALLS[name]
    call_of(kind())()
    for place in places(call_of(kind())):
        optimizer, twin = kind(), kind()
        act, again, number = call_of(optimizer), call_of(twin), SIGNALS[place % 6]
        with handling(raising, *SIGNALS):
            error = answered(partial(call_with_signals, place, act, number))
        assert isinstance(error, Signalled)
        if facts(optimizer) != facts(twin):
            again()
        assert facts(optimizer) == facts(twin), place
        for one in (optimizer, twin):  # no lock is held, and nothing is stale
            if name != "complex":
                one.step(grads_of(one))
            call_of(one)()
        assert facts(optimizer) == facts(twin)


@pytest.mark.parametrize("name", ["lone", "lone, schedule", "lone, function", "norm"])
def test_a_handler_may_save_set_and_step(name, engine):
    kind, call_of = CALLS[name]

    def handle(optimizer, seen, *_):
        seen.append(repr(optimizer.state_dict()))
        optimizer.eps = 0.5
        optimizer.step(grads_of(optimizer))

    ends = []
    for order in (1, -1):
        twin, seen = kind(), []
        for call in [partial(handle, twin, seen), call_of(twin)][::order]:
            call()
        ends.append((facts(twin), seen))
    for place in places(call_of(kind())):
        optimizer, seen = kind(), []
        act = call_of(optimizer)
        with handling(partial(handle, optimizer, seen), signal.SIGTERM):
            call_with_signals(place, act, signal.SIGTERM)
        assert (facts(optimizer), seen) in ends, place


def test_a_step_that_a_schedule_calls_is_refused(engine):
    def rate(step):
        if step == 2:
            states.append(optimizer.state_dict()["t"])
            with pytest.raises(gdopt.GdoptError, match="within a step"):
                optimizer.step(np.ones(3))
            with pytest.raises(gdopt.GdoptError, match="within a step"):
                optimizer.load_state_dict({})
        return 0.5

    states, optimizer = [], None
    optimizer = gdopt.SGD(np.ones(3), lr=rate)
    for _ in range(4):
        optimizer.step(np.ones(3))
    assert states == [2]
    assert optimizer.params["0"].tolist() == [-1.0] * 3


@pytest.mark.parametrize("name", ["state_dict", "load_state_dict", "step", "reset"])
def test_what_another_thread_does_comes_after_the_step(name, numpy_engine, monkeypatch):
    def other(optimizer):
        given = {"load_state_dict": [start], "step": [grads_of(optimizer)]}
        return repr(getattr(optimizer, name)(*given.get(name, [])))

    def between(segment, *given):
        update(segment, *given)
        if not thread.ident:  # and another array is still to be updated
            thread.start()
            thread.join(0.2)

    optimizer, twin, found = make(arrays=both_dtypes), make(arrays=both_dtypes), []
    start = optimizer.state_dict()
    thread = threading.Thread(target=lambda: found.append(other(optimizer)))
    update = optimizer.executor._update
    monkeypatch.setattr(optimizer.executor, "_update", between)
    optimizer.step(grads_of(optimizer))
    thread.join()
    twin.step(grads_of(twin))
    expected = other(twin)
    assert facts(optimizer) == facts(twin)
    assert name == "load_state_dict" or found == [expected]


def test_two_threads_that_wait_for_each_other_end_with_an_error(monkeypatch):
    def rate(_):
        thread = threading.Thread(target=step_too)
        thread.start()
        thread.join()
        return 0.5

    def step_too():
        with pytest.raises(gdopt.GdoptError, match="another thread's step") as caught:
            optimizer.state_dict()
        refusals.append(caught.value)

    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    p, refusals = np.ones(1), []
    optimizer = gdopt.SGD(p, lr=rate)
    optimizer.step(np.ones(1))
    assert len(refusals) == 1
    assert p == 0.5


def test_a_batch_is_used_when_it_is_handed_out():
    def draw():
        for batch in loop:
            got.append(batch)
            break

    def begun(position):
        batches = gdopt.minibatches(np.arange(12.0), batch_size=3, seed=1)
        batches.load_state_dict(batches.state_dict() | {"position": position})
        return batches

    for position in (0, 2):
        loop, got = iter(begun(position)), []
        for place in range(1, call_with_signals(0, draw) + 1):
            batches, got = begun(position), []
            loop = iter(batches)
            with handling(raising, signal.SIGALRM):
                answered(partial(call_with_signals, place, draw, signal.SIGALRM))
            assert batches.state_dict()["position"] == position + len(got), place
            assert batches.first == (0 if got else position)


def averaging():
    average, x, out = gdopt.EWA(0.5), np.ones(3), np.zeros(3)
    average.update(x)
    text = lambda: repr((average.state_dict(), out))  # noqa: E731
    return partial(average.update, 2 * x, out=out), text


def counting():
    average = gdopt.EWA(0.5)
    average.update(1.0)
    return partial(average.update, 3.0), lambda: repr(average.state_dict())


def kernel():
    def both(x, y, *, a):
        return x + a * y, y - a * x

    x, y = np.ones(4), np.ones(4)
    call = partial(gdopt.Kernel(both), x, y, a=2.0)
    return call, lambda: repr((x, y))


def normalizing():
    network = Network([2, 3, 3, 2], batch_norm=True, seed=1)
    x, y = np.eye(2, dtype=np.float32), np.arange(2)
    network.loss_and_grads(x, y)
    act = partial(network.loss_and_grads, x, y)
    return act, lambda: repr(network.state_dict())


@pytest.mark.parametrize("make_one", [averaging, counting, kernel, normalizing])
def test_other_updates_are_whole_too(make_one, engine):
    act, text = make_one()
    before = text()
    act()
    after = text()
    for place in places(make_one()[0]):
        act, text = make_one()
        with handling(raising, *SIGNALS):
            answered(partial(call_with_signals, place, act, SIGNALS[place % 6]))
        assert text() in (before, after), place


STRESS = """
import signal, sys, threading
import numpy as np
import gdopt

HANDLERS, seen, torn = 150, 0, 0
sys.setswitchinterval(1e-4)

def spin():
    while seen < HANDLERS:
        sum(range(100))

class Stop(Exception):
    pass

def stop(number, frame):
    raise Stop

params = {f"p{k}": np.zeros(4) for k in range(6)}
grads = {name: np.ones(4) for name in params}
optimizer = gdopt.SGD(params, lr=1.0)
optimizer.step(grads)
threads = [threading.Thread(target=spin, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
signal.signal(signal.SIGALRM, stop)
while seen < HANDLERS:
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-3 + seen % 7 * 1e-5)
        while True:
            optimizer.step(grads)
    except Stop:
        seen += 1
    values = {float(value) for p in params.values() for value in p}
    torn += values != {-float(optimizer.t)}
assert signal.getsignal(signal.SIGALRM) is stop
assert optimizer.step(grads)
print(torn)
"""


def test_alarms_with_other_threads_alive_tear_no_step(engine):
    ran = [sys.executable, "-c", STRESS]
    done = subprocess.run(ran, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")


IMPORTS = """
import signal, sys
import numpy as np
import gdopt

def handle(number, frame):
    raise InterruptedError
signal.signal(signal.SIGTERM, handle)

class Finder:
    def find_spec(name, path, target=None):
        if name in within:
            within.remove(name)
            signal.raise_signal(signal.SIGTERM)

within = []
sys.meta_path.insert(0, Finder)
calls = {
    "numba.core": lambda: gdopt.Adam(np.ones(2), clip_norm=1.0),
    "optuna.storages": lambda: gdopt.tune.tune(len, {"x": scale}, trials=1),
}
scale = gdopt.tune.uniform(0, 1)
within += calls
for name, call in calls.items():
    try:
        call()
    except InterruptedError:
        assert name not in within, name
        assert name.partition(".")[0] in sys.modules, name
        call()
    else:
        raise AssertionError(name)
"""


def test_an_import_that_a_signal_interrupts_is_whole():
    for extra in ("numba", "optuna"):
        pytest.importorskip(extra)
    environment = {**os.environ, "GDOPT_CPU_ENGINE": "numba"}
    subprocess.run([sys.executable, "-c", IMPORTS], env=environment, check=True)
