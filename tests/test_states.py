"""A saved state with other keys is refused by whatever loads one; nothing changes."""

import copy
import signal
import sys

import numpy as np
import pytest
from scripted import begin, losses

import gdopt
from gdopt.arrays.numpy_ import NumpyBackend
from gdopt.data import augment, minibatches
from gdopt.nn import Network
from gdopt.optim.parameters import Parameters
from gdopt.training import resume
from gdopt.training.lbfgs import LINE_SEARCH_METHODS
from gdopt.training.loop import make_run
from gdopt.training.plateau import ReduceOnPlateau
from gdopt.training.records import History, Record
from gdopt.training.stopping import EarlyStopping


def average(value):
    mean = gdopt.EWA(0.5)
    mean.update(value)
    return mean


def normed(seed=0):
    network = Network((2, 4, 4, 2), seed=seed, batch_norm=True, backend="numpy")
    network.loss_and_grads(np.eye(2, dtype=np.float32) * (seed + 1), np.arange(2))
    return network


def stopping():
    made = begin(EarlyStopping(2), {"w": np.zeros(3)})
    losses(made, [0.5])
    return made


def history():
    made = History()
    made.append(Record(3, 1, 0.5, 0.6, lr=0.1, warning="the loss rose"))
    return made


def searching(name):
    w = np.ones(3)
    made = LINE_SEARCH_METHODS[name](Parameters.of(w))
    made.start(lambda: (w @ w, 2 * w))
    made.update(lambda: (w @ w, 2 * w))
    return made


class Resumed:
    """A run whose checkpoints are dictionaries."""

    path = "folder"

    def __init__(self):
        w = np.ones(3)
        stopping = EarlyStopping(2)
        self.run = make_run(
            lambda w: (w @ w, 2 * w), w, max_iter=9, lr=0.5, callback=stopping
        )
        stopping.begin(self.run)
        self.advance(1.0)

    def advance(self, value):
        run = self.run
        run.optimizer.step(np.full(3, value))
        run.callbacks[0](Record(run.step, 1, value, value))
        run.history.append(Record(run.step, 1, value, value))
        run.average.update(value)
        run.step += 1

    def state_dict(self):
        state = resume.with_evidence(self.run, resume.state_of(self.run))
        resume.put_back(self.run, state)
        return state

    def load_state_dict(self, state):
        self.load = lambda: state
        resume.resume(self.run, self)


WEIGHTS = {"W": (2, 3), "b": (3,)}


def ones():
    return {name: np.ones(shape) for name, shape in WEIGHTS.items()}


def stepped(make, *args, **options):
    opt = make(ones(), *args, **options)
    opt.step(ones())
    return opt


LOADERS = {
    "optimizer": lambda: gdopt.Adam({"W": np.zeros(3)}),
    "network": normed,
    "plain network": lambda: Network((2, 2), seed=0, backend="numpy"),
    "batches": lambda: minibatches(np.zeros(9), batch_size=3, seed=0),
    "augmentation": lambda: augment.Augment([augment.flip], seed=0),
    "average": lambda: average(3.0),
    "average of arrays": lambda: average(np.ones(3)),
    "stopping": stopping,
    "history": history,
    "plateau": ReduceOnPlateau,
    "l-bfgs": lambda: searching("l-bfgs"),
    "conjugate gradients": lambda: searching("cg"),
    "two arrays": lambda: stepped(gdopt.Adam, ema=0.9, lr=0.5),
    "accumulated": lambda: stepped(gdopt.SGD, 0.5, accumulate=3),
    "matrices": lambda: stepped(gdopt.Muon, 0.5, accumulate=2),
    "run": Resumed,
}


def places(state, path=()):
    """Return the path of every mapping in a state."""
    yield path
    for key, part in state.items():
        if isinstance(part, dict):
            yield from places(part, (*path, key))


def damaged(state):
    """Return states in which one mapping is none, lacks a key, or has one too many."""
    for path in places(state):
        found = state
        for key in path:
            found = found[key]
        others = [None, list(found), {**found, "more": 1}]
        others += [{k: v for k, v in found.items() if k != key} for key in found]
        for other in others:
            if not path:
                yield other
                continue
            changed = copy.deepcopy(state)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = other
            yield changed


