"""Gradient descent, with and without momentum, and averaged."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice, check_flag
from gdopt.errors import ArgumentError
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions
from gdopt.optim.rule import built_in, is_number

__all__ = ["ASGD", "SGD", "Momentum", "Nesterov"]


class SGD(Optimizer):
    """Gradient descent: p <- p - lr g; stochastic where g is a mini-batch's.

    With `momentum`: b <- momentum b + (1 - dampening) g, p <- p - lr b, where the first
    b is g, which is not dampened. With `nesterov`, too: p <- p - lr (g + momentum b).

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        momentum: share of b that is kept, in [0, 1); the number 0 keeps no b.
        dampening: in [0, 1]; needs momentum.
        nesterov: look ahead along b; needs momentum, and no dampening.
        **options: those of every optimizer; see `Optimizer`.

    Source: Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013. As torch. optax
    does not dampen; Keras has the rate within b, as ``Momentum(form="keras")``. The
    course's momentum is `Momentum`.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> SGD(p, 0.5).step(np.array([3.0]))
    True
    >>> p
    array([-0.5])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        momentum: Any = 0.0,
        dampening: Any = 0.0,
        nesterov: bool = False,
        **options: Unpack[DecayOptions],
    ) -> None:
        nesterov = check_flag("nesterov", nesterov)
        without_momentum, undampened = is_number(momentum, 0), is_number(dampening, 0)
        if nesterov and (without_momentum or not undampened):
            message = "nesterov needs momentum above 0 and dampening 0, got "
            raise ArgumentError(message + f"{momentum!r} and {dampening!r}")
        if without_momentum and not undampened:
            raise ArgumentError(f"dampening needs momentum above 0, got {momentum!r}")
        if without_momentum:
            super().__init__(params, sgd, lr=lr, **options)
            return
        scalars = {"lr": lr, "momentum": momentum}
        if nesterov:
            rule = sgd_nesterov
        else:
            rule = sgd_momentum
            scalars["dampening"] = dampening
        super().__init__(params, rule, **scalars, **options)


@built_in(SGD)
def sgd(p, g, *, lr):
    """Robbins & Monro 1951."""
    return p - lr * g


@built_in(SGD, dampening="[0, 1]")
def sgd_momentum(p, b, g, *, lr, momentum, dampening, t):
    """As in torch: the first gradient is not dampened."""
    b = momentum * b + np.where(t == 1, 1.0, 1 - dampening) * g
    return p - lr * b, b


@built_in(SGD, momentum="(0, 1)")
def sgd_nesterov(p, b, g, *, lr, momentum):
    """As in torch: `nesterov` by another name."""
    return nesterov(p, b, g, lr=lr, beta=momentum)


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
        lr: Any = 1e-3,
        *,
        beta: Any = 0.9,
        form: str = "ewa",
        bias_correction: bool = False,
        **options: Unpack[DecayOptions],
    ) -> None:
        check_choice("form", form, FORMS)
        bias_correction = check_flag("bias_correction", bias_correction)
        if bias_correction and form != "ewa":
            message = f"bias_correction must be False for form {form!r}, which has none"
            raise ArgumentError(message)
        rule = momentum_corrected if bias_correction else FORMS[form]
        super().__init__(params, rule, lr=lr, beta=beta, **options)


@built_in(Momentum)
def momentum(p, v, g, *, lr, beta):
    """Ng, Deep Learning Specialization, course 2, week 2."""
    v = beta * v + (1 - beta) * g
    return p - lr * v, v


@built_in(Momentum)
def momentum_corrected(p, v, g, *, lr, beta, t):
    """The same without bias, the correction folded into the rate."""
    v = beta * v + (1 - beta) * g
    return p - lr / (1 - beta**t) * v, v


@built_in(Momentum)
def heavy_ball(p, v, g, *, lr, beta):
    """Polyak 1964, as in torch and optax."""
    v = beta * v + g
    return p - lr * v, v


@built_in(Momentum)
def keras_momentum(p, v, g, *, lr, beta):
    """The rate inside the velocity, as in Keras and chainer."""
    v = beta * v - lr * g
    return p + v, v


FORMS = {"ewa": momentum, "heavy_ball": heavy_ball, "keras": keras_momentum}


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
        lr: Any = 1e-3,
        *,
        beta: Any = 0.9,
        **options: Unpack[DecayOptions],
    ) -> None:
        super().__init__(params, nesterov, lr=lr, beta=beta, **options)


@built_in(Nesterov, beta="(0, 1)")
def nesterov(p, v, g, *, lr, beta):
    """Sutskever et al. 2013, with the parameters shifted to where g is taken."""
    v = beta * v + g
    return p - lr * (g + beta * v), v


class ASGD(Optimizer):
    """Averaged gradient descent: its state ``a`` is the mean of the parameters.

    With eta = lr / (1 + lambd lr (t - 1))**alpha:
    p <- (1 - lambd eta) p - eta g, a <- a + (p - a) / max(1, t - 1 - t0), so that a is
    p until step t0 and the mean of all later ones from then on: ``opt.state``.

    Args:
        params: see `Optimizer`.
        lr: learning rate of the first step, in [0, inf).
        lambd: decay of the parameters and of the rate, in [0, inf).
        alpha: power of the rate's decay, in [0, inf).
        t0: step from which on a averages, in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: Polyak & Juditsky 1992; the rate is that of Bottou 2010, section 5. As torch
    at a fixed rate; torch takes a rate that is changed one step late.

    >>> import numpy as np
    >>> p = np.array([0.0])
    >>> opt = ASGD(p, 1.0, lambd=0.0, t0=0.0)
    >>> [opt.step(np.array([g])) for g in (-1.0, -1.0, 2.0)]
    [True, True, True]
    >>> p, opt.state["0"]["a"]  # after 1, 2 and 0
    (array([0.]), array([1.]))
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        *,
        lambd: Any = 1e-4,
        alpha: Any = 0.75,
        t0: Any = 1e6,
        **options: Unpack[DecayOptions],
    ) -> None:
        scalars = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0}
        super().__init__(params, asgd, **scalars, **options)


@built_in(ASGD, lambd="[0, inf)", alpha="[0, inf)", t0="[0, inf)")
def asgd(p, a, g, *, lr, lambd, alpha, t0, t):
    """Polyak & Juditsky 1992, with the rate of Bottou 2010, as in torch."""
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    p = (1 - lambd * eta) * p - eta * g
    return p, a + (p - a) / np.maximum(1.0, t - 1 - t0)
