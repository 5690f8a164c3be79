"""Gradient descent, with and without momentum, and averaged."""

import gdopt
from parity.case import Case


def sgd(p, g, _state, *, lr, **_):
    return p - lr * g


def torch_sgd(p, g, state, *, lr, momentum, dampening=0.0, nesterov=False, **_):
    """The description in torch's documentation: b is g where there is none yet."""
    if "b" in state:
        state["b"] = momentum * state["b"] + (1 - dampening) * g
    else:
        state["b"] = g
    return p - lr * (g + momentum * state["b"] if nesterov else state["b"])


def momentum_ewa(p, g, state, *, lr, beta, t, bias_correction=False, **_):
    v = state["v"] = beta * state.get("v", 0.0) + (1 - beta) * g
    return p - lr * (v / (1 - beta**t) if bias_correction else v)


def heavy_ball(p, g, state, *, lr, beta, **_):
    state["v"] = beta * state.get("v", 0.0) + g
    return p - lr * state["v"]


def keras_momentum(p, g, state, *, lr, beta, **_):
    state["v"] = beta * state.get("v", 0.0) - lr * g
    return p + state["v"]


def nesterov(p, g, state, *, lr, beta, **_):
    """Bengio et al. 2012, eq. 7, by the velocity V = -lr v of the step before."""
    before = state.get("v", 0.0)
    state["v"] = beta * before + g
    return p - lr * (beta * beta * before + (1 + beta) * g)


def chainer_nesterov(p, g, state, *, lr, beta, **_):
    """The new velocity where the paper has the old one: a mistake."""
    state["v"] = beta * state.get("v", 0.0) - lr * g
    return p + beta * beta * state["v"] - (1 + beta) * lr * g


def asgd(p, g, state, *, lr, lambd, alpha, t0, t, **_):
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    p = p - eta * (g + lambd * p)
    seen = max(1, t - 1 - t0)
    state["a"] = p if seen == 1 else ((seen - 1) * state["a"] + p) / seen
    return p


def sgd_of_torch(optim, params, h, **flags):
    momentum, dampening = h.get("momentum", h.get("beta", 0)), h.get("dampening", 0)
    return optim.SGD(params, h["lr"], momentum, dampening, **flags)


BETA = {"lr": 0.02, "beta": 0.8}
TORCH = {"lr": 0.02, "momentum": 0.8}
ROWS = (
    Case(
        "sgd",
        gdopt.SGD,
        sgd,
        {"lr": 0.02},
        torch=sgd_of_torch,
        optax=lambda o, h: o.sgd(h["lr"]),
        keras=lambda o, h: o.SGD(h["lr"]),
        chainer=sgd,
    ),
    Case(
        "sgd with momentum",
        gdopt.SGD,
        torch_sgd,
        {**TORCH, "dampening": 0.3},
        torch=sgd_of_torch,
    ),
    Case(
        "sgd with nesterov",
        gdopt.SGD,
        torch_sgd,
        TORCH,
        {"nesterov": True},
        torch=lambda o, p, h: sgd_of_torch(o, p, h, nesterov=True),
        optax=lambda o, h: o.sgd(h["lr"], h["momentum"], nesterov=True),
    ),
    Case(
        "momentum ewa",
        gdopt.Momentum,
        momentum_ewa,
        BETA,
        {"form": "ewa"},
        optax=lambda o, h: o.chain(
            o.ema(h["beta"], debias=False), o.scale_by_learning_rate(h["lr"])
        ),
    ),
    Case(
        "momentum heavy_ball",
        gdopt.Momentum,
        heavy_ball,
        BETA,
        {"form": "heavy_ball"},
        torch=sgd_of_torch,
        optax=lambda o, h: o.sgd(h["lr"], h["beta"]),
    ),
    Case(
        "momentum keras",
        gdopt.Momentum,
        keras_momentum,
        BETA,
        {"form": "keras"},
        # The rate inside the velocity is what makes the form Keras'.
        optax=lambda o, h: o.chain(
            o.scale_by_learning_rate(h["lr"]), o.trace(h["beta"])
        ),
        keras=lambda o, h: o.SGD(h["lr"], h["beta"]),
        chainer=keras_momentum,
    ),
    Case(
        "momentum ewa corrected",
        gdopt.Momentum,
        momentum_ewa,
        BETA,
        {"form": "ewa", "bias_correction": True},
        optax=lambda o, h: o.chain(
            o.ema(h["beta"], debias=True), o.scale_by_learning_rate(h["lr"])
        ),
    ),
    Case(
        "nesterov",
        gdopt.Nesterov,
        nesterov,
        BETA,
        torch=lambda o, p, h: sgd_of_torch(o, p, h, nesterov=True),
        optax=lambda o, h: o.sgd(h["lr"], h["beta"], nesterov=True),
        keras=lambda o, h: o.SGD(h["lr"], h["beta"], nesterov=True),
        fixed=("keras",),
    ),
    Case(
        "asgd",
        gdopt.ASGD,
        asgd,
        {"lr": 0.02, "lambd": 0.1, "alpha": 0.6, "t0": 3.0},
        torch=lambda o, p, h: o.ASGD(p, h["lr"], h["lambd"], h["alpha"], h["t0"]),
        fixed=("torch",),
    ),
)
