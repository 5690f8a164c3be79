"""Schedule-free descent: by the three sequences of its paper, one number at a time."""

from math import sqrt

import gdopt
from parity.case import Case


def three_sequences(p, state, direction, *, lr, beta):
    """Keep x and z apart, of which p is a mixture."""
    x, z = state.get("x", p), state.get("z", p)
    largest = state["largest"] = max(lr, state.get("largest", 0.0))
    weights = state["weights"] = state.get("weights", 0.0) + largest**2
    c = largest**2 / weights if weights else 0.0
    z = state["z"] = z - lr * direction
    x = state["x"] = (1 - c) * x + c * z
    return beta * x + (1 - beta) * z


def schedule_free_sgd(p, g, state, *, lr, beta, weight_decay, t):
    return three_sequences(p, state, g + weight_decay * p, lr=lr, beta=beta)


def schedule_free_adamw(p, g, state, *, lr, beta1, beta2, eps, weight_decay, t):
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    direction = g / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
    return three_sequences(p, state, direction, lr=lr, beta=beta1)


ROWS = (
    Case(
        "schedule-free sgd",
        gdopt.ScheduleFreeSGD,
        schedule_free_sgd,
        {"lr": 0.02, "beta": 0.9, "weight_decay": 0.1},
        optax=lambda o, h: o.contrib.schedule_free_sgd(
            h["lr"], b1=h["beta"], weight_decay=h["weight_decay"]
        ),
        fixed=("optax",),
    ),
    Case(
        "schedule-free adamw",
        gdopt.ScheduleFreeAdamW,
        schedule_free_adamw,
        {"lr": 0.02, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1},
        optax=lambda o, h: o.contrib.schedule_free_adamw(
            h["lr"],
            b1=h["beta1"],
            b2=h["beta2"],
            eps=h["eps"],
            weight_decay=h["weight_decay"],
        ),
        fixed=("optax",),
    ),
)
