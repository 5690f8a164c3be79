"""Successors of Adam."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_flag
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions, SharedOptions
from gdopt.optim.rule import built_in

__all__ = ["ADOPT", "Adan", "NAdam"]


class Adan(Optimizer):
    """Adam with Nesterov's look ahead, by the differences of gradients.

    With d = g - the gradient before, which is 0 in the first step:
    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) d,
    u <- beta3 u + (1 - beta3) (g + beta2 d)^2, and all without bias, as in `Adam`:
    p <- (p - lr (m^ + beta2 v^) / (sqrt(u^) + eps)) / (1 + lr weight_decay).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean difference that is kept, in [0, 1).
        beta3: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        weight_decay: in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: Xie et al. 2022 (arXiv 2208.06677), algorithm 1, whose betas are 1 minus
    these; corrections and defaults are those of the authors' code. optax multiplies d
    and v^ by 1 - beta2 in place of beta2. torch and Keras do not have it.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> Adan(p, 0.1).step(np.array([5.0]))  # the first step has size lr
    True
    >>> p.round(6)
    array([0.9])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        beta1: Any = 0.98,
        beta2: Any = 0.92,
        beta3: Any = 0.99,
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "beta3": beta3, "eps": eps}
        super().__init__(params, adan, weight_decay=weight_decay, **scalars, **options)


@built_in(Adan)
def adan(p, m, v, u, h, g, *, lr, beta1, beta2, beta3, eps, weight_decay, t):
    """Xie et al. 2022, algorithm 1, corrected as the authors' code does; h is g."""
    change = np.where(t == 1, 0.0, g - h)
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * change
    u = beta3 * u + (1 - beta3) * np.abs(g + beta2 * change) ** 2
    correction = (1 - beta3**t) ** 0.5
    ahead = lr / (1 - beta1**t) * m + lr * beta2 / (1 - beta2**t) * v
    p = p - correction * ahead / (np.sqrt(u) + eps * correction)
    return p / (1 + lr * weight_decay), m, v, u, g


class ADOPT(Optimizer):
    """Adam that converges with any beta2: it divides by the v of the step before.

    m <- beta1 m + (1 - beta1) g / max(sqrt(v), eps), p <- p - lr m, and then
    v <- beta2 v + (1 - beta2) g^2. The first step sets v to g^2 and moves nothing.
    ``clip=True``: the quotient is clipped to (t - 1)**0.25, to either side.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        clip: as the authors' code and optax do by default.
        **options: those of every optimizer; see `Optimizer`.

    Source: Taniguchi et al. 2024 (arXiv 2411.02853), algorithm 2; defaults are the
    paper's. torch and Keras do not have it.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> opt = ADOPT(p, 1.0, beta1=0.75)
    >>> [opt.step(np.array([g])) for g in (2.0, 4.0)]  # p stays; then m = .25 4 / 2
    [True, True]
    >>> p
    array([0.5])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.9999,
        eps: Any = 1e-6,
        clip: bool = False,
        **options: Unpack[DecayOptions],
    ) -> None:
        clips = check_flag("clip", clip)
        rule = adopt_clipped if clips else adopt
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, rule, **scalars, **options)


@built_in(ADOPT)
def adopt(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Taniguchi et al. 2024, algorithm 2; the first step has no v to divide by."""
    u = g / np.maximum(np.sqrt(v), eps)
    m = np.where(t == 1, 0.0, beta1 * m + (1 - beta1) * u)
    v = np.where(t == 1, np.abs(g) ** 2, beta2 * v + (1 - beta2) * np.abs(g) ** 2)
    return p - lr * m, m, v


@built_in(ADOPT)
def adopt_clipped(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """The same with a bound on what is averaged, as the authors' code has it."""
    bound = (t - 1) ** 0.25
    u = np.clip(g / np.maximum(np.sqrt(v), eps), -bound, bound)
    m = np.where(t == 1, 0.0, beta1 * m + (1 - beta1) * u)
    v = np.where(t == 1, np.abs(g) ** 2, beta2 * v + (1 - beta2) * np.abs(g) ** 2)
    return p - lr * m, m, v


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, whose beta1 grows with the steps.

    With m and v of `Adam`, b(t) = beta1 (1 - .96^(momentum_decay t) / 2), and
    P(t) = b(1) b(2) ... b(t):
    p <- p - lr (b(t + 1) m / (1 - P(t + 1)) + (1 - b(t)) g / (1 - P(t)))
    / (sqrt(v / (1 - beta2^t)) + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        momentum_decay: in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: Dozat 2016, algorithm 8, with the schedule of its section 3. Defaults are
    torch's; Keras has momentum_decay 1, lr .001 and eps 1e-7. optax's nadam, with the
    same beta1 at all steps, is ``Adam(nesterov=True)``.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> NAdam(p, 0.1, beta1=0.0).step(np.array([5.0]))  # without momentum: of size lr
    True
    >>> p.round(6)
    array([0.9])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        momentum_decay: Any = 4e-3,
        **options: Unpack[DecayOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        scalars["momentum_decay"] = momentum_decay
        super().__init__(params, nadam, **scalars, **options)


@built_in(
    NAdam, start={"product": 1.0}, per={"product": "array"}, momentum_decay="[0, inf)"
)
def nadam(p, m, v, product, g, *, lr, beta1, beta2, eps, momentum_decay, t):
    """Dozat 2016, algorithm 8."""
    now = beta1 * (1 - 0.5 * 0.96 ** (momentum_decay * t))
    coming = beta1 * (1 - 0.5 * 0.96 ** (momentum_decay * (t + 1)))
    product = product * now
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    ahead = coming / (1 - product * coming) * m + (1 - now) / (1 - product) * g
    return p - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps), m, v, product
