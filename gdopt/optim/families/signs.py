"""Steps of which the gradients give the sign, but not the size."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions, SharedOptions
from gdopt.optim.rule import built_in

__all__ = ["Lion", "Rprop", "SignSGD"]


class SignSGD(Optimizer):
    """Step by the rate against the gradient's sign: p <- p - lr sign(g).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf): the size of every step.
        **options: those of every optimizer; see `Optimizer`.

    Source: Bernstein et al. 2018 (arXiv 1802.04434), algorithm 1. As
    ``optax.sign_sgd``; torch and Keras do not have it.

    >>> import numpy as np
    >>> p = np.array([1.0, 1.0, 1.0])
    >>> SignSGD(p, 0.25).step(np.array([3.0, -0.1, 0.0]))
    True
    >>> p
    array([0.75, 1.25, 1.  ])
    """

    @with_options
    def __init__(
        self, params: Any, lr: Any = 1e-3, **options: Unpack[DecayOptions]
    ) -> None:
        super().__init__(params, sign_sgd, lr=lr, **options)


@built_in(SignSGD)
def sign_sgd(p, g, *, lr):
    """Bernstein et al. 2018, algorithm 1."""
    return p - lr * np.sign(g)


class Lion(Optimizer):
    """Step by the rate against the sign of a mean: half of Adam's state.

    c = beta1 m + (1 - beta1) g, p <- (1 - lr weight_decay) p - lr sign(c),
    m <- beta2 m + (1 - beta2) g.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf); a third to a tenth of Adam's.
        beta1: share of m in what is stepped along, in [0, 1).
        beta2: share of m that is kept, in [0, 1).
        weight_decay: in [0, inf); three to ten times AdamW's.
        **options: those of every optimizer; see `Optimizer`.

    Source: Chen et al. 2023 (arXiv 2302.06675), algorithm 2. optax has weight_decay
    1e-3, Keras lr 1e-3; torch does not have it.

    >>> import numpy as np
    >>> p = np.array([1.0, 1.0])
    >>> Lion(p, 0.25).step(np.array([3.0, -0.1]))
    True
    >>> p
    array([0.75, 1.25])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-4,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.99,
        weight_decay: Any = 0.0,
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2}
        super().__init__(params, lion, weight_decay=weight_decay, **scalars, **options)


@built_in(Lion)
def lion(p, m, g, *, lr, beta1, beta2, weight_decay):
    """Chen et al. 2023, algorithm 2."""
    c = beta1 * m + (1 - beta1) * g
    p = (1 - lr * weight_decay) * p - lr * np.sign(c)
    return p, beta2 * m + (1 - beta2) * g


class Rprop(Optimizer):
    """Resilient backpropagation: a step size for each element, by the signs alone.

    The size s grows by eta_plus where g has the sign of the step before, and shrinks by
    eta_minus where it has turned; there g counts as 0, and the element stays.
    s <- clip(s eta, min_step_size, max_step_size), p <- p - s sign(g).

    For gradients of all the data: those of mini-batches turn by chance.

    Args:
        params: see `Optimizer`.
        lr: what s starts from, in [0, inf); its later values are not used.
        eta_minus: in (0, 1).
        eta_plus: in (1, inf).
        min_step_size: in [0, inf).
        max_step_size: in (0, inf].
        **options: those of every optimizer; see `Optimizer`.

    Source: Riedmiller & Braun 1993, without going back, which is Rprop- of Igel &
    Huesken 2000. As torch (``etas``, ``step_sizes``); optax makes each step one step
    later.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> opt = Rprop(p, 0.25)
    >>> [opt.step(np.array([g])) for g in (5.0, 0.1)]  # steps of .25 and .3
    [True, True]
    >>> p.round(6)
    array([0.45])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        *,
        eta_minus: Any = 0.5,
        eta_plus: Any = 1.2,
        min_step_size: Any = 1e-6,
        max_step_size: Any = 50.0,
        **options: Unpack[DecayOptions],
    ) -> None:
        scalars = {"lr": lr, "eta_minus": eta_minus, "eta_plus": eta_plus}
        scalars |= {"min_step_size": min_step_size, "max_step_size": max_step_size}
        super().__init__(params, rprop, **scalars, **options)


@built_in(
    Rprop,
    eta_minus="(0, 1)",
    eta_plus="(1, inf)",
    min_step_size="[0, inf)",
    max_step_size="(0, inf]",
)
def rprop(p, h, s, g, *, lr, eta_minus, eta_plus, min_step_size, max_step_size, t):
    """Riedmiller & Braun 1993, in the form Rprop- of Igel & Huesken 2000; h is g."""
    turn = g * h
    factor = np.where(turn > 0, eta_plus, np.where(turn < 0, eta_minus, 1.0))
    s = np.clip(np.where(t == 1, lr, s) * factor, min_step_size, max_step_size)
    g = np.where(turn < 0, 0.0, g)
    return p - np.sign(g) * s, g, s
