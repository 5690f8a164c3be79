"""gdopt: each engine of the CPU or CuPy, the built-in rules and a user's own Adam."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import itertools
import os

import numpy as np
from cases import HYPER, LIMITS, Case, Training

import gdopt
from adapters import Contender, UnsupportedError
from adapters.arrays import host, library, place, waiting
from gdopt.nn import Network

KINDS = {
    "sgd": gdopt.SGD,
    "momentum": functools.partial(gdopt.Momentum, form="heavy_ball"),
    "rmsprop": gdopt.RMSprop,
    "adam": gdopt.Adam,
    "adamw": gdopt.AdamW,
}
FUNCTIONS = gdopt if hasattr(gdopt, "sqrt") else np  # an earlier gdopt has its own
RATES = (1e-3, np.nextafter(1e-3, 1))  # differ, but not in what `check` compares
ARENAS = {"arena", "copied"}
TWENTIETHS = 20
COPIES = 4  # sets of gradients that take turns where they are fresh at every step


def own_adam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Update as a user would write it, by the formula of the paper's section 2."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    correction = (1 - beta2**t) ** 0.5
    rate = lr * correction / (1 - beta1**t)
    return p - rate * m / (FUNCTIONS.sqrt(v) + eps * correction), m, v


def minimum(p, g):
    return FUNCTIONS.minimum(p, g)


def maximum(p, g):
    return FUNCTIONS.maximum(p, g)


def clip(p):
    return FUNCTIONS.minimum(FUNCTIONS.maximum(p, LIMITS[0]), LIMITS[1])


KERNELS = {f.__name__: f for f in (minimum, maximum, clip)}


def optimizer(rule: str, params, *, own: bool, **options):
    if own:
        return gdopt.Optimizer(params, rule=own_adam, **HYPER[rule], **options)
    return KINDS[rule](params, **HYPER[rule], **options)


@contextlib.contextmanager
def engine(form: str):
    before = os.environ.get("GDOPT_CPU_ENGINE")
    os.environ["GDOPT_CPU_ENGINE"], *_ = form.split()
    try:
        yield
    finally:
        del os.environ["GDOPT_CPU_ENGINE"]
        if before is not None:
            os.environ["GDOPT_CPU_ENGINE"] = before


def contender(form: str, device: str, step, values, **more) -> Contender:
    if device == "cpu":
        more["setting"] = functools.partial(engine, form)
    return Contender(step, lambda: host(values()), wait=waiting(device), **more)


def make(form: str, case: Case, device: str) -> Contender:
    """Hold the arrays as the case says."""
    own = case.own or form.endswith("own")
    if own and case.rule != "adam":
        message = "the rule of one's own is a copy of Adam"
        raise UnsupportedError(message)
    with engine(form) if device == "cpu" else contextlib.nullcontext():
        if case.rule == "ewa":
            step, values, feed = average(case, device)
        elif case.rule in KERNELS:
            step, values, feed = elementwise(case, device)
        else:
            bind = in_arena if case.memory in ARENAS else apart
            bind = of_torch if case.memory == "torch" else bind
            bind = of_rows if form.endswith("rows") else bind
            step, values, feed = bind(case, device, own=own)
    return contender(form, device, step, values, feed=feed)


def named(arrays, case: Case, device: str):
    placed = place(arrays, device, case.dtype)
    return {f"p{k}": array for k, array in enumerate(placed)}


def apart(case: Case, device: str, *, own: bool):
    held = named(case.params(), case, device)
    copies = COPIES if case.memory == "fresh" else 1
    sets = [named(case.gradients(), case, device) for _ in range(copies)]
    params, turns = held, itertools.cycle(sets)
    if case.memory == "array":
        params, turns = held["p0"], itertools.repeat(sets[0]["p0"])
    descent = optimizer(case.rule, params, own=own, **case.options)
    update, rates = descent.step, itertools.cycle(RATES)

    def feed(arrays):
        for grads in sets:
            for name, array in named(arrays, case, device).items():
                grads[name][...] = array

    def step_at_a_rate():
        descent.hyper["lr"] = next(rates)
        update(next(turns))

    step = step_at_a_rate if case.sets_lr else lambda: update(next(turns))
    return step, held.values, feed


def in_arena(case: Case, device: str, *, own: bool):
    params = gdopt.Arena.of(named(case.params(), case, device))
    grads, held = params.like(), {}
    update = optimizer(case.rule, params, own=own, **case.options).step

    def copy():
        for name, array in held.items():
            grads[name] = array

    def feed(arrays):
        held.update(named(arrays, case, device))
        copy()

    def step():
        if case.memory == "copied":
            copy()
        update(grads)

    feed(case.gradients())
    return step, params.values, feed


def of_rows(case: Case, device: str, *, own: bool):
    """Update a twentieth of the rows, in random order: other ones in every step."""
    (p,), (g,) = place(case.params(), device), place(case.gradients(), device)
    count = len(p) // TWENTIETHS
    order = np.random.default_rng(0).permutation(count * TWENTIETHS)
    turns = itertools.cycle(np.split(order, TWENTIETHS))
    update = optimizer(case.rule, p, own=own, **case.options).step

    def feed(arrays):
        (g[...],) = place(arrays, device)

    return lambda: update(g[:count], at=next(turns)), lambda: [p], feed


def of_torch(case: Case, device: str, *, own: bool):
    if device != "cpu" or importlib.util.find_spec("torch") is None:
        message = "needs torch, on the CPU"
        raise UnsupportedError(message)
    import torch  # noqa: PLC0415 - as other cases do without

    params = [torch.nn.Parameter(torch.tensor(array)) for array in case.params()]

    def feed(arrays):
        for p, array in zip(params, arrays, strict=True):
            p.grad = torch.tensor(array)

    feed(case.gradients())
    descent = optimizer(case.rule, params, own=own, **case.options)
    return descent.step, lambda: [p.detach().numpy() for p in params], feed


def average(case: Case, device: str):
    (x,) = place(case.gradients(), device)

    def feed(arrays):
        (x[...],) = place(arrays, device)

    if device == "cpu":
        mean = gdopt.EWA(**HYPER["ewa"], bias_correction=False)
        own = {}
        if takes(mean.update, "out"):
            own["out"] = np.empty_like(x)
        return lambda: mean.update(x, **own), lambda: [mean.value], feed
    # The kernel that gdopt.EWA runs, without the copy that it returns.
    kernel = gdopt.Kernel(gdopt.averages.average)
    running = library(device).zeros_like(x)
    return lambda: kernel(running, x, **HYPER["ewa"]), lambda: [running], feed


def elementwise(case: Case, device: str):
    kernel, single = gdopt.Kernel(KERNELS[case.rule]), case.rule == "clip"
    (p,), (g,) = place(case.params(), device), place(case.gradients(), device)

    def feed(arrays):
        (g[...],) = place(arrays, device)

    return (lambda: kernel(p)) if single else (lambda: kernel(p, g)), lambda: [p], feed


def takes(function, keyword: str) -> bool:
    """Return whether a function has a keyword, which an earlier gdopt may lack."""
    return keyword in inspect.signature(function).parameters


def train(form: str, training: Training, device: str) -> Contender:
    """Train a `gdopt.nn.Network`, whose labels were checked beforehand."""
    xp = library(device)
    backend = "numpy" if device == "cpu" else "cupy"
    network = Network(training.sizes, seed=0, backend=backend)
    for name, array in zip(network.params, training.params(), strict=True):
        network.params[name] = xp.asarray(array)
    descent = optimizer("adam", network.params, own=form.endswith("own"))
    X, y = map(xp.asarray, training.examples())
    network.check_data(X, y)
    new = takes(network.loss_and_grads, "validate")
    unchecked = {"validate": False} if new else {"checked": True}

    def step():
        x, labels = next(batches)
        _, grads = network.loss_and_grads(x, labels, **unchecked)
        descent.step(grads)

    if device == "cpu":
        batches = itertools.cycle(training.data())
    else:  # gathered anew, as its users take them
        shuffled = gdopt.minibatches(X, y, batch_size=training.batch, seed=0)
        batches = itertools.chain.from_iterable(itertools.repeat(shuffled))
        if training.captured:
            step = captured(network, descent, shuffled)
    return contender(form, device, step, network.params.values)


def captured(network, descent, batches):
    """Return a step that is a CUDA graph."""
    graph = gdopt.training.TrainingGraph(network, descent, batches)
    epochs = (batches.positions() for _ in itertools.count())
    numbers = itertools.chain.from_iterable(epochs)
    return lambda: graph.run(*next(numbers))
