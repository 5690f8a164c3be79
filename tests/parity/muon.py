"""Muon, of whole matrices; the textbook works on their singular values."""

import numpy as np

import gdopt
from parity.case import Case

RATIOS = {
    "columns": lambda rows, columns: np.sqrt(max(1, columns / rows)),
    "rows": lambda rows, columns: np.sqrt(max(1, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * np.sqrt(max(rows, columns)),
    "none": lambda rows, columns: 1.0,
}


def muon(
    p,
    g,
    state,
    *,
    lr,
    momentum,
    weight_decay,
    eps,
    t,
    nesterov=True,
    bias_correction=False,
    ns_coefficients=(3.4445, -4.7750, 2.0315),
    ns_steps=5,
    adjust_lr="columns",
):
    m = state["m"] = momentum * state.get("m", 0.0) + (1 - momentum) * g
    now, later = (
        (1 - momentum**t, 1 - momentum ** (t + 1)) if bias_correction else (1, 1)
    )
    u = momentum * m / later + (1 - momentum) * g / now if nesterov else m
    left, values, right = np.linalg.svd(u, full_matrices=False)
    values = values / (np.sqrt((values**2).sum()) + eps)
    a, b, c = ns_coefficients
    for _ in range(ns_steps):
        values = a * values + b * values**3 + c * values**5
    step = RATIOS[adjust_lr](*p.shape) * (left * values) @ right
    return p - lr * (step + weight_decay * p)


def of_optax(**choices):
    return lambda o, h: o.contrib.muon(
        h["lr"],
        beta=h["momentum"],
        eps=h["eps"],
        weight_decay=h["weight_decay"],
        **choices,
    )


def of_torch(**choices):
    return lambda o, p, h: o.Muon(
        p, h["lr"], h["weight_decay"], h["momentum"], eps=h["eps"], **choices
    )


def of_keras(**choices):
    return lambda o, h: o.Muon(
        h["lr"], momentum=h["momentum"], weight_decay=h["weight_decay"], **choices
    )


HYPER = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "eps": 1e-3}
# Keras' mean is 1 / (1 - momentum) times as long, and its eps 1e-7.
KERAS = {**HYPER, "eps": 1e-7 * (1 - HYPER["momentum"])}
ROWS = (
    Case(
        "muon corrected",
        gdopt.Muon,
        muon,
        HYPER,
        {"bias_correction": True},
        optax=of_optax(),
    ),
    Case(
        "muon for rates of adamw",
        gdopt.Muon,
        muon,
        HYPER,
        {"bias_correction": True, "adjust_lr": "match_rms_adamw"},
        optax=of_optax(consistent_rms=0.2),
    ),
    Case(
        "muon with other coefficients",
        gdopt.Muon,
        muon,
        HYPER,
        {"bias_correction": True, "ns_coefficients": (2, -1.5, 0.5), "ns_steps": 7},
        optax=of_optax(ns_coeffs=(2, -1.5, 0.5), ns_steps=7),
    ),
    Case(
        "muon of the mean",
        gdopt.Muon,
        muon,
        {**HYPER, "eps": 1e-20},
        {"nesterov": False},
        optax=of_optax(nesterov=False),
    ),
    Case(
        "muon of the mean of rows",
        gdopt.Muon,
        muon,
        {**HYPER, "eps": 1e-7},
        {"nesterov": False, "adjust_lr": "rows"},
        torch=of_torch(nesterov=False),
    ),
    Case(
        "muon of rows",
        gdopt.Muon,
        muon,
        {**HYPER, "eps": 1e-7},
        {"adjust_lr": "rows"},
        torch=of_torch(),
    ),
    Case(
        "muon as in keras",
        gdopt.Muon,
        muon,
        KERAS,
        {"adjust_lr": "match_rms_adamw"},
        torch=of_torch(adjust_lr_fn="match_rms_adamw"),
        keras=of_keras(),
    ),
    Case(
        "muon as in keras without a ratio",
        gdopt.Muon,
        muon,
        KERAS,
        {"adjust_lr": "none"},
        keras=of_keras(rms_rate=None),
    ),
)