@pytest.mark.parametrize("name", LOADERS)
def test_a_state_with_other_keys_is_refused_and_changes_nothing(name, numpy_engine):
    loader = LOADERS[name]()
    state = loader.state_dict()
    tried = list(damaged(state))[2 if name == "run" else 0 :]  # a file holds a mapping
    assert len(tried) > 3
    for other in tried:
        with pytest.raises(gdopt.StateError):
            loader.load_state_dict(other)
        assert repr(loader.state_dict()) == repr(state)
    loader.load_state_dict(state)


def leaves(state, path=()):
    """Return the path of every value in a state."""
    for key, part in state.items():
        if isinstance(part, dict):
            yield from leaves(part, (*path, key))
        else:
            yield (*path, key)


KINDS = {
    "text": "no",
    "bytes": b"no",
    "an object": object(),
    "a complex number": 1j,
    "a list": [1.0, 2.0],
    "a large number": 10**400,
    "masked": np.ma.masked_equal(np.ones(3), 1),
    "masked, of no dimension": np.ma.masked_equal(1.0, 1),
    "whole numbers": np.ones((2, 3), np.int8),
    "another width": np.ones(7),
    "text of no dimension": np.array("no"),
}
TEXTS = {"reason", "warning"}


def check_each_is_refused(loader, kind, paths):
    """Load states with one value of another kind each, which change nothing."""
    state = loader.state_dict()
    for path in filter(paths, leaves(state)):
        changed = inner = copy.deepcopy(state)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = KINDS[kind]
        with pytest.raises(gdopt.StateError):
            loader.load_state_dict(changed)
        assert repr(loader.state_dict()) == repr(state), path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in LOADERS if name != "run"])
def test_a_state_with_a_value_of_another_kind_is_refused(name, kind, numpy_engine):
    taken = TEXTS if kind == "text" else ()
    check_each_is_refused(LOADERS[name](), kind, lambda path: path[-1] not in taken)


PARTS = ("stops", "counters", "evaluations", "norm", "callbacks", "evidence")


@pytest.mark.parametrize("kind", ["an object", "another width", "bytes", "masked"])
def test_a_run_with_a_value_of_another_kind_is_refused(kind, numpy_engine):
    check_each_is_refused(LOADERS["run"](), kind, lambda path: path[0] in PARTS)


def test_numbers_of_a_state_may_be_arrays_of_no_dimension(numpy_engine):
    """As those that ``numpy.load`` reads."""
    for name in set(LOADERS) - {"run", "history"}:
        loader, _, last = pair(name)
        read = copy.deepcopy(last)
        for path in leaves(read):
            inner = read
            for key in path[:-1]:
                inner = inner[key]
            if isinstance(inner[path[-1]], int | float | bool):
                inner[path[-1]] = np.array(inner[path[-1]])
        loader.load_state_dict(read)
        assert repr(loader.state_dict()) == repr(last), name


def advance(loader):
    """Bring a loader to another state."""
    if isinstance(loader, gdopt.Optimizer):
        shapes = {name: array.shape for name, array in loader.params.items()}
        loader.step({name: np.full(shape, 2.0) for name, shape in shapes.items()})
        loader.hyper["lr"] = 0.25
    elif isinstance(loader, Network):
        loader.loss_and_grads(np.eye(2, dtype=np.float32), np.arange(2))
    elif isinstance(loader, gdopt.MiniBatches):
        next(iter(loader))
    elif isinstance(loader, augment.Augment):
        loader.calls += 1
    elif isinstance(loader, Resumed):
        loader.advance(0.5)
    elif isinstance(loader, gdopt.EWA):
        loader.update(loader.value * 2)
    elif isinstance(loader, EarlyStopping):
        loader._parameters.arrays["w"][...] = 7.0
        losses(loader, [0.25, 0.75])
    elif isinstance(loader, History):
        loader.append(Record(5, 2, 0.25, 0.5, lr=0.1, warning="it rose again"))
    elif isinstance(loader, ReduceOnPlateau):
        loader.best, loader.waited, loader.cooldown_left = 0.5, 2, 1
    else:
        w = np.full(3, 0.5)
        loader.update(lambda: ((w @ w), 2 * w))


