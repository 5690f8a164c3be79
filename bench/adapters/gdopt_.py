"""gdopt: each engine of the CPU, the built-in rules and a user's own copy of Adam."""

from __future__ import annotations

import contextlib
import itertools
import os

import numpy as np
from cases import HYPER, Case, Training

import gdopt
from adapters import Contender, UnsupportedError
from gdopt.nn import Network

ARENAS = {"arena", "copied"}
COPIES = 4  # sets of gradients that take turns where they are fresh at every step


def own_adam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Update as a user would write it, by the formula of the paper's section 2."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    correction = gdopt.sqrt(1 - beta2**t)
    rate = lr * correction / (1 - beta1**t)
    return p - rate * m / (gdopt.sqrt(v) + eps * correction), m, v


def optimizer(form: str, rule: str, params):
    hyper = HYPER[rule]
    if form.endswith("own"):
        if rule != "adam":
            message = "the rule of one's own is a copy of Adam"
            raise UnsupportedError(message)
        return gdopt.Optimizer(params, rule=own_adam, **hyper)
    if rule == "momentum":
        return gdopt.Momentum(params, form="heavy_ball", **hyper)
    classes = {
        "sgd": gdopt.SGD,
        "rmsprop": gdopt.RMSprop,
        "adam": gdopt.Adam,
        "adamw": gdopt.AdamW,
    }
    return classes[rule](params, **hyper)


def engine(form: str):
    @contextlib.contextmanager
    def setting():
        before = os.environ.get("GDOPT_CPU_ENGINE")
        os.environ["GDOPT_CPU_ENGINE"] = form.removesuffix(" own")
        try:
            yield
        finally:
            del os.environ["GDOPT_CPU_ENGINE"]
            if before is not None:
                os.environ["GDOPT_CPU_ENGINE"] = before

    return setting


def make(form: str, case: Case) -> Contender:
    """Hold the arrays as the case says."""
    if case.rule == "ewa":
        return average(form, case)
    return in_arena(form, case) if case.memory in ARENAS else apart(form, case)


def named(arrays):
    return {f"p{k}": array.copy() for k, array in enumerate(arrays)}


def apart(form: str, case: Case) -> Contender:
    held = named(case.params())
    copies = COPIES if case.memory == "fresh" else 1
    sets = [named(case.gradients()) for _ in range(copies)]
    params, turns = held, itertools.cycle(sets)
    if case.memory == "array":
        params, turns = held["p0"], itertools.repeat(sets[0]["p0"])
    update = optimizer(form, case.rule, params).step

    def feed(arrays):
        for grads in sets:
            for mine, array in zip(grads.values(), arrays, strict=True):
                mine[...] = array

    return Contender(
        lambda: update(next(turns)), lambda: list(held.values()), feed, engine(form)
    )


def in_arena(form: str, case: Case) -> Contender:
    params = gdopt.Arena.of(named(case.params()))
    grads, own = params.like(), named(case.gradients())
    update = optimizer(form, case.rule, params).step

    def copy():
        for name, array in own.items():
            grads[name] = array

    def feed(arrays):
        own.update(named(arrays))
        copy()

    def step():
        if case.memory == "copied":
            copy()
        update(grads)

    copy()
    return Contender(step, lambda: list(params.values()), feed, engine(form))


def average(form: str, case: Case) -> Contender:
    if form.endswith("own"):
        message = "the rule of one's own is a copy of Adam"
        raise UnsupportedError(message)
    (x,) = (array.copy() for array in case.gradients())
    mean = gdopt.EWA(**HYPER["ewa"], bias_correction=False)

    def feed(arrays):
        x[...] = arrays[0]

    return Contender(lambda: mean.update(x), lambda: [mean.value], feed, engine(form))


def train(form: str, training: Training) -> Contender:
    """Train a `gdopt.nn.Network`, whose labels were checked beforehand."""
    network = Network(training.sizes, seed=0, backend="numpy")
    for name, array in zip(network.params, training.params(), strict=True):
        network.params[name] = array
    descent = optimizer(form, "adam", network.params)
    data = training.data()
    network.check_data(*map(np.concatenate, zip(*data, strict=True)))
    batches = itertools.cycle(data)

    def step():
        x, y = next(batches)
        _, grads = network.loss_and_grads(x, y, checked=True)
        descent.step(grads)

    return Contender(step, lambda: list(network.params.values()), setting=engine(form))
