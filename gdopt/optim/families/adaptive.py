"""Rates that adapt to all gradients of each element so far."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice, check_not_negative
from gdopt.errors import ArgumentError
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions
from gdopt.optim.rule import built_in, is_number, variant

__all__ = ["FTRL", "Adadelta", "Adagrad"]


def check_start(value: Any) -> float:
    """Take what a sum of squares starts from: 0, or what no float32 takes for 0."""
    start = check_not_negative("initial_accumulator", value)
    if 0 < start < (tiny := float(np.finfo(np.float32).tiny)):
        message = f"initial_accumulator must be 0 or at least {tiny:.3g}, got {value!r}"
        raise ArgumentError(message)
    return start


class Adagrad(Optimizer):
    """Divide by the root of the sum of squares: v <- v + g^2.

    ``eps_mode="outside"``: p <- p - lr g / (sqrt(v) + eps).
    ``eps_mode="inside"``: p <- p - lr g / sqrt(v + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        eps: in (0, inf), or 0 where initial_accumulator is above 0; must not vanish in
            the dtype of the arithmetic.
        eps_mode: outside the root, as in torch and chainer, or inside, as in Keras and
            optax.
        initial_accumulator: what v starts from, in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: Duchi, Hazan & Singer 2011, figure 1. Defaults are torch's; Keras and optax
    have eps 1e-7 and start from .1, chainer has eps 1e-8. torch's ``lr_decay`` is the
    schedule `gdopt.schedules.inverse_time`.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> opt = Adagrad(p, 0.5, eps=0.0, initial_accumulator=16.0)
    >>> opt.step(np.array([3.0]))  # the root is 5
    True
    >>> p.round(6)
    array([0.7])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        *,
        eps: Any = 1e-10,
        eps_mode: str = "outside",
        initial_accumulator: float = 0.0,
        **options: Unpack[DecayOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, ADAGRAD)
        start = check_start(initial_accumulator)
        own = {"eps": "[0, inf)"} if start else {}
        rule = variant(ADAGRAD[eps_mode], start=(("v", start),), **own)
        super().__init__(params, rule, lr=lr, eps=eps, **options)


@built_in(Adagrad, start={"v": "initial_accumulator"})
def adagrad(p, v, g, *, lr, eps):
    """Duchi, Hazan & Singer 2011, figure 1, with a diagonal matrix."""
    v = v + np.abs(g) ** 2
    return p - lr * g / (np.sqrt(v) + eps), v


@built_in(Adagrad, start={"v": "initial_accumulator"})
def adagrad_inside(p, v, g, *, lr, eps):
    """The same with epsilon inside the root."""
    v = v + np.abs(g) ** 2
    return p - lr * g / np.sqrt(v + eps), v


ADAGRAD = {"outside": adagrad, "inside": adagrad_inside}


class Adadelta(Optimizer):
    """Divide the root of the mean square of the steps by that of the gradients.

    v <- rho v + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(v + eps) g,
    u <- rho u + (1 - rho) d^2, p <- p - lr d.

    Args:
        params: see `Optimizer`.
        lr: factor of the step, in [0, inf); the paper has none.
        rho: share of the mean squares that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        **options: those of every optimizer; see `Optimizer`.

    Source: Zeiler 2012 (arXiv 1212.5701), algorithm 1. Defaults are torch's; chainer
    and the paper have rho .95, Keras has lr .001, which hardly moves, and eps 1e-7.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> Adadelta(p, rho=0.75, eps=1.0).step(np.array([2.0]))  # d = 1 / sqrt(1 + 1) 2
    True
    >>> p.round(6)
    array([-0.414214])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1.0,
        *,
        rho: Any = 0.9,
        eps: Any = 1e-6,
        **options: Unpack[DecayOptions],
    ) -> None:
        super().__init__(params, adadelta, lr=lr, rho=rho, eps=eps, **options)


@built_in(Adadelta)
def adadelta(p, v, u, g, *, lr, rho, eps):
    """Zeiler 2012, algorithm 1; lr multiplies the step."""
    v = rho * v + (1 - rho) * np.abs(g) ** 2
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    return p - lr * d, v, rho * u + (1 - rho) * np.abs(d) ** 2


class FTRL(Optimizer):
    """Follow the regularized leader: sparse parameters, from all gradients so far.

    v <- v + g^2, z <- z + g + 2 l2_shrinkage p - (sqrt(v) - sqrt(v before)) / lr p,
    p <- (clip(z, -l1, l1) - z) / ((beta + sqrt(v)) / lr + 2 l2).

    Parameters follow from z and v alone: they start near 0, whatever they were. It is
    for linear models, as a network forgets its random weights.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in (0, inf).
        lr_power: in (-inf, 0]; where it is not -0.5, v**-lr_power takes the place of
            the root, and engines agree but for the last places.
        initial_accumulator: what v starts from, in [0, inf).
        l1: weight of the sum of abs(p), in [0, inf): what is small becomes 0.
        l2: weight of the sum of p^2, in [0, inf).
        l2_shrinkage: weight of p^2 at the present p alone, in [0, inf).
        beta: smooths the first rates, in [0, inf), and above 0 where
            initial_accumulator is 0.
        **options: those of every optimizer; see `Optimizer`.

    Source: McMahan et al. 2013, algorithm 1; l2_shrinkage and the factors 2 are those
    of Keras, as are the defaults. The paper has beta 1 and starts from 0.

    >>> import numpy as np
    >>> p = np.zeros(2)
    >>> opt = FTRL(p, 1.0, l1=1.0, initial_accumulator=0.0, beta=1.0)
    >>> opt.step(np.array([3.0, 0.5]))  # the second is too small for its l1
    True
    >>> p
    array([-0.5,  0. ])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        lr_power: float = -0.5,
        initial_accumulator: float = 0.1,
        l1: Any = 0.0,
        l2: Any = 0.0,
        l2_shrinkage: Any = 0.0,
        beta: Any = 0.0,
        **options: Unpack[DecayOptions],
    ) -> None:
        start = check_start(initial_accumulator)
        own = {"beta": "[0, inf)" if start else "(0, inf)"}
        scalars = {"lr": lr, "l1": l1, "l2": l2, "l2_shrinkage": l2_shrinkage}
        scalars["beta"] = beta
        rule = ftrl
        if not is_number(lr_power, -0.5):
            rule, scalars["lr_power"] = ftrl_power, lr_power
        rule = variant(rule, start=(("v", start),), **own)
        super().__init__(params, rule, **scalars, **options)


