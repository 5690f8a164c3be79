"""The optimizers: gradient descent, momentum, and rates that adapt to each element."""

from __future__ import annotations

import functools
from typing import Any, Unpack

from gdopt.checks import check_choice, check_flag
from gdopt.errors import ArgumentError
from gdopt.optim import formulas
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.rule import BETA, DECAY, EPS, LR, Rule, rule

FORMS = {
    "ewa": formulas.momentum,
    "heavy_ball": formulas.heavy_ball,
    "keras": formulas.keras_momentum,
}

sgd = rule(ranges={"lr": LR})(formulas.sgd)
nesterov = rule(ranges={"lr": LR, "beta": "(0, 1)"})(formulas.nesterov)


@functools.cache
def momentum(form: str, *, bias_correction: bool) -> Rule:
    """Make the rule of momentum in one of its forms; see `Momentum`."""
    formula = formulas.momentum_corrected if bias_correction else FORMS[form]
    return rule(ranges={"lr": LR, "beta": BETA})(formula)


class SGD(Optimizer):
    """Gradient descent: p <- p - lr g; stochastic where g is a mini-batch's.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    torch's ``SGD(momentum=...)`` is `Momentum` or `Nesterov` here: a rule each.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> SGD(p, lr=0.5).step(np.array([3.0]))
    True
    >>> p
    array([-0.5])
    """

    @with_options
    def __init__(
        self, params: Any, *, lr: Any = 1e-3, **options: Unpack[SharedOptions]
    ) -> None:
        super().__init__(params, sgd, lr=lr, **options)


class Momentum(Optimizer):
    """Gradient descent along an average of the gradients.

    ``form="ewa"``: v <- beta v + (1 - beta) g, p <- p - lr v; with `bias_correction`
    v / (1 - beta**t) in place of v.
    ``form="heavy_ball"``: v <- beta v + g, p <- p - lr v.
    ``form="keras"``: v <- beta v - lr g, p <- p + v.

    At a fixed rate the three agree: the first with rate a is the others with rate
    a (1 - beta). They differ once the rate changes.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta: share of the average that is kept, in [0, 1).
        form: one of the three.
        bias_correction: undo the start from zero; for ``"ewa"`` only.
        **options: those of every optimizer; see `Optimizer`.

    Source: Ng, Deep Learning Specialization, course 2, week 2 (ewa); Polyak 1964
    (heavy ball). torch and optax have the heavy ball, Keras and chainer the third.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> opt = Momentum(p, lr=1.0, beta=0.9)
    >>> opt.step(np.array([1.0]))
    True
    >>> p.round(3)
    array([0.9])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        *,
        lr: Any = 1e-3,
        beta: Any = 0.9,
        form: str = "ewa",
        bias_correction: bool = False,
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("form", form, tuple(FORMS))
        bias_correction = check_flag("bias_correction", bias_correction)
        if bias_correction and form != "ewa":
            message = f"bias_correction must be False for form {form!r}, which has none"
            raise ArgumentError(message)
        formula = momentum(form, bias_correction=bias_correction)
        super().__init__(params, formula, lr=lr, beta=beta, **options)


class Nesterov(Optimizer):
    """Nesterov's accelerated gradient: v <- beta v + g, p <- p - lr (g + beta v).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta: momentum, in (0, 1): without it there is nothing to look ahead along.
        **options: those of every optimizer; see `Optimizer`.

    Source: Sutskever et al. 2013; Bengio et al. 2012 (arXiv 1212.0901), eq. 7, with
    the parameters shifted to where the gradient is taken. As torch; Keras' form agrees
    at a fixed rate. chainer uses the new velocity where the paper has the old one: its
    first step is .271 at beta .9 and rate .1, where this one's is .19.

    >>> import numpy as np
    >>> p = np.array([0.0])
    >>> Nesterov(p, lr=0.1, beta=0.9).step(np.array([1.0]))
    True
    >>> p.round(6)
    array([-0.19])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        *,
        lr: Any = 1e-3,
        beta: Any = 0.9,
        **options: Unpack[SharedOptions],
    ) -> None:
        super().__init__(params, nesterov, lr=lr, beta=beta, **options)


MODES = ("corrected", "raw", "inside")  # where Adam and AdamW put epsilon
ADAM = {  # by that, and whether the bias is corrected
    ("corrected", True): formulas.adam,
    ("raw", True): formulas.adam_raw,
    ("inside", True): formulas.adam_inside,
    ("corrected", False): formulas.adam_uncorrected,
    ("raw", False): formulas.adam_uncorrected,
    ("inside", False): formulas.adam_inside_uncorrected,
}
ADAM_RANGES = {"lr": LR, "beta1": BETA, "beta2": BETA, "eps": EPS}
RMSPROP = {"outside": formulas.rmsprop, "inside": formulas.rmsprop_inside}


