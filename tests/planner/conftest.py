"""What the planner's tests share: a step by hand, quick plans, and a fake clock."""

import hashlib
import random
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.planner import NetworkStep, throughput
from gdopt.planner.memory.host import HostMemory


def digest(*things):
    """Hash arrays, optimizers, generators and samplers, and the global generators."""
    found = hashlib.sha256()
    for thing in things:
        if isinstance(thing, np.ndarray):
            found.update(thing.tobytes())
        elif isinstance(thing, gdopt.Optimizer):
            parts = [*thing.params.values(), thing.t, repr(thing.hyper.settings)]
            for arena in thing.state_arenas.values():
                parts += arena.buffers.values()
            found.update(digest(*parts).encode())
        elif isinstance(thing, np.random.Generator):
            found.update(repr(thing.bit_generator.state).encode())
        elif isinstance(thing, gdopt.MiniBatches):
            found.update(repr(thing.state_dict()).encode())
        else:
            found.update(repr(thing).encode())
    found.update(repr(random.getstate()).encode())
    found.update(np.random.get_state()[1].tobytes())  # noqa: NPY002
    return found.hexdigest()


@pytest.fixture
def hashed():
    """Return ``hashed(*things)``: a hash of all that must not move."""
    return digest


@pytest.fixture
def work(numpy_engine):
    """Return a step by hand, softmax regression with a hidden layer, and its state."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 40))
    y = rng.integers(0, 5, 3000)
    params = {"W": rng.standard_normal((40, 30)) / 6, "V": np.zeros((30, 5))}
    optimizer = gdopt.Adam(params)
    noise = np.random.default_rng(3)
    batches = gdopt.minibatches(X, y, batch_size=100, seed=0)
    next(iter(batches))  # in midst of an epoch
    sizes = []

    def gradient(x, labels):
        hidden = np.maximum(x @ params["W"], 0)
        scores = np.exp(hidden @ params["V"])
        scores /= scores.sum(axis=1, keepdims=True)
        scores[np.arange(len(x)), labels] -= 1
        scores /= len(x)
        back = (scores @ params["V"].T) * (hidden > 0)
        return {"W": x.T @ back, "V": hidden.T @ scores}

    def step(x, labels):
        sizes.append(len(x))
        grads = gradient(x + noise.normal(size=x.shape), labels)
        optimizer.step(grads)
        random.random()  # noqa: S311 - a global generator that must come back
        next(iter(batches))

    state = {"optimizer": optimizer, "noise": noise, "batches": batches}
    things = (optimizer, noise, batches)
    return SimpleNamespace(
        step=step,
        data=(X, y),
        state=state,
        things=things,
        gradient=gradient,
        sizes=sizes,
        optimizer=optimizer,
        params=params,
    )


@pytest.fixture
def quick(monkeypatch):
    """Return ``quick(...)``: a plan of few and short rounds, for sizes from 64 up."""
    monkeypatch.setattr(throughput, "SECONDS", 1e-4)
    monkeypatch.setattr(throughput, "ATTEMPTS", 1)

    def plan(step, data, state=None, **options):
        usual = {"repeats": 2, "sizes": (64, 128, 256, 512, 1024)}
        return gdopt.plan_batch_size(step, data, state, **usual | options)

    return plan


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that a step moves: ``clock.now += seconds``."""
    made = SimpleNamespace(now=0.0)

    def time(self, timed):
        before = made.now
        timed()
        return made.now - before

    monkeypatch.setattr(HostMemory, "time", time)
    return made


@pytest.fixture
def free(monkeypatch):
    """Return ``free.bytes``: what the machine says is free."""
    made = SimpleNamespace(bytes=1 << 40)
    monkeypatch.setattr(HostMemory, "free", lambda _: made.bytes)
    return made


@pytest.fixture
def small():
    """Return ``small(count)``: a network's step, and `count` examples."""

    def make(count, features=10, **options):
        network = gdopt.nn.Network((features, 16, 3), seed=0, backend="numpy")
        rng = np.random.default_rng(0)
        X = rng.standard_normal((count, features), dtype=np.float32) + 1
        data = X, rng.integers(0, 3, count)
        return NetworkStep(network, gdopt.Adam(network.params), **options), data

    return make
