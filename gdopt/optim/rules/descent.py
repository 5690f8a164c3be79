"""Gradient descent, with and without momentum."""

from __future__ import annotations

import functools
from typing import Any, Unpack

from gdopt.checks import check_choice, check_flag
from gdopt.errors import ArgumentError
from gdopt.optim import formulas
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.rules.rule import BETA, LR, Rule, rule

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
    a (1 - beta). They part ways when the rate changes.

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