def interrupted(number, call, files="gdopt/"):
    """Call with Ctrl-C at the start of one line of gdopt; return whether it came."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if files not in frame.f_code.co_filename:
            return None
        lines += event == "line"
        if event == "line" and lines == number:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    assert lines < number  # an interrupt is never lost
    return False


def pair(name):
    """Return a loader, its state, and a later one as text and to load."""
    loader, later = LOADERS[name](), LOADERS[name]()
    advance(later)
    first, last = loader.state_dict(), later.state_dict()
    assert repr(first) != repr(last)
    return loader, first, last


@pytest.mark.parametrize("name", LOADERS)
def test_a_load_with_ctrl_c_on_any_line_is_whole_or_none(name, numpy_engine):
    loader, first, last = pair(name)
    number, files = 1, "resume.py" if name == "run" else "gdopt/"  # of its own alone
    while interrupted(number, lambda: loader.load_state_dict(last), files):
        assert repr(loader.state_dict()) in (repr(first), repr(last)), number
        loader.load_state_dict(first)
        number += 1
    assert number > 5
    assert repr(loader.state_dict()) == repr(last)


@pytest.mark.parametrize("name", LOADERS)
def test_a_load_that_runs_out_of_memory_changes_nothing(
    name, numpy_engine, monkeypatch
):
    loader, first, last = pair(name)
    move, left = NumpyBackend.from_host, 0

    def moved(backend, *given, **device):
        nonlocal left
        left -= 1
        if left == 0:
            raise MemoryError
        return move(backend, *given, **device)

    monkeypatch.setattr(NumpyBackend, "from_host", moved)
    for number in range(1, 100):
        left = number
        try:
            loader.load_state_dict(last)
        except MemoryError:
            left = 0
            assert repr(loader.state_dict()) == repr(first), number
        else:
            break
    assert repr(loader.state_dict()) == repr(last)


def test_a_normalizer_is_not_made_of_other_keys():
    state = gdopt.Normalizer.fit(np.eye(3)).state_dict()
    for other in damaged(state):
        with pytest.raises(gdopt.StateError):
            gdopt.Normalizer.from_state_dict(other)


@pytest.mark.parametrize("value", [3.0, np.array([3.0, 4.0])])
def test_an_average_goes_on_where_its_state_was_taken(value):
    first, rest = average(value), average(7 * value)
    rest.load_state_dict(first.state_dict())
    expected = first.update(2 * value)
    assert np.array_equal(rest.update(2 * value), expected)
    assert rest.t == 2


@pytest.mark.parametrize(
    "change",
    [
        {"t": -1},
        {"t": True},
        {"t": 0},
        {"value": None},
        {"value": "3.0"},
        {"value": [3.0]},
        {"value": np.arange(3)},
        {"value": True},
    ],
)
def test_a_damaged_average_is_refused_and_changes_nothing(change):
    mean = average(3.0)
    with pytest.raises(gdopt.StateError):
        mean.load_state_dict(average(5.0).state_dict() | change)
    assert (mean.t, mean.value) == (1, 3.0)


@pytest.mark.parametrize(
    "value", [np.ones(3, np.float32), np.ones(4), 1.0, np.ones((4, 1), np.float32)]
)
@pytest.mark.parametrize(("layer", "name"), [("1", "mean"), ("2", "variance")])
def test_statistics_of_another_layer_are_refused_and_change_nothing(value, layer, name):
    network, state = normed(), normed(seed=1).state_dict()
    before = repr(network.state_dict())
    state["statistics"][layer][name]["value"] = value
    with pytest.raises(gdopt.StateError, match=f"statistics of layer {layer}, {name}"):
        network.load_state_dict(state)
    assert repr(network.state_dict()) == before
