"""Steps of which the gradients give the sign, but not the size."""

import gdopt
from parity.case import Case


def sign(x):
    return (x > 0) - (x < 0)


def sign_sgd(p, g, _state, *, lr, **_):
    return p - lr * sign(g)


def lion(p, g, state, *, lr, beta1, beta2, weight_decay, **_):
    m = state.get("m", 0.0)
    update = sign(beta1 * m + (1 - beta1) * g)
    state["m"] = beta2 * m + (1 - beta2) * g
    return p - lr * (update + weight_decay * p)


def rprop(p, g, state, *, lr, eta_minus, eta_plus, min_step_size, max_step_size, **_):
    size, before = state.get("size", lr), state.get("g", 0.0)
    if before * g > 0:
        size *= eta_plus
    elif before * g < 0:
        size *= eta_minus
        g = 0.0
    state["size"] = max(min_step_size, min(size, max_step_size))
    state["g"] = g
    return p - sign(g) * state["size"]


ROWS = (
    Case(
        "signsgd",
        gdopt.SignSGD,
        sign_sgd,
        {"lr": 0.02},
        optax=lambda o, h: o.sign_sgd(h["lr"]),
    ),
    Case(
        "lion",
        gdopt.Lion,
        lion,
        {"lr": 0.02, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1},
        optax=lambda o, h: o.lion(
            h["lr"], h["beta1"], h["beta2"], weight_decay=h["weight_decay"]
        ),
        keras=lambda o, h: o.Lion(
            h["lr"], h["beta1"], h["beta2"], weight_decay=h["weight_decay"]
        ),
    ),
    Case(
        "rprop",
        gdopt.Rprop,
        rprop,
        {
            "lr": 0.02,
            "eta_minus": 0.6,
            "eta_plus": 1.3,
            "min_step_size": 0.01,
            "max_step_size": 0.03,
        },
        torch=lambda o, p, h: o.Rprop(
            p,
            h["lr"],
            (h["eta_minus"], h["eta_plus"]),
            (h["min_step_size"], h["max_step_size"]),
        ),
    ),
)
