"""Rates that adapt to the size of each element's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice, check_flag, check_not_negative
from gdopt.errors import ArgumentError
from gdopt.optim import formulas
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.rule import built_in, is_number

ADAGRAD = {"outside": formulas.adagrad, "inside": formulas.adagrad_inside}
RMSPROP = {  # by whether it is centered, the momentum's form, and where epsilon stands
    (False, None, "outside"): formulas.rmsprop,
    (False, None, "inside"): formulas.rmsprop_inside,
    (False, "heavy_ball", "outside"): formulas.rmsprop_heavy_ball,
    (False, "heavy_ball", "inside"): formulas.rmsprop_heavy_ball_inside,
    (False, "keras", "outside"): formulas.rmsprop_keras,
    (False, "keras", "inside"): formulas.rmsprop_keras_inside,
    (True, None, "outside"): formulas.rmsprop_centered,
    (True, None, "inside"): formulas.rmsprop_centered_inside,
    (True, "heavy_ball", "outside"): formulas.rmsprop_centered_heavy_ball,
    (True, "heavy_ball", "inside"): formulas.rmsprop_centered_heavy_ball_inside,
    (True, "keras", "outside"): formulas.rmsprop_centered_keras,
    (True, "keras", "inside"): formulas.rmsprop_centered_keras_inside,
}


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
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, tuple(ADAGRAD))
        start = check_start(initial_accumulator)
        own = {"eps": "[0, inf)"} if start else {}
        rule = built_in(ADAGRAD[eps_mode], start=(("v", start),), **own)
        super().__init__(params, rule, lr=lr, eps=eps, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        rule = built_in(formulas.adadelta)
        super().__init__(params, rule, lr=lr, rho=rho, eps=eps, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, ("outside", "inside"))
        check_choice("form", form, ("heavy_ball", "keras"))
        kept = None if is_number(momentum, 0) else form
        formula = RMSPROP[check_flag("centered", centered), kept, eps_mode]
        scalars = {"lr": lr, "beta": beta}
        if is_number(eps, 0) and formula in {formulas.rmsprop, formulas.rmsprop_inside}:
            formula = formulas.rmsprop_without_eps
        else:
            scalars["eps"] = eps
        if kept is not None:
            scalars["momentum"] = momentum
        super().__init__(params, built_in(formula), **scalars, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        start = check_start(initial_accumulator)
        own = {"lr": "(0, inf)", "beta": "[0, inf)" if start else "(0, inf)"}
        scalars = {"lr": lr, "l1": l1, "l2": l2, "l2_shrinkage": l2_shrinkage}
        scalars["beta"] = beta
        formula: Callable[..., Any] = formulas.ftrl
        if not is_number(lr_power, -0.5):
            formula, scalars["lr_power"] = formulas.ftrl_power, lr_power
        rule = built_in(formula, start=(("v", start),), **own)
        super().__init__(params, rule, **scalars, **options)
