"""Relatives of Adam: other second moments, corrections and looks ahead."""

from math import copysign, sqrt

import gdopt
from parity.case import Case


def adamax(p, g, state, *, lr, beta1, beta2, eps, eps_mode, t, **_):
    inside, outside = (eps, 0.0) if eps_mode == "inside" else (0.0, eps)
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    u = state["u"] = max(beta2 * state.get("u", 0.0), abs(g) + inside)
    return p - lr / (1 - beta1**t) * m / (u + outside)


def radam(p, g, state, *, lr, beta1, beta2, eps, t, **_):
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return p - lr * m_hat
    adaptive = sqrt(1 - beta2**t) / (sqrt(v) + eps)
    r = ((rho - 4) * (rho - 2) * rho_inf) / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return p - lr * m_hat * sqrt(r) * adaptive


def yogi(p, g, state, *, lr, beta1, beta2, eps, t, bias_correction=False, **_):
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state.get("v", 0.0)
    sign = (v > g**2) - (v < g**2)
    v = state["v"] = v - (1 - beta2) * sign * g**2
    if bias_correction:
        m, v = m / (1 - beta1**t), v / (1 - beta2**t)
    return p - lr * m / (sqrt(v) + eps)


def adabelief(p, g, state, *, lr, beta1, beta2, eps, t, **_):
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    s = state["s"] = beta2 * state.get("s", 0.0) + (1 - beta2) * (g - m) ** 2 + eps
    m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
    return p - lr * m_hat / (sqrt(s_hat) + eps)


def adan(p, g, state, *, lr, beta1, beta2, beta3, eps, weight_decay, t, **_):
    """Algorithm 1, whose betas are 1 minus these, and the corrections of its code."""
    b1, b2, b3 = 1 - beta1, 1 - beta2, 1 - beta3
    d = g - state.get("g", g)
    m = state["m"] = (1 - b1) * state.get("m", 0.0) + b1 * g
    v = state["v"] = (1 - b2) * state.get("v", 0.0) + b2 * d
    n = state["n"] = (1 - b3) * state.get("n", 0.0) + b3 * (g + (1 - b2) * d) ** 2
    state["g"] = g
    m, v, n = m / (1 - beta1**t), v / (1 - beta2**t), n / (1 - beta3**t)
    eta = lr / (sqrt(n) + eps)
    return (p - eta * (m + (1 - b2) * v)) / (1 + weight_decay * lr)


def adopt(p, g, state, *, lr, beta1, beta2, eps, t, clip=False, **_):
    if t == 1:
        state["m"], state["v"] = 0.0, g**2
        return p
    u = g / max(sqrt(state["v"]), eps)
    if clip:
        u = copysign(min(abs(u), (t - 1) ** 0.25), u)
    state["m"] = beta1 * state["m"] + (1 - beta1) * u
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    return p - lr * state["m"]


def nadam(p, g, state, *, lr, beta1, beta2, eps, momentum_decay, t):
    def mu(t):
        return beta1 * (1 - 0.96 ** (momentum_decay * t) / 2)

    product = state["product"] = state.get("product", 1.0) * mu(t)
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
    return p - lr * m_hat / (sqrt(v / (1 - beta2**t)) + eps)


HYPER = {"lr": 0.02, "beta1": 0.8, "beta2": 0.99, "eps": 1e-3}
ROWS = (
    Case(
        "adamax inside",
        gdopt.Adamax,
        adamax,
        HYPER,
        {"eps_mode": "inside"},
        torch=lambda o, p, h: o.Adamax(
            p, h["lr"], (h["beta1"], h["beta2"]), eps=h["eps"]
        ),
        optax=lambda o, h: o.adamax(h["lr"], h["beta1"], h["beta2"], h["eps"]),
    ),
    Case(
        "adamax outside",
        gdopt.Adamax,
        adamax,
        HYPER,
        {"eps_mode": "outside"},
        keras=lambda o, h: o.Adamax(h["lr"], h["beta1"], h["beta2"], h["eps"]),
    ),
    Case(
        "radam",
        gdopt.RAdam,
        radam,
        HYPER,
        torch=lambda o, p, h: o.RAdam(
            p, h["lr"], (h["beta1"], h["beta2"]), eps=h["eps"]
        ),
    ),
    Case("yogi", gdopt.Yogi, yogi, HYPER),
    Case(
        "yogi corrected",
        gdopt.Yogi,
        yogi,
        HYPER,
        {"bias_correction": True},
        # Its own `yogi` starts both moments from 1e-6.
        optax=lambda o, h: o.chain(
            o.scale_by_yogi(
                h["beta1"], h["beta2"], h["eps"], initial_accumulator_value=0.0
            ),
            o.scale_by_learning_rate(h["lr"]),
        ),
    ),
    Case(
        "adabelief",
        gdopt.AdaBelief,
        adabelief,
        {**HYPER, "eps": 1e-5},
        optax=lambda o, h: o.adabelief(
            h["lr"], h["beta1"], h["beta2"], h["eps"], h["eps"]
        ),
    ),
    Case(
        "adan",
        gdopt.Adan,
        adan,
        {**HYPER, "beta2": 0.9, "beta3": 0.98, "weight_decay": 0.1},
    ),
    Case(
        "adan at one half",
        gdopt.Adan,
        adan,
        {**HYPER, "beta2": 0.5, "beta3": 0.98, "weight_decay": 0.0},
        # It has 1 - beta2 in place of beta2.
        optax=lambda o, h: o.adan(
            h["lr"], h["beta1"], h["beta2"], h["beta3"], h["eps"], eps_root=0.0
        ),
    ),
    Case(
        "nadam",
        gdopt.NAdam,
        nadam,
        {**HYPER, "momentum_decay": 4e-3},
        torch=lambda o, p, h: o.NAdam(
            p,
            h["lr"],
            (h["beta1"], h["beta2"]),
            eps=h["eps"],
            momentum_decay=h["momentum_decay"],
        ),
    ),
    Case(
        "nadam of Keras",
        gdopt.NAdam,
        nadam,
        {**HYPER, "momentum_decay": 1.0},
        keras=lambda o, h: o.Nadam(h["lr"], h["beta1"], h["beta2"], h["eps"]),
    ),
    Case(
        "adopt",
        gdopt.ADOPT,
        adopt,
        HYPER,
        optax=lambda o, h: o.contrib.adopt(
            h["lr"], h["beta1"], h["beta2"], h["eps"], use_clipping=False
        ),
    ),
    Case(
        "adopt clipped",
        gdopt.ADOPT,
        adopt,
        HYPER,
        {"clip": True},
        optax=lambda o, h: o.contrib.adopt(h["lr"], h["beta1"], h["beta2"], h["eps"]),
    ),
)
