"""References in plain Python floats, and the table of the optimizers under test.

The textbooks' formulas stand here as the textbooks have them: one number at a time,
corrected moments written out, nothing folded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import gdopt


def sgd(p, g, _state, *, lr, **_):
    return p - lr * g


def momentum_ewa(p, g, state, *, lr, beta, t, bias_correction=False, **_):
    v = state["v"] = beta * state.get("v", 0.0) + (1 - beta) * g
    return p - lr * (v / (1 - beta**t) if bias_correction else v)


def momentum_heavy_ball(p, g, state, *, lr, beta, **_):
    state["v"] = beta * state.get("v", 0.0) + g
    return p - lr * state["v"]


def momentum_keras(p, g, state, *, lr, beta, **_):
    state["v"] = beta * state.get("v", 0.0) - lr * g
    return p + state["v"]


def nesterov(p, g, state, *, lr, beta, **_):
    """Bengio et al. 2012, eq. 7, by the velocity V = -lr v of the step before."""
    before = state.get("v", 0.0)
    state["v"] = beta * before + g
    return p - lr * (beta * beta * before + (1 + beta) * g)


def rmsprop(p, g, state, *, lr, beta, eps, eps_mode, **_):
    v = state["v"] = beta * state.get("v", 0.0) + (1 - beta) * g**2
    root = sqrt(v + eps) if eps_mode == "inside" else sqrt(v) + eps
    return p - lr * g / root


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
    **_,
):
    p -= lr * weight_decay * p
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    unbias1 = 1 - beta1**t if bias_correction else 1.0
    unbias2 = 1 - beta2**t if bias_correction else 1.0
    if eps_mode == "raw":
        return p - lr * sqrt(unbias2) / unbias1 * m / (sqrt(v) + eps)
    m_hat, v_hat = m / unbias1, v / unbias2
    if eps_mode == "inside":
        return p - lr * m_hat / sqrt(v_hat + eps)
    return p - lr * m_hat / (sqrt(v_hat) + eps)


@dataclass(frozen=True)
class Case:
    """An optimizer in one of its forms, and its textbook's formula."""

    name: str
    kind: type[gdopt.Optimizer]
    textbook: Callable[..., float]
    hyper: dict[str, float] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)

    def make(self, params, **changes):
        """Make the optimizer with the table's settings, or others."""
        return self.kind(params, **{**self.hyper, **self.choices, **changes})

    def by_textbook(self, start, gradients, **changes):
        """Follow each element by itself over all steps; the last parameters."""
        hyper = {**self.hyper, **self.choices, **changes}
        found = []
        for place, number in enumerate(start):
            p, state = number, {}
            for step, row in enumerate(gradients):
                p = self.textbook(p, row[place], state, t=step + 1, **at(hyper, step))
            found.append(p)
        return found


def at(hyper, step):
    """Read schedules at a step."""
    return {k: v(step) if callable(v) else v for k, v in hyper.items()}


def by_rule(rule, start, gradients, **hyper):
    """Run gdopt's own rule on Python floats; the last parameters and states."""
    found = []
    for place, number in enumerate(start):
        row = (number, *(_first(rule.start(state), number) for state in rule.states))
        for step, gradient in enumerate(gradients):
            scalars = at(hyper, step)
            if "t" in rule.kernel.signature.scalars:
                scalars["t"] = step + 1
            returned = rule(*row, gradient[place], **scalars)
            row = returned if isinstance(returned, tuple) else (returned,)
        found.append(row)
    return [list(column) for column in zip(*found, strict=True)]


def _first(initial, number):
    return number if initial == "p" else float(initial)


def _cases():
    beta = {"lr": 0.02, "beta": 0.8}
    # An eps this large shows where it stands.
    root = {"lr": 0.02, "beta": 0.95, "eps": 1e-3}
    adams = {"lr": 0.02, "beta1": 0.8, "beta2": 0.99, "eps": 1e-3}
    decay = {**adams, "weight_decay": 0.1}
    yield Case("sgd", gdopt.SGD, sgd, {"lr": 0.02})
    for form, formula in {
        "ewa": momentum_ewa,
        "heavy_ball": momentum_heavy_ball,
        "keras": momentum_keras,
    }.items():
        name = f"momentum {form}"
        yield Case(name, gdopt.Momentum, formula, beta, {"form": form})
    choices = {"form": "ewa", "bias_correction": True}
    name = "momentum ewa corrected"
    yield Case(name, gdopt.Momentum, momentum_ewa, beta, choices)
    yield Case("nesterov", gdopt.Nesterov, nesterov, beta)
    for mode in ("outside", "inside"):
        choices = {"eps_mode": mode}
        yield Case(f"rmsprop {mode}", gdopt.RMSprop, rmsprop, root, choices)
    for mode in ("corrected", "raw", "inside"):
        for correction in (True, False):
            choices = {"eps_mode": mode, "bias_correction": correction}
            name = mode if correction else f"{mode} without correction"
            yield Case(f"adam {name}", gdopt.Adam, adam, adams, choices)
            yield Case(f"adamw {name}", gdopt.AdamW, adam, decay, choices)


CASES = {case.name: case for case in _cases()}
