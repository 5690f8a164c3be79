"""Relatives of Adam: other second moments, corrections and looks ahead."""

from __future__ import annotations

from typing import Any, Unpack

from gdopt.checks import check_choice, check_flag
from gdopt.optim import formulas
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.rule import built_in

ADAMAX = {"inside": formulas.adamax, "outside": formulas.adamax_outside}


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
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, tuple(ADAMAX))
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, built_in(ADAMAX[eps_mode]), **scalars, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, built_in(formulas.radam), **scalars, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        corrected = check_flag("bias_correction", bias_correction)
        rule = built_in(formulas.yogi_corrected if corrected else formulas.yogi)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, rule, **scalars, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, built_in(formulas.adabelief), **scalars, **options)


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
        scalars["weight_decay"] = weight_decay
        super().__init__(params, built_in(formulas.adan), **scalars, **options)


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
        **options: Unpack[SharedOptions],
    ) -> None:
        clips = check_flag("clip", clip)
        rule = built_in(formulas.adopt_clipped if clips else formulas.adopt)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, rule, **scalars, **options)