@functools.cache
def rmsprop(eps_mode: str) -> Rule:
    """Make the rule of RMSprop with its epsilon outside or inside the root."""
    ranges = {"lr": LR, "beta": BETA, "eps": EPS}
    return rule(ranges=ranges)(RMSPROP[eps_mode])


class RMSprop(Optimizer):
    """Divide by the root of the mean square: v <- beta v + (1 - beta) g^2.

    ``eps_mode="outside"``: p <- p - lr g / (sqrt(v) + eps).
    ``eps_mode="inside"``: p <- p - lr g / sqrt(v + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        eps_mode: outside the root, as in torch, or inside, as in Keras and optax.
        **options: those of every optimizer; see `Optimizer`.

    Source: Tieleman & Hinton 2012, lecture 6.5; Ng, Deep Learning Specialization,
    course 2, week 2. No library corrects its bias. torch's default beta (alpha there)
    is .99, Keras' and optax's .9.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> RMSprop(p, lr=0.1, beta=0.75).step(np.array([4.0]))  # v = 4, root 2
    True
    >>> p.round(6)
    array([0.8])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        *,
        lr: Any = 1e-2,
        beta: Any = 0.9,
        eps: Any = 1e-8,
        eps_mode: str = "outside",
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, tuple(RMSPROP))
        super().__init__(
            params, rmsprop(eps_mode), lr=lr, beta=beta, eps=eps, **options
        )


@functools.cache
def adam(eps_mode: str, *, bias_correction: bool) -> Rule:
    """Make the rule of Adam with its epsilon in one of three places; see `Adam`."""
    return rule(ranges=ADAM_RANGES)(ADAM[eps_mode, bias_correction])


@functools.cache
def adamw(eps_mode: str, *, bias_correction: bool) -> Rule:
    """Make the rule of AdamW: the parameter decays by itself, then Adam's step."""
    formula = formulas.decoupled(ADAM[eps_mode, bias_correction])
    return rule(ranges={**ADAM_RANGES, "weight_decay": DECAY})(formula)


class Adam(Optimizer):
    """Adaptive moment estimation: momentum over RMSprop, both without bias.

    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, and with
    m^ = m / (1 - beta1**t), v^ = v / (1 - beta2**t):
    ``eps_mode="corrected"``: p <- p - lr m^ / (sqrt(v^) + eps).
    ``eps_mode="raw"``: p <- p - lr sqrt(1 - beta2**t) / (1 - beta1**t) m / (sqrt(v) +
    eps), whose epsilon weighs 31.6 times as much in the first step.
    ``eps_mode="inside"``: p <- p - lr m^ / sqrt(v^ + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        eps_mode: one of the three: torch, optax and the course have ``"corrected"``,
            Keras and chainer ``"raw"``.
        bias_correction: without it, m and v are used in place of m^ and v^.
        **options: those of every optimizer; see `Optimizer`.

    Source: Kingma & Ba 2015 (arXiv 1412.6980), algorithm 1; ``"raw"`` is the form at
    the end of its section 2. Keras' default eps is 1e-7.

    >>> import numpy as np
    >>> p = np.array([1.0, 1.0])
    >>> Adam(p, lr=0.1).step(np.array([5.0, -0.01]))  # the first step has size lr
    True
    >>> p.round(6)
    array([0.9, 1.1])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        *,
        lr: Any = 1e-3,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        eps_mode: str = "corrected",
        bias_correction: bool = True,
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, MODES)
        bias_correction = check_flag("bias_correction", bias_correction)
        formula = adam(eps_mode, bias_correction=bias_correction)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, formula, **scalars, **options)


class AdamW(Optimizer):
    """Adam with decoupled weight decay: p <- (1 - lr weight_decay) p, then Adam's step.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        weight_decay: in [0, inf); by name, ``{"W": 0.01, "b": 0.0}`` spares biases.
        eps_mode: see `Adam`.
        bias_correction: see `Adam`.
        **options: those of every optimizer; see `Optimizer`.

    Source: Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with the decay
    multiplied by the rate as torch and optax do.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> AdamW(p, lr=0.1, weight_decay=0.5).step(np.array([0.0]))
    True
    >>> p
    array([0.95])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        *,
        lr: Any = 1e-3,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        weight_decay: Any = 1e-2,
        eps_mode: str = "corrected",
        bias_correction: bool = True,
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("eps_mode", eps_mode, MODES)
        bias_correction = check_flag("bias_correction", bias_correction)
        formula = adamw(eps_mode, bias_correction=bias_correction)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        scalars["weight_decay"] = weight_decay
        super().__init__(params, formula, **scalars, **options)
