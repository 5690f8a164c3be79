"""A program whose runs are ended at chosen moments, and continued by the same call.

    killed_runs.py FOLDER COUNT [SIGNAL]  ends processes that it forks; prints JSON
    killed_runs.py FOLDER CASE MOMENT     makes one run, which is killed at a moment
    killed_runs.py FOLDER CASE            makes one run to its end; prints JSON

A moment is a number of calls, of Python or C, since the run began: runs end in the
middle of updates, callbacks and files, whatever the time.
"""

import functools
import hashlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import gdopt
from gdopt.nn import Network
from gdopt.schedules import cosine
from gdopt.training import EarlyStopping, checkpoints

OF_FILES = ("replace", "fsync", "write", "unlink")
UNLIKE = ("seconds", "examples_per_second")  # from run to run


class Halve:
    """Halve the rate every 7 records, which is state of its own."""

    def __init__(self):
        self.seen = 0

    def begin(self, run):
        self._hyper = run.optimizer.hyper

    def __call__(self, record):
        self.seen += 1
        if self.seen % 7 == 0:
            self._hyper["lr"] = self._hyper["lr"] / 2

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def rosenbrock(x):
    u, v = 1 - x[:-1], x[1:] - x[:-1] ** 2
    slope = np.zeros_like(x)
    slope[:-1] = -2 * u - 400 * x[:-1] * v
    slope[1:] += 200 * v
    return (u**2).sum() + 100 * (v**2).sum(), slope


def whole_problem(**how):
    """Return a run without data, and what has a state."""
    x = np.full(10, -0.9)
    optimizer = gdopt.Adam(x, lr=0.1, clip_norm=100.0)
    halve, stopping = Halve(), EarlyStopping(20, min_delta=1e-3)
    how |= {"method": optimizer, "callback": [halve, stopping], "max_iter": 40}
    run = functools.partial(gdopt.minimize, rosenbrock, x, **how)
    return run, [optimizer, halve, stopping]


def examples():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 4)).astype(np.float32)
    return X, (X.sum(axis=1) > 0).astype(np.int64)


def minibatches(**how):
    """Return a run over mini-batches, with a schedule."""
    X, y = examples()
    params = {"w": np.zeros(4, np.float32), "b": np.zeros((), np.float32)}

    def logistic(params, X, y):
        z = X @ params["w"] + params["b"]
        wrong = (1 / (1 + np.exp(-z)) - y) / len(y)
        loss = np.logaddexp(0, z).mean() - (z * y).mean()
        grads = {"w": X.T @ wrong, "b": wrong.sum()}
        return loss, {name: g.astype(np.float32) for name, g in grads.items()}

    batches = gdopt.minibatches(X, y, batch_size=8, seed=3)  # 7 in an epoch
    optimizer = gdopt.AdamW(params, lr=cosine(0.3, 0.01, steps=40), accumulate=2)
    stopping = EarlyStopping(3)
    how |= {"data": batches, "epochs": 6, "dev": (X, y), "record_every": 3}
    how |= {"method": optimizer, "callback": stopping}
    run = functools.partial(gdopt.minimize, logistic, params, **how)
    return run, [optimizer, batches, stopping]


def network(**how):
    """Return a run of a network that has averages and draws random numbers."""
    X, y = examples()
    layers = {"batch_norm": True, "keep_prob": 0.8, "seed": 1, "backend": "numpy"}
    own = Network((4, 6, 2), **layers)
    optimizer = gdopt.RMSprop(own.params, lr=0.01)
    batches = gdopt.minibatches(X, y, batch_size=16, seed=3, drop_last=True)
    stopping = EarlyStopping(3)
    how |= {"epochs": 8, "dev": (X, y), "callback": [stopping]}
    run = functools.partial(gdopt.fit, own, optimizer, batches, **how)
    return run, [optimizer, batches, own, stopping]


def line_search(**how):
    """Return a run that remembers steps and gradients, within bounds."""
    x = np.full(10, -0.9)
    stopping = EarlyStopping(99)
    how |= {"method": "l-bfgs", "bounds": (-1, 0.8), "callback": stopping}
    return functools.partial(gdopt.minimize, rosenbrock, x, **how), [stopping]


CASES = {
    run.__name__: run for run in (whole_problem, minibatches, network, line_search)
}


