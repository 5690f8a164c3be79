"""Relatives of Adam with another second moment or correction."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice, check_flag
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions
from gdopt.optim.rule import built_in

__all__ = ["AdaBelief", "Adamax", "RAdam", "Yogi"]


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the root of the mean square.

    m <- beta1 m + (1 - beta1) g, and
    ``eps_mode="inside"``: u <- max(beta2 u, abs(g) + eps),
    p <- p - lr / (1 - beta1**t) m / u.
    ``eps_mode="outside"``: u <- max(beta2 u, abs(g)),
    p <- p - lr / (1 - beta1**t) m / (u + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the maximum that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        eps_mode: inside the maximum, as in torch and optax, or outside, as in Keras.
        **options: those of every optimizer; see `Optimizer`.

    Source: Kingma & Ba 2015 (arXiv 1412.6980), algorithm 2, which has no epsilon.
    Defaults are torch's; Keras has lr 1e-3 and eps 1e-7.

    >>> import numpy as np
    >>> p = np.array([1.0, 1.0])
    >>> Adamax(p, 0.1).step(np.array([5.0, -0.01]))  # the first step has size lr
    True
    >>> p.round(6)
    array([0.9, 1.1])
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
        eps_mode: str = "inside",
        **options: Unpack[DecayOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, ADAMAX)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, ADAMAX[eps_mode], **scalars, **options)


@built_in(Adamax)
def adamax(p, m, u, g, *, lr, beta1, beta2, eps, t):
    """Kingma & Ba 2015, algorithm 2, with epsilon in the norm, as in torch."""
    m = beta1 * m + (1 - beta1) * g
    u = np.maximum(beta2 * u, abs(g) + eps)
    return p - lr / (1 - beta1**t) * m / u, m, u


@built_in(Adamax)
def adamax_outside(p, m, u, g, *, lr, beta1, beta2, eps, t):
    """The same with epsilon next to the norm, as in Keras."""
    m = beta1 * m + (1 - beta1) * g
    u = np.maximum(beta2 * u, abs(g))
    return p - lr / (1 - beta1**t) * m / (u + eps), m, u


ADAMAX = {"inside": adamax, "outside": adamax_outside}


class RAdam(Optimizer):
    """Adam that waits for its variance: momentum at first, then a rectified rate.

    With l = 2 / (1 - beta2) - 1 and n = l - 2 t beta2**t / (1 - beta2**t), and m^, v^
    as in `Adam`: p <- p - lr m^ up to n = 5, then p <- p - lr r m^ / sqrt(v^), where
    r^2 = (n - 4) (n - 2) l / ((l - 4) (l - 2) n). As in torch, eps is added to sqrt(v).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1); up to 2/3, the rule is
            momentum forever.
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        **options: those of every optimizer; see `Optimizer`.

    Source: Liu et al. 2020 (arXiv 1908.03265), algorithm 2, which rectifies from n = 4;
    torch and optax wait for 5. Defaults are torch's. optax adds eps to sqrt(v^).

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> RAdam(p, 0.1).step(np.array([5.0]))  # nothing is divided yet
    True
    >>> p.round(6)
    array([0.5])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        **options: Unpack[DecayOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, radam, **scalars, **options)


@built_in(RAdam)
def radam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Liu et al. 2020, algorithm 2, rectified from a length of 5, as torch does."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    most = 2 / (1 - beta2) - 1
    length = most - 2 * t * beta2**t / (1 - beta2**t)
    shares = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    r = np.where(length > 5, shares, 0.0) ** 0.5
    adaptive = r * (1 - beta2**t) ** 0.5 / (np.sqrt(v) + eps)
    return p - lr / (1 - beta1**t) * m * np.where(length > 5, adaptive, 1.0), m, v


class Yogi(Optimizer):
    """Adam whose second moment changes by no more than the gradient's square.

    m <- beta1 m + (1 - beta1) g, v <- v - (1 - beta2) sign(v - g^2) g^2,
    p <- p - lr m / (sqrt(v) + eps); with `bias_correction` m^ and v^ as in `Adam`.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: 1 - beta2 is the share of g^2 by which v changes, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        bias_correction: as in optax; the paper has none.
        **options: those of every optimizer; see `Optimizer`.

    Source: Zaheer et al. 2018 (NeurIPS), algorithm 2; defaults are the paper's. optax
    corrects the bias, and starts both moments from 1e-6. torch and Keras do not have
    it.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> Yogi(p, 1.0, beta2=0.75, eps=1.0).step(np.array([2.0]))  # m = .2, v = 1
    True
    >>> p.round(6)
    array([0.9])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-3,
        bias_correction: bool = False,
        **options: Unpack[DecayOptions],
    ) -> None:
        corrected = check_flag("bias_correction", bias_correction)
        rule = yogi_corrected if corrected else yogi
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, rule, **scalars, **options)


@built_in(Yogi)
def yogi(p, m, v, g, *, lr, beta1, beta2, eps):
    """Zaheer et al. 2018, algorithm 2."""
    m = beta1 * m + (1 - beta1) * g
    v = v - (1 - beta2) * np.sign(v - np.abs(g) ** 2) * np.abs(g) ** 2
    return p - lr * m / (np.sqrt(v) + eps), m, v


@built_in(Yogi)
def yogi_corrected(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """The same with Adam's corrections, as in optax."""
    m = beta1 * m + (1 - beta1) * g
    v = v - (1 - beta2) * np.sign(v - np.abs(g) ** 2) * np.abs(g) ** 2
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, v


class AdaBelief(Optimizer):
    """Adam that divides by how far gradients are from their mean.

    m <- beta1 m + (1 - beta1) g, s <- beta2 s + (1 - beta2) (g - m)^2 + eps, and with
    m^ = m / (1 - beta1**t), s^ = s / (1 - beta2**t): p <- p - lr m^ / (sqrt(s^) + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of s that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        **options: those of every optimizer; see `Optimizer`.

    Source: Zhuang et al. 2020 (arXiv 2010.07468), algorithm 2; eps is that of the
    authors' code and of optax, which has two of them. torch and Keras do not have it.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> AdaBelief(p, 0.09).step(np.array([5.0]))  # g - m = .9 g
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
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-16,
        **options: Unpack[DecayOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, adabelief, **scalars, **options)


@built_in(AdaBelief)
def adabelief(p, m, s, g, *, lr, beta1, beta2, eps, t):
    """Zhuang et al. 2020, algorithm 2."""
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * np.abs(g - m) ** 2 + eps
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(s) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, s
