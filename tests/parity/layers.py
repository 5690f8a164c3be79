"""Rules that depend on whole arrays: LARS, LAMB and Adafactor, on arrays at a time."""

import numpy as np

import gdopt
from parity.case import Case


def length(x):
    return float(np.sqrt((np.asarray(x) ** 2).sum()))


def rms(x):
    return float(np.sqrt((np.asarray(x) ** 2).mean()))


def lars(
    p, g, state, *, lr, beta, weight_decay, trust_coefficient, eps, trust_ratio, **_
):
    update = g + weight_decay * p
    size, divisor = length(g), length(g) + weight_decay * length(p)
    if trust_ratio == "update":
        size = divisor = length(update)
    rate = lr
    if length(p) > 0 and size > 0:
        rate = lr * trust_coefficient * length(p) / (divisor + eps)
    state["m"] = beta * state.get("m", 0.0) + rate * update
    return p - state["m"]


def lamb(p, g, state, *, lr, beta1, beta2, eps, weight_decay, t):
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    r = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    update = r + weight_decay * p
    phi, size = length(p), length(update)
    return p - lr * (phi / size if phi > 0 and size > 0 else 1.0) * update


def adafactor(
    p,
    g,
    state,
    *,
    lr,
    beta2_decay,
    eps1,
    eps2,
    d,
    weight_decay,
    t,
    relative_step=True,
    form="torch",
):
    beta2 = 1 - t**beta2_decay
    square = g**2 + (eps1 if form == "keras" else 0.0)
    if p.ndim == 2:
        r, c = square.mean(axis=1), square.mean(axis=0)
        r = state["r"] = beta2 * state.get("r", 0.0) + (1 - beta2) * r
        c = state["c"] = beta2 * state.get("c", 0.0) + (1 - beta2) * c
        least = eps1 if form == "torch" else 0.0
        v = np.outer(r, c) / max(r.mean(), least)
    else:
        v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * square
    if form == "torch":
        v = np.maximum(v, eps1**2)
    update = g / np.sqrt(v)
    update = update / max(1.0, rms(update) / d)
    rate = min(lr, 1 / np.sqrt(t)) if relative_step else lr
    return p - lr * weight_decay * p - max(eps2, rms(p)) * rate * update


LARS = {"lr": 0.02, "beta": 0.9, "weight_decay": 0.1, "trust_coefficient": 0.1}
LAMB = {"lr": 0.02, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
FACTOR = {"lr": 0.02, "beta2_decay": -0.8, "eps1": 1e-4, "eps2": 1e-3, "d": 1.0}
ROWS = (
    Case(
        "lars",
        gdopt.LARS,
        lars,
        {**LARS, "eps": 1e-9},
        {"trust_ratio": "separate"},
        whole=True,
    ),
    Case(
        "lars without decay",
        gdopt.LARS,
        lars,
        {**LARS, "weight_decay": 0.0, "eps": 0.0},
        {"trust_ratio": "separate"},
        optax=lambda o, h: o.lars(
            h["lr"], 0.0, trust_coefficient=h["trust_coefficient"], momentum=h["beta"]
        ),
        whole=True,
    ),
    Case(
        "lars of the update",
        gdopt.LARS,
        lars,
        {**LARS, "eps": 1e-9},
        {"trust_ratio": "update"},
        optax=lambda o, h: o.lars(
            h["lr"],
            h["weight_decay"],
            trust_coefficient=h["trust_coefficient"],
            eps=h["eps"],
            momentum=h["beta"],
        ),
        whole=True,
    ),
    Case(
        "lamb",
        gdopt.LAMB,
        lamb,
        LAMB,
        optax=lambda o, h: o.lamb(
            h["lr"],
            h["beta1"],
            h["beta2"],
            h["eps"],
            weight_decay=h["weight_decay"],
        ),
        whole=True,
    ),
    Case(
        "lamb without decay",
        gdopt.LAMB,
        lamb,
        {**LAMB, "weight_decay": 0.0},
        keras=lambda o, h: o.Lamb(h["lr"], h["beta1"], h["beta2"], h["eps"]),
        whole=True,
    ),
    Case(
        "adafactor",
        gdopt.Adafactor,
        adafactor,
        {**FACTOR, "weight_decay": 0.1},
        torch=lambda o, p, h: o.Adafactor(
            p,
            h["lr"],
            h["beta2_decay"],
            (h["eps1"], h["eps2"]),
            h["d"],
            h["weight_decay"],
        ),
        whole=True,
    ),
    Case(
        "adafactor absolute",
        gdopt.Adafactor,
        adafactor,
        {**FACTOR, "weight_decay": 0.1},
        {"relative_step": False},
        whole=True,
    ),
    Case(
        "adafactor of Keras",
        gdopt.Adafactor,
        adafactor,
        {**FACTOR, "weight_decay": 0.0},
        {"form": "keras"},
        keras=lambda o, h: o.Adafactor(
            h["lr"], h["beta2_decay"], h["eps1"], h["eps2"], h["d"]
        ),
        bounds={"keras": 1e-7},  # its means
        whole=True,
    ),
    Case(
        "adafactor of optax",
        gdopt.Adafactor,
        adafactor,
        {**FACTOR, "weight_decay": 0.0},
        {"form": "keras", "relative_step": False},
        optax=lambda o, h: o.adafactor(
            h["lr"], 1, -h["beta2_decay"], clipping_threshold=h["d"], eps=h["eps1"]
        ),
        bounds={"optax": 1e-7},  # its t^beta2_decay
        whole=True,
    ),
)
