"""RMSprop, with the flags of other libraries."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice, check_flag
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions
from gdopt.optim.rule import built_in, is_number

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Divide by the root of the mean square: v <- beta v + (1 - beta) g^2.

    ``eps_mode="outside"``: d = g / (sqrt(v) + eps), p <- p - lr d.
    ``eps_mode="inside"``: d = g / sqrt(v + eps).
    ``eps=0``: d = g / sqrt(v), and 0 where v is 0.
    ``centered=True``: v is the variance, v <- beta (v + (1 - beta) (g - m)^2), and
    m <- beta m + (1 - beta) g; this is mean square - m^2, but never below 0.
    With `momentum`, ``form="heavy_ball"``: b <- momentum b + d, p <- p - lr b.
    With `momentum`, ``form="keras"``: b <- momentum b + lr d, p <- p - b.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic. The number 0
            is allowed where the rule is neither centered nor has momentum.
        eps_mode: outside the root, as in torch and chainer, or inside, as in Keras and
            optax.
        momentum: share of b that is kept, in [0, 1); the number 0 keeps no b.
        form: of the momentum: ``"heavy_ball"`` has the rate outside of it, as torch
            has, ``"keras"`` inside, as Keras and optax have.
        centered: divide by the deviation in place of the root of the mean square.
        **options: those of every optimizer; see `Optimizer`.

    Source: Tieleman & Hinton 2012, lecture 6.5; Ng, Deep Learning Specialization,
    course 2, week 2; centered: Graves 2013 (arXiv 1308.0850), eq. 38 to 41. No library
    corrects its bias. torch's default beta (alpha there) is .99, Keras' and optax's .9.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> RMSprop(p, 0.1, beta=0.75).step(np.array([4.0]))  # v = 4, root 2
    True
    >>> p.round(6)
    array([0.8])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        *,
        beta: Any = 0.9,
        eps: Any = 1e-8,
        eps_mode: str = "outside",
        momentum: Any = 0.0,
        form: str = "heavy_ball",
        centered: bool = False,
        **options: Unpack[DecayOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, ("outside", "inside"))
        check_choice("form", form, ("heavy_ball", "keras"))
        kept = None if is_number(momentum, 0) else form
        rule = FORMS[check_flag("centered", centered), kept, eps_mode]
        scalars = {"lr": lr, "beta": beta}
        if is_number(eps, 0) and rule in {rmsprop, rmsprop_inside}:
            rule = rmsprop_without_eps
        else:
            scalars["eps"] = eps
        if kept is not None:
            scalars["momentum"] = momentum
        super().__init__(params, rule, **scalars, **options)


@built_in(RMSprop)
def rmsprop(p, v, g, *, lr, beta, eps):
    """Tieleman & Hinton 2012, lecture 6.5."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    return p - lr * g / (np.sqrt(v) + eps), v


@built_in(RMSprop)
def rmsprop_inside(p, v, g, *, lr, beta, eps):
    """The same with epsilon inside the root."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    return p - lr * g / np.sqrt(v + eps), v


@built_in(RMSprop)
def rmsprop_without_eps(p, v, g, *, lr, beta):
    """The same without epsilon: where all gradients were 0, so is the step."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    return p - lr * g / np.sqrt(np.where(v == 0, 1.0, v)), v


@built_in(RMSprop)
def rmsprop_centered(p, m, v, g, *, lr, beta, eps):
    """Graves 2013, eq. 38 to 41; v is the variance by a recurrence that stays >= 0."""
    v = beta * (v + (1 - beta) * np.abs(g - m) ** 2)
    m = beta * m + (1 - beta) * g
    return p - lr * g / (np.sqrt(v) + eps), m, v


@built_in(RMSprop)
def rmsprop_centered_inside(p, m, v, g, *, lr, beta, eps):
    """The same with epsilon inside the root."""
    v = beta * (v + (1 - beta) * np.abs(g - m) ** 2)
    m = beta * m + (1 - beta) * g
    return p - lr * g / np.sqrt(v + eps), m, v


@built_in(RMSprop)
def rmsprop_heavy_ball(p, v, b, g, *, lr, beta, eps, momentum):
    """With momentum, the rate outside of it, as in torch."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    b = momentum * b + g / (np.sqrt(v) + eps)
    return p - lr * b, v, b


@built_in(RMSprop)
def rmsprop_heavy_ball_inside(p, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    b = momentum * b + g / np.sqrt(v + eps)
    return p - lr * b, v, b


@built_in(RMSprop)
def rmsprop_keras(p, v, b, g, *, lr, beta, eps, momentum):
    """With momentum, the rate inside of it, as in optax."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    b = momentum * b + lr * g / (np.sqrt(v) + eps)
    return p - b, v, b


@built_in(RMSprop)
def rmsprop_keras_inside(p, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root, as in Keras and optax."""
    v = beta * v + (1 - beta) * np.abs(g) ** 2
    b = momentum * b + lr * g / np.sqrt(v + eps)
    return p - b, v, b


@built_in(RMSprop)
def rmsprop_centered_heavy_ball(p, m, v, b, g, *, lr, beta, eps, momentum):
    """Centered and with momentum, the rate outside of it, as in torch."""
    v = beta * (v + (1 - beta) * np.abs(g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + g / (np.sqrt(v) + eps)
    return p - lr * b, m, v, b


@built_in(RMSprop)
def rmsprop_centered_heavy_ball_inside(p, m, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root."""
    v = beta * (v + (1 - beta) * np.abs(g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + g / np.sqrt(v + eps)
    return p - lr * b, m, v, b


@built_in(RMSprop)
def rmsprop_centered_keras(p, m, v, b, g, *, lr, beta, eps, momentum):
    """Centered and with momentum, the rate inside of it, as in optax."""
    v = beta * (v + (1 - beta) * np.abs(g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + lr * g / (np.sqrt(v) + eps)
    return p - b, m, v, b


@built_in(RMSprop)
def rmsprop_centered_keras_inside(p, m, v, b, g, *, lr, beta, eps, momentum):
    """The same with epsilon inside the root, as in Keras and Graves."""
    v = beta * (v + (1 - beta) * np.abs(g - m) ** 2)
    m = beta * m + (1 - beta) * g
    b = momentum * b + lr * g / np.sqrt(v + eps)
    return p - b, m, v, b


FORMS = {  # by whether it is centered, the momentum's form, and where epsilon stands
    (False, None, "outside"): rmsprop,
    (False, None, "inside"): rmsprop_inside,
    (False, "heavy_ball", "outside"): rmsprop_heavy_ball,
    (False, "heavy_ball", "inside"): rmsprop_heavy_ball_inside,
    (False, "keras", "outside"): rmsprop_keras,
    (False, "keras", "inside"): rmsprop_keras_inside,
    (True, None, "outside"): rmsprop_centered,
    (True, None, "inside"): rmsprop_centered_inside,
    (True, "heavy_ball", "outside"): rmsprop_centered_heavy_ball,
    (True, "heavy_ball", "inside"): rmsprop_centered_heavy_ball_inside,
    (True, "keras", "outside"): rmsprop_centered_keras,
    (True, "keras", "inside"): rmsprop_centered_keras_inside,
}