LEADER: dict[str, Any] = {"lr": "(0, inf)", "beta": "[0, inf)"}
LEADER |= dict.fromkeys(("l1", "l2", "l2_shrinkage"), "[0, inf)")


@built_in(FTRL, start={"v": "initial_accumulator"}, **LEADER)
def ftrl(p, v, z, g, *, lr, l1, l2, l2_shrinkage, beta):
    """McMahan et al. 2013, algorithm 1, as Keras scales l2 and shrinks."""
    before, v = v, v + np.abs(g) ** 2
    sigma = (np.sqrt(v) - np.sqrt(before)) / lr
    z = z + g + 2 * l2_shrinkage * p - sigma * p
    curvature = (beta + np.sqrt(v)) / lr + 2 * l2
    return (np.clip(z, -l1, l1) - z) / curvature, v, z


@built_in(FTRL, start={"v": "initial_accumulator"}, lr_power="(-inf, 0]", **LEADER)
def ftrl_power(p, v, z, g, *, lr, lr_power, l1, l2, l2_shrinkage, beta):
    """The same with another power of the sum than the root."""
    before, v = v, v + np.abs(g) ** 2
    sigma = (v**-lr_power - before**-lr_power) / lr
    z = z + g + 2 * l2_shrinkage * p - sigma * p
    curvature = (beta + v**-lr_power) / lr + 2 * l2
    return (np.clip(z, -l1, l1) - z) / curvature, v, z
