"""Adam and AdamW, with the flags of other libraries."""

from math import sqrt

import gdopt
from parity.case import Case


def adam(
    p,
    g,
    state,
    *,
    lr,
    beta1,
    beta2,
    eps,
    t,
    weight_decay=0.0,
    eps_mode="corrected",
    bias_correction=True,
    amsgrad=False,
    amsgrad_form="torch",
    nesterov=False,
    **_,
):
    p -= lr * weight_decay * p
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    unbias1 = 1 - beta1**t if bias_correction else 1.0
    unbias2 = 1 - beta2**t if bias_correction else 1.0
    if amsgrad:
        new = v / unbias2 if amsgrad_form == "optax" else v
        state["max"] = max(state.get("max", 0.0), new)
        v = state["max"] * (unbias2 if amsgrad_form == "optax" else 1.0)
    if eps_mode == "raw":
        return p - lr * sqrt(unbias2) / unbias1 * m / (sqrt(v) + eps)
    m_hat, v_hat = m / unbias1, v / unbias2
    if nesterov:
        m_hat = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / unbias1
    if eps_mode == "inside":
        return p - lr * m_hat / sqrt(v_hat + eps)
    return p - lr * m_hat / (sqrt(v_hat) + eps)


def chainer_adam(
    p, g, state, *, lr, beta1, beta2, eps, t, amsgrad=False, weight_decay=0.0, **_
):
    """Its `eta` is the rate here, `alpha` 1: its decay is not multiplied by alpha."""
    m, v = state.get("m", 0.0), state.get("v", 0.0)
    m = state["m"] = m + (1 - beta1) * (g - m)
    v = state["v"] = v + (1 - beta2) * (g * g - v)
    largest = state["vhat"] = max(state.get("vhat", 0.0), v) if amsgrad else v
    alpha_t = sqrt(1 - beta2**t) / (1 - beta1**t)
    return p - lr * (alpha_t * m / (sqrt(largest) + eps) + weight_decay * p)


def of_torch(**flags):
    def make(optim, params, h):
        given = {"betas": (h["beta1"], h["beta2"]), "eps": h["eps"], **flags}
        if "weight_decay" in h:
            return optim.AdamW(params, h["lr"], weight_decay=h["weight_decay"], **given)
        return optim.Adam(params, h["lr"], **given)

    return make


def of_optax(part="adam", *, inside=False, **flags):
    """Build Adam of optax's parts, as its own `adam` has no learned place for eps."""

    def make(optax, h):
        eps = {"eps": 0.0, "eps_root": h["eps"]} if inside else {"eps": h["eps"]}
        scale = getattr(optax, f"scale_by_{part}")
        decay = "weight_decay" in h
        return optax.chain(
            scale(h["beta1"], h["beta2"], **eps, **flags),
            *([optax.add_decayed_weights(h["weight_decay"])] if decay else []),
            optax.scale_by_learning_rate(h["lr"]),
        )

    return make


def of_keras(**flags):
    def make(optimizers, h):
        given = {"beta_1": h["beta1"], "beta_2": h["beta2"], "epsilon": h["eps"]}
        if "weight_decay" in h:
            decay = h["weight_decay"]
            return optimizers.AdamW(h["lr"], weight_decay=decay, **given, **flags)
        return optimizers.Adam(h["lr"], **given, **flags)

    return make


PLAIN = {  # by where epsilon is, for the form with correction
    "corrected": {"torch": of_torch(), "optax": of_optax()},
    "raw": {"keras": of_keras(), "chainer": chainer_adam},
    "inside": {"optax": of_optax(inside=True)},
}
FLAGS = {
    "amsgrad": (
        {"amsgrad": True},
        {"torch": of_torch(amsgrad=True)},
    ),
    "amsgrad raw": (
        {"amsgrad": True, "eps_mode": "raw"},
        {"keras": of_keras(amsgrad=True), "chainer": chainer_adam},
    ),
    "amsgrad optax": (
        {"amsgrad": True, "amsgrad_form": "optax"},
        {"optax": of_optax("amsgrad")},
    ),
    "nesterov": ({"nesterov": True}, {"optax": of_optax(nesterov=True)}),
}


def rows():
    hyper = {"lr": 0.02, "beta1": 0.8, "beta2": 0.99, "eps": 1e-3}
    decayed = {**hyper, "weight_decay": 0.1}
    for name, kind, own in (
        ("adam", gdopt.Adam, hyper),
        ("adamw", gdopt.AdamW, decayed),
    ):
        for mode, peers in PLAIN.items():
            for corrects in (True, False):
                word = mode if corrects else f"{mode} without correction"
                choices = {"eps_mode": mode, "bias_correction": corrects}
                there = peers if corrects else {}
                yield Case(f"{name} {word}", kind, adam, own, choices, **there)
        for flag, (choices, peers) in FLAGS.items():
            yield Case(f"{name} {flag}", kind, adam, own, choices, **peers)


ROWS = tuple(rows())