class Moments:
    """Counts calls, and does something at one of them."""

    def __init__(self, at=None, do=None):
        self._at, self._do = at, do
        self.count = 0
        self.of_files = {name: [] for name in OF_FILES}

    def __call__(self, frame, event, arg):
        self.count += 1
        name = arg.__name__ if event == "c_call" else ""
        if name in OF_FILES and not isinstance(arg.__self__, str):
            self.of_files[name].append(self.count)
        if self.count == self._at:
            self._do()


def outcome(case, folder, number=None, at=None):
    """Make a run, which is sent a signal at a moment; return what it has come to."""
    # Seconds pass where kills need checkpoints, and none where signals have to save.
    looks = itertools.count(step=number in (None, signal.SIGKILL))
    checkpoints.time = SimpleNamespace(monotonic=looks.__next__)
    how = {} if folder is None else {"checkpoint": folder, "checkpoint_seconds": 4}
    run, parts = CASES[case](**how)

    def end():
        done = parts[0].t * parts[0].accumulate if hasattr(parts[0], "t") else 0
        Path(f"{folder}.steps").write_text(str(done), encoding="ascii")
        os.kill(os.getpid(), number)

    moments = Moments(at, end)
    before = handlers()
    sys.setprofile(moments)
    try:
        result = run()
    except KeyboardInterrupt:
        sys.setprofile(None)
        return {"interrupted": handlers() == before}
    sys.setprofile(None)
    x = result.x
    history = {n: v for n, v in result.history.items() if n not in UNLIKE}
    return {
        "params": digest(dict(x.items()) if hasattr(x, "items") else x),
        "states": digest([without(part.state_dict()) for part in parts]),
        "history": digest(history),
        "result": [result.nit, result.nfev, result.fun, result.grad_norm],
        "reason": [result.reason, result.success],
        "calls": [moments.count, moments.of_files],
    }


def handlers():
    return [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def without(state):
    """Leave out what is not the same from run to run."""
    if isinstance(state, dict):
        return {n: without(part) for n, part in state.items() if n not in UNLIKE}
    return state


def digest(tree):
    """Return a hash of all bits in a tree."""
    if isinstance(tree, np.ndarray):
        return hashlib.sha256(tree.tobytes()).hexdigest()
    if isinstance(tree, dict):
        tree = [(name, digest(tree[name])) for name in sorted(tree)]
    elif isinstance(tree, list | tuple):
        tree = [digest(part) for part in tree]
    return hashlib.sha256(repr(tree).encode()).hexdigest()


def fork(*given):
    """Make a run in a process of its own; return how that ended, and the outcome."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        found = json.dumps(outcome(*given))
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(text) if text else {}


def end_runs(case, folder, count, number):
    """End runs of a case at random moments, half of them while a file is written."""
    folder.mkdir()
    outcome(case, str(folder / "first"))  # modules and caches are filled for all
    expected = fork(case, None)[1]
    whole = fork(case, str(folder / "whole"), number)[1]
    calls, of_files = whole.pop("calls")
    del expected["calls"]
    rng = np.random.default_rng([count, calls])
    names = itertools.islice(itertools.cycle(OF_FILES), count // 2)
    moments = [int(rng.choice(of_files[name])) for name in names]
    moments += [int(moment) for moment in rng.integers(1, calls, count - count // 2)]
    yield {"case": case, "at": 0, "differs": differences(expected, whole)}
    for k, at in enumerate(moments):
        place = folder / str(k)
        status, ended = fork(case, str(place), number, at)
        between = listed(place)
        found = fork(case, str(place))[1]
        del found["calls"]
        yield {
            "case": case,
            "at": at,
            "status": status,
            "interrupted": ended.get("interrupted"),
            "differs": differences(expected, found),
            "steps": int(Path(f"{place}.steps").read_text(encoding="ascii")),
            "saved": sorted(int(n[11:23]) for n in between if n.startswith("check")),
            "left": [name for name in between if name.startswith(".checkpoint-")],
            "then": listed(place),
        }


def listed(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def differences(expected, found):
    return [name for name in expected if expected[name] != found.get(name)]


if __name__ == "__main__":
    folder, what, *more = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if what not in CASES:
        number = signal.Signals[(more or ["SIGKILL"])[0]]
        for name in CASES:
            for line in end_runs(name, Path(folder, name), int(what), number):
                sys.stdout.write(json.dumps(line) + "\n")
    else:
        found = outcome(what, folder, signal.SIGKILL, *map(int, more))
        sys.stdout.write(json.dumps(found))
