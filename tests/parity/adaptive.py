"""Rates that adapt to the size of each element's gradients."""

from math import sqrt

import gdopt
from parity.case import Case


def adagrad(p, g, state, *, lr, eps, eps_mode, initial_accumulator=0.0, **_):
    v = state["v"] = state.get("v", initial_accumulator) + g**2
    return p - lr * g / (sqrt(v + eps) if eps_mode == "inside" else sqrt(v) + eps)


def adadelta(p, g, state, *, lr, rho, eps, **_):
    state["E[g^2]"] = rho * state.get("E[g^2]", 0.0) + (1 - rho) * g**2
    before = state.get("E[dx^2]", 0.0)
    dx = -sqrt(before + eps) / sqrt(state["E[g^2]"] + eps) * g
    state["E[dx^2]"] = rho * before + (1 - rho) * dx**2
    return p + lr * dx


def chainer_adadelta(p, g, state, *, lr, rho, eps, **_):
    msg, msdx = state.get("msg", 0.0), state.get("msdx", 0.0)
    state["msg"] = msg + (1 - rho) * (g * g - msg)
    dx = sqrt((msdx + eps) / (state["msg"] + eps)) * g
    state["msdx"] = msdx + (1 - rho) * (dx * dx - msdx)
    return p - lr * dx  # chainer has no lr


def rmsprop(
    p,
    g,
    state,
    *,
    lr,
    beta,
    eps=0.0,
    eps_mode="outside",
    momentum=0.0,
    form="",
    centered=False,
    **_,
):
    v = state["v"] = beta * state.get("v", 0.0) + (1 - beta) * g**2
    m = state["m"] = beta * state.get("m", 0.0) + (1 - beta) * g
    v = v - m**2 if centered else v
    root = sqrt(v + eps) if eps_mode == "inside" else sqrt(v) + eps
    quotient = g / root if g else 0.0
    if form == "keras":
        state["b"] = momentum * state.get("b", 0.0) + lr * quotient
        return p - state["b"]
    state["b"] = momentum * state.get("b", 0.0) + quotient
    return p - lr * state["b"]


def chainer_graves(p, g, state, *, lr, beta, eps, momentum, **_):
    n = state["n"] = beta * state.get("n", 0.0) + (1 - beta) * g * g
    m = state["g"] = beta * state.get("g", 0.0) + (1 - beta) * g
    delta = momentum * state.get("delta", 0.0) - lr * g / sqrt(n - m * m + eps)
    state["delta"] = delta
    return p + delta


def ftrl(
    p,
    g,
    state,
    *,
    lr,
    l1,
    l2,
    l2_shrinkage,
    beta,
    lr_power=-0.5,
    initial_accumulator=0.1,
    **_,
):
    """By cases, as in the paper: 0 where |z| is at most l1."""
    before = state.get("n", initial_accumulator)
    n = state["n"] = before + g**2
    sigma = (n**-lr_power - before**-lr_power) / lr
    z = state["z"] = state.get("z", 0.0) + (g + 2 * l2_shrinkage * p) - sigma * p
    if abs(z) <= l1:
        return 0.0
    sign = 1.0 if z > 0 else -1.0
    return -(z - sign * l1) / ((beta + n**-lr_power) / lr + 2 * l2)


def rmsprop_rows():
    # An eps this large shows where it stands.
    root = {"lr": 0.02, "beta": 0.95, "eps": 1e-3}
    for centered in (False, True):
        for form in ("", "heavy_ball", "keras"):
            for mode in ("outside", "inside"):
                hyper = {**root, "momentum": 0.8} if form else root
                choices = {"eps_mode": mode}
                choices |= {"form": form} if form else {}
                choices |= {"centered": True} if centered else {}
                words = ("rmsprop", "centered" if centered else "", form, mode)
                yield Case(
                    " ".join(word for word in words if word),
                    gdopt.RMSprop,
                    rmsprop,
                    hyper,
                    choices,
                    torch=of_torch(centered) if has_torch(form, mode) else None,
                    optax=None if form == "heavy_ball" else of_optax(mode, centered),
                    keras=of_keras(centered) if has_keras(form, mode) else None,
                    chainer=has_chainer(form, mode, centered),
                )


def has_torch(form, mode):
    return mode == "outside" and form != "keras"


def has_keras(form, mode):
    return mode == "inside" and form != "heavy_ball"


def has_chainer(form, mode, centered):
    if centered:
        return chainer_graves if (form, mode) == ("keras", "inside") else None
    return None if form else rmsprop  # chainer's eps_inside_sqrt


def of_torch(centered):
    return lambda o, p, h: o.RMSprop(
        p,
        h["lr"],
        h["beta"],
        h["eps"],
        momentum=h.get("momentum", 0.0),
        centered=centered,
    )


def of_optax(mode, centered):
    return lambda o, h: o.rmsprop(
        h["lr"],
        h["beta"],
        h["eps"],
        eps_in_sqrt=mode == "inside",
        centered=centered,
        momentum=h.get("momentum"),
    )


def of_keras(centered):
    return lambda o, h: o.RMSprop(
        h["lr"], h["beta"], h.get("momentum", 0.0), h["eps"], centered=centered
    )


ROOT = {"lr": 0.02, "eps": 1e-3}
LEADER = {"lr": 0.02, "l1": 0.3, "l2": 0.2, "l2_shrinkage": 0.1, "beta": 0.5}
ROWS = (
    Case(
        "adagrad outside",
        gdopt.Adagrad,
        adagrad,
        ROOT,
        {"eps_mode": "outside"},
        torch=lambda o, p, h: o.Adagrad(p, h["lr"], eps=h["eps"]),
        chainer=adagrad,
    ),
    Case(
        "adagrad inside",
        gdopt.Adagrad,
        adagrad,
        ROOT,
        {"eps_mode": "inside", "initial_accumulator": 0.1},
        optax=lambda o, h: o.adagrad(h["lr"], 0.1, h["eps"]),
        keras=lambda o, h: o.Adagrad(h["lr"], 0.1, h["eps"]),
    ),
    Case(
        "adadelta",
        gdopt.Adadelta,
        adadelta,
        {**ROOT, "rho": 0.8},
        torch=lambda o, p, h: o.Adadelta(p, h["lr"], h["rho"], h["eps"]),
        optax=lambda o, h: o.adadelta(h["lr"], h["rho"], h["eps"]),
        keras=lambda o, h: o.Adadelta(h["lr"], h["rho"], h["eps"]),
        chainer=chainer_adadelta,
    ),
    *rmsprop_rows(),
    Case(
        "rmsprop without eps",
        gdopt.RMSprop,
        rmsprop,
        {"lr": 0.02, "beta": 0.95},
        {"eps": 0},
    ),
    Case(
        "ftrl",
        gdopt.FTRL,
        ftrl,
        LEADER,
        keras=lambda o, h: o.Ftrl(
            h["lr"], -0.5, 0.1, h["l1"], h["l2"], h["l2_shrinkage"], h["beta"]
        ),
    ),
    Case(
        "ftrl with another power",
        gdopt.FTRL,
        ftrl,
        {**LEADER, "lr_power": -0.4},
        keras=lambda o, h: o.Ftrl(
            h["lr"], -0.4, 0.1, h["l1"], h["l2"], h["l2_shrinkage"], h["beta"]
        ),
    ),
)
