"""Plain NumPy or CuPy, as the formulas stand in a textbook: an array an operation."""

from __future__ import annotations

import itertools

import numpy as np
from cases import HYPER, LIMITS, Case, Training

from adapters import Contender
from adapters.arrays import host, library, place, waiting


def sgd(p, g, _state, _t, *, lr):
    p -= lr * g


def momentum(p, g, state, _t, *, lr, beta):
    state["v"] = beta * state["v"] + g
    p -= lr * state["v"]


def rmsprop(p, g, state, _t, *, lr, beta, eps):
    state["v"] = beta * state["v"] + (1 - beta) * g**2
    p -= lr * g / (np.sqrt(state["v"]) + eps)


def adam(p, g, state, t, *, lr, beta1, beta2, eps):
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    mean, square = state["m"] / (1 - beta1**t), state["v"] / (1 - beta2**t)
    p -= lr * mean / (np.sqrt(square) + eps)


def adamw(p, g, state, t, *, lr, weight_decay, **others):
    p *= 1 - lr * weight_decay
    adam(p, g, state, t, lr=lr, **others)


def ewa(_p, g, state, _t, *, beta):
    state["v"] = beta * state["v"] + (1 - beta) * g


def minimum(p, g, _state, _t):
    np.minimum(p, g, out=p)


def maximum(p, g, _state, _t):
    np.maximum(p, g, out=p)


def clip(p, _g, _state, _t):
    np.clip(p, *LIMITS, out=p)


FORMULAS = {f.__name__: f for f in (sgd, momentum, rmsprop, adam, adamw, ewa)}
FORMULAS |= {f.__name__: f for f in (minimum, maximum, clip)}


def make(_form: str, case: Case, device: str) -> Contender:
    """Keep arrays apart, and state in a dictionary for each."""
    xp = library(device)
    params, grads = place(case.params(), device), place(case.gradients(), device)
    states = [{"m": xp.zeros_like(p), "v": xp.zeros_like(p)} for p in params]
    formula, count = FORMULAS[case.rule], itertools.count(1)
    hyper = HYPER.get(case.rule, {})
    limit = case.options.get("clip_norm")

    def clipped():
        norm = xp.sqrt(sum((g * g).sum() for g in grads))
        scale = xp.minimum(1.0, limit / norm).astype(np.float32)
        return [g * scale for g in grads]

    def step():
        t, used = next(count), grads if limit is None else clipped()
        for p, g, state in zip(params, used, states, strict=True):
            formula(p, g, state, t, **hyper)

    def values():
        return host([s["v"] for s in states] if case.rule == "ewa" else params)

    def feed(arrays):
        grads[:] = place(arrays, device)

    return Contender(step, values, feed, wait=waiting(device))


def train(_form: str, training: Training, device: str) -> Contender:
    """Run forward, backward and Adam by hand."""
    xp = library(device)
    params = place(training.params(), device)
    states = [{"m": xp.zeros_like(p), "v": xp.zeros_like(p)} for p in params]
    data = [tuple(map(xp.asarray, batch)) for batch in training.data()]
    batches, count = itertools.cycle(data), itertools.count(1)

    def gradients(x, y):
        inputs, layers = [x], list(zip(params[::2], params[1::2], strict=True))
        for W, b in layers[:-1]:
            inputs.append(xp.maximum(inputs[-1] @ W + b, 0))
        logits = inputs[-1] @ params[-2] + params[-1]
        d = xp.exp(logits - logits.max(axis=1, keepdims=True))
        d /= d.sum(axis=1, keepdims=True)
        d[xp.arange(len(y)), y] -= 1
        d /= len(y)
        found = []
        for a, (W, _) in zip(reversed(inputs), reversed(layers), strict=True):
            found += [d.sum(axis=0), a.T @ d]
            d = (d @ W.T) * (a > 0)
        return reversed(found)

    def step():
        t, grads = next(count), gradients(*next(batches))
        for p, g, state in zip(params, grads, states, strict=True):
            adam(p, g, state, t, **HYPER["adam"])

    return Contender(step, lambda: host(params), wait=waiting(device))
