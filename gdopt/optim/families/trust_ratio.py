"""Rates in proportion to the norm of each array: for large batches."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.rule import built_in

__all__ = ["LAMB", "LARS"]


class LARS(Optimizer):
    """Momentum with a rate in proportion to the norm of each array.

    With ||.|| over all elements of an array, and a rate of lr where a norm is 0:
    r = lr trust_coefficient ||p|| / (||g|| + weight_decay ||p|| + eps),
    m <- beta m + r (g + weight_decay p), p <- p - m.
    ``trust_ratio="update"``: r = lr trust_coefficient ||p|| / (||g + weight_decay p|| +
    eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta: share of the velocity that is kept, in [0, 1).
        weight_decay: in [0, inf).
        trust_coefficient: in (0, inf).
        eps: in [0, inf).
        trust_ratio: of the norms of gradient and parameter apart, as in the paper and
            apex's LARC, or of the norm of the update, as in optax.
        **options: those of every optimizer; see `Optimizer`.

    Source: You, Gitman & Ginsburg 2017 (arXiv 1708.03888), algorithm 1. torch and Keras
    do not have it.

    >>> import numpy as np
    >>> p = np.array([3.0, 4.0])
    >>> LARS(p, 1.0, trust_coefficient=0.1).step(np.array([0.0, 7.0]))  # .1 of 5 long
    True
    >>> p
    array([3. , 3.5])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-1,
        *,
        beta: Any = 0.9,
        weight_decay: Any = 0.0,
        trust_coefficient: Any = 1e-3,
        eps: Any = 0.0,
        trust_ratio: str = "separate",
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("trust_ratio", trust_ratio, LARS_RULES)
        scalars = {"lr": lr, "beta": beta, "weight_decay": weight_decay, "eps": eps}
        scalars["trust_coefficient"] = trust_coefficient
        super().__init__(params, LARS_RULES[trust_ratio], **scalars, **options)


@built_in(LARS, trust_coefficient="(0, inf)", eps="[0, inf)")
def lars(p, m, g, *, lr, beta, weight_decay, trust_coefficient, eps):
    """You, Gitman & Ginsburg 2017, algorithm 1."""
    w, s = np.linalg.norm(p), np.linalg.norm(g)
    ratio = trust_coefficient * w / (s + weight_decay * w + eps)
    rate = lr * np.where((w > 0) & (s > 0), ratio, 1.0)
    m = beta * m + rate * (g + weight_decay * p)
    return p - m, m


@built_in(LARS, trust_coefficient="(0, inf)", eps="[0, inf)")
def lars_update(p, m, g, *, lr, beta, weight_decay, trust_coefficient, eps):
    """The same with the norm of what is added, as in optax."""
    u = g + weight_decay * p
    w, s = np.linalg.norm(p), np.linalg.norm(u)
    ratio = trust_coefficient * w / (s + eps)
    m = beta * m + lr * np.where((w > 0) & (s > 0), ratio, 1.0) * u
    return p - m, m


LARS_RULES = {"separate": lars, "update": lars_update}


class LAMB(Optimizer):
    """Adam whose step has, for each array, the norm of the array times lr.

    With m^ and v^ as of `Adam`, and a ratio of 1 where a norm is 0:
    u = m^ / (sqrt(v^) + eps) + weight_decay p, p <- p - lr (||p|| / ||u||) u.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        weight_decay: in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: You et al. 2020 (arXiv 1904.00962), algorithm 2, with the identity for phi.
    Defaults are optax's; Keras has eps 1e-7, and its weight decay stays outside the
    ratio. torch does not have it.

    >>> import numpy as np
    >>> p = np.array([3.0, 4.0])
    >>> LAMB(p, 0.1, eps=1e-12).step(np.array([1.0, 9.0]))  # .5 long, in equal parts
    True
    >>> p.round(6)
    array([2.646447, 3.646447])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-6,
        weight_decay: Any = 0.0,
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, lamb, weight_decay=weight_decay, **scalars, **options)


@built_in(LAMB)
def lamb(p, m, v, g, *, lr, beta1, beta2, eps, weight_decay, t):
    """You et al. 2020, algorithm 2."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    direction = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    u = direction + weight_decay * p
    w, s = np.linalg.norm(p), np.linalg.norm(u)
    return p - lr * np.where((w > 0) & (s > 0), w / s, 1.0) * u, m, v
