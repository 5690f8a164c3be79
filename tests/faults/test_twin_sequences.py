"""Twins stay equal bit for bit, whatever one of them goes through between its steps."""

import copy
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from hypothesis_profiles import cases, given, strategies
from wrong_values import freeze

import gdopt

RULES = {  # few, as loops are compiled for each
    "sgd": (gdopt.SGD, {"clip_norm": 1.0}),
    "adam": (gdopt.Adam, {"ema": 0.5, "non_finite": "skip"}),
    "momentum": (gdopt.Momentum, {"accumulate": 2, "maximize": True}),
    "adamw": (gdopt.AdamW, {"lookahead": (2, 0.5), "bounds": (-1.0, 1.0)}),
    "rmsprop": (gdopt.RMSprop, {"loss_scale": "dynamic"}),
}
SHAPES = ((), (1,), (7,), (3, 5), (0, 2), (2, 3, 2), (17, 9))
RATES = (0.1, 0.0, gdopt.schedules.cosine(0.1, 0.0, steps=9), {"0": 0.5, "*": 0.1})


class HandlerError(Exception):
    """What the handler of a signal raises."""


class Signalling(dict):
    """Gradients whose reading is interrupted by a signal."""

    def __getitem__(self, name):
        signal.raise_signal(signal.SIGUSR1)
        return super().__getitem__(name)


class Twin:
    """An optimizer on one engine, of arrays in one layout."""

    def __init__(self, rule, arrays, engine, *, arena=False):
        self.rule, self.engine, self.arena, self.rate = rule, engine, arena, 0.1
        self.start({name: array.copy() for name, array in arrays.items()})

    def start(self, arrays):
        """Go on with a new optimizer of some arrays."""
        os.environ["GDOPT_CPU_ENGINE"] = self.engine
        kind, options = RULES[self.rule]
        params = gdopt.Arena.of(arrays) if self.arena else arrays
        self.optimizer = kind(params, self.rate, **options)

    def step(self, grads):
        os.environ["GDOPT_CPU_ENGINE"] = self.engine
        self.optimizer.step(grads)

    def set(self, rate):
        self.rate = self.optimizer.hyper["lr"] = rate

    def bits(self):
        """Return all bytes that a step may change, and the number of steps."""
        state = self.optimizer.state.values()
        arrays = [
            a for named in (self.optimizer.params, *state) for a in named.values()
        ]
        return self.optimizer.t, [np.array(array).tobytes() for array in arrays]


def saved(twin, grads, path):
    one = twin.optimizer
    gdopt.save(path, {"params": dict(one.params), "state": one.state_dict()})
    found = gdopt.load(path)
    twin.start(found["params"])
    twin.optimizer.load_state_dict(found["state"])
    twin.step(grads)


def reloaded(twin, grads, _):
    state, moved = twin.optimizer.state_dict(), dict(twin.optimizer.params)
    for array in state["state"].values():
        pickle.loads(pickle.dumps(array))  # noqa: S301 - our own
    twin.start({name: array.copy() for name, array in moved.items()})
    twin.optimizer.load_state_dict(copy.deepcopy(state))
    twin.step(grads)


def deepcopied(twin, grads, _):
    before = twin.optimizer
    twin.optimizer = copy.deepcopy(before)
    before.step(grads)
    twin.step(grads)


def pickled(twin, grads, _):
    twin.optimizer = pickle.loads(pickle.dumps(twin.optimizer))  # noqa: S301 - our own
    twin.step(grads)


def threaded(twin, grads, _):
    thread = threading.Thread(target=twin.step, args=(grads,))
    thread.start()
    thread.join()


def refused(twin, grads, _):
    wrong = {name: np.zeros((9, 9, 9)) for name in grads}
    for bad in (wrong, None, {}, {**grads, "0": "no"}):
        with pytest.raises(gdopt.GdoptError):
            twin.step(bad)
    with pytest.raises(gdopt.GdoptError):
        twin.optimizer.load_state_dict({**twin.optimizer.state_dict(), "t": -1})
    twin.step(grads)


def signalled(twin, grads, _):
    def handler(*_):
        raise HandlerError

    before = freeze(twin.optimizer)
    kept = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(HandlerError):
            twin.step(Signalling(grads))
    finally:
        signal.signal(signal.SIGUSR1, kept)
    if freeze(twin.optimizer) == before:
        twin.step(grads)


DEEDS = (saved, reloaded, deepcopied, pickled, threaded, refused, signalled)
STEPS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from((*DEEDS, None)),
        strategies.sampled_from((None, None, None, *RATES)),
    ),
    min_size=3,
    max_size=8,
)


@pytest.mark.filterwarnings("ignore:lr was a schedule")
@cases(1 / 3)
@given(
    rule=strategies.sampled_from(sorted(RULES)),
    dtypes=strategies.lists(
        strategies.sampled_from(("float32", "float64")), min_size=1, max_size=3
    ),
    shapes=strategies.lists(strategies.sampled_from(SHAPES), min_size=3, max_size=3),
    engine=strategies.sampled_from(("numpy", "numba")),
    arena=strategies.booleans(),
    steps=STEPS,
    seed=strategies.integers(0, 2**32 - 1),
)
def test_twins_stay_equal(  # noqa: PLR0917 - drawn by name
    rule, dtypes, shapes, engine, arena, steps, seed
):
    generator = np.random.default_rng(seed)

    def drawn(name):
        array = generator.standard_normal(shapes[name]) * 10.0 ** generator.integers(3)
        return np.asarray(array, dtypes[name])

    names = range(len(dtypes))
    arrays = {str(name): drawn(name) for name in names}
    plain = Twin(rule, arrays, "numpy")
    other = Twin(rule, arrays, engine, arena=arena)
    for deed, rate in steps:
        grads = {str(name): drawn(name) for name in names}
        if rate is not None:
            plain.set(rate)
            other.set(rate)
        plain.step(grads)
        if deed is None:
            other.step(grads)
        else:
            deed(other, grads, "twin.npz")
        assert plain.bits() == other.bits()


@pytest.fixture(autouse=True, scope="module")
def own_folder(tmp_path_factory):
    """Work in a folder of its own, and restore the engine."""
    pytest.importorskip("numba", exc_type=ImportError)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("twins"))
        patch.setenv("GDOPT_CPU_ENGINE", "numpy")
        yield
