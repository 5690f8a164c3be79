"""Mean squares of rows and columns in place of those of elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from gdopt.arrays.arena import array_label
from gdopt.arrays.dtypes import compute_name
from gdopt.checks import check_choice, check_flag
from gdopt.errors import ArgumentError
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import built_in

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adam's root mean square, from the means of rows and columns of a matrix.

    With b = t^beta2_decay, and mean and rms over all that is named:
    r <- r + b (mean over a row of g^2 - r), c <- c + b (mean over a column of g^2 - c),
    u = g / sqrt(max(r c / max(mean r, eps1), eps1^2)), u <- u / max(1, rms(u) / d),
    p <- p - lr weight_decay p - max(eps2, rms(p)) min(lr, 1 / sqrt(t)) u.
    A vector has v <- v + b (g^2 - v) in place of r c / mean r.
    ``form="keras"``: eps1 is added to g^2, and nowhere else.

    Args:
        params: see `Optimizer`; arrays of at most two axes. The state of a matrix is a
            float64 number for each row and for each column.
        lr: largest learning rate, relative to rms(p), in [0, inf).
        beta2_decay: in (-inf, 0).
        eps1: in (0, inf); by default the machine epsilon of the arithmetic's dtype for
            ``form="torch"``, as in torch, and 1e-30 for ``form="keras"``.
        eps2: least rms(p), in [0, inf).
        d: above it, rms(u) is clipped, in (0, inf).
        weight_decay: in [0, inf).
        relative_step: whether the rate is at most 1 / sqrt(t).
        form: whose epsilons: ``"torch"`` or ``"keras"``, which is also the paper's.
        **options: those of every optimizer; see `Optimizer`.

    Raises:
        ArgumentError: an array has more than two axes: reshape it, as a view.

    Source: Shazeer & Stern 2018 (arXiv 1804.04235), algorithms 4 and 5. Defaults are
    torch's; Keras has lr .001. optax is ``form="keras", relative_step=False``; it
    leaves matrices with fewer than 128 rows or columns unfactored.

    >>> import numpy as np
    >>> p = np.ones((2, 3))
    >>> opt = Adafactor(p, 0.5)
    >>> opt.step(np.full((2, 3), 7.0))  # u is 1, and so is rms(p)
    True
    >>> p[0].round(6)
    array([0.5, 0.5, 0.5])
    >>> {name: array.shape for name, array in opt.state["0"].items()}
    {'r': (2, 1), 'c': (1, 3)}
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        *,
        beta2_decay: Any = -0.8,
        eps1: Any = None,
        eps2: Any = 1e-3,
        d: Any = 1.0,
        weight_decay: Any = 0.0,
        relative_step: bool = True,
        form: str = "torch",
        **options: Unpack[SharedOptions],
    ) -> None:
        check_choice("form", form, ("torch", "keras"))
        check_flag("relative_step", relative_step)
        named = Parameters.of(params).named
        for name, array in named.items():
            if array.ndim > 2:
                message = "Adafactor takes arrays of at most two axes, but "
                message += f"{array_label(name)} has shape {array.shape}: give a view, "
                message += "p.reshape(len(p), -1)"
                raise ArgumentError(message)
        if eps1 is None:
            eps1 = 1e-30 if form == "keras" else _machine_epsilons(named)
        rule = ADAFACTOR[form, relative_step]
        scalars = {"lr": lr, "beta2_decay": beta2_decay, "eps1": eps1, "eps2": eps2}
        scalars |= {"d": d, "weight_decay": weight_decay}
        super().__init__(params, rule, **scalars, **options)


def _machine_epsilons(arrays: Mapping[str, Any]) -> float | dict[str, float]:
    """Return the epsilon of the arithmetic: by name, where dtypes differ."""
    found = {
        name: float(np.finfo(compute_name(np.dtype(array.dtype).name)).eps)
        for name, array in arrays.items()
    }
    equal = len(set(found.values())) == 1
    return next(iter(found.values())) if equal else found


FACTORS: dict[str, Any] = {"per": {"r": "row", "c": "column"}}
FACTORS |= {"eps1": "(0, inf)", "eps2": "[0, inf)", "d": "(0, inf)"}
FACTORS |= {"beta2_decay": "(-inf, 0)"}


def factored(r, c, g, *, eps1, share):
    """Divide by the root of r c / mean r; its epsilon is torch's."""
    if g.ndim > 1:
        r = r + share * (np.mean(g * g, axis=1, keepdims=True) - r)
        c = c + share * (np.mean(g * g, axis=0, keepdims=True) - c)
        v = r / np.maximum(np.mean(r), eps1) * c
    else:
        v = r = r + share * (g * g - r)
    return g / np.sqrt(np.maximum(v, eps1 * eps1)), r, c


def factored_keras(r, c, g, *, eps1, share):
    """The same with the epsilon of the paper."""
    square = g * g + eps1
    if g.ndim > 1:
        r = r + share * (np.mean(square, axis=1, keepdims=True) - r)
        c = c + share * (np.mean(square, axis=0, keepdims=True) - c)
        v = r / np.mean(r) * c
    else:
        v = r = r + share * (square - r)
    return g / np.sqrt(v), r, c


def relative(p, u, *, eps2, d):
    """Clip an update by its root mean square, and make it relative to p's."""
    u = u / np.maximum(1.0, np.sqrt(np.mean(u * u)) / d)
    return np.maximum(eps2, np.sqrt(np.mean(p * p))) * u


@built_in(Adafactor, **FACTORS)
def adafactor(p, r, c, g, *, lr, beta2_decay, eps1, eps2, d, weight_decay, t):
    """Shazeer & Stern 2018, algorithms 4 and 5."""
    u, r, c = factored(r, c, g, eps1=eps1, share=t**beta2_decay)
    rate = np.minimum(lr, t**-0.5)
    return p - lr * weight_decay * p - rate * relative(p, u, eps2=eps2, d=d), r, c


@built_in(Adafactor, **FACTORS)
def adafactor_absolute(p, r, c, g, *, lr, beta2_decay, eps1, eps2, d, weight_decay, t):
    """The same, whose rate is lr."""
    u, r, c = factored(r, c, g, eps1=eps1, share=t**beta2_decay)
    return p - lr * weight_decay * p - lr * relative(p, u, eps2=eps2, d=d), r, c


@built_in(Adafactor, **FACTORS)
def adafactor_keras(p, r, c, g, *, lr, beta2_decay, eps1, eps2, d, weight_decay, t):
    """Shazeer & Stern 2018, algorithms 4 and 5, with the paper's epsilon."""
    u, r, c = factored_keras(r, c, g, eps1=eps1, share=t**beta2_decay)
    rate = np.minimum(lr, t**-0.5)
    return p - lr * weight_decay * p - rate * relative(p, u, eps2=eps2, d=d), r, c


@built_in(Adafactor, **FACTORS)
def adafactor_keras_absolute(
    p, r, c, g, *, lr, beta2_decay, eps1, eps2, d, weight_decay, t
):
    """The same, whose rate is lr, as in optax."""
    u, r, c = factored_keras(r, c, g, eps1=eps1, share=t**beta2_decay)
    return p - lr * weight_decay * p - lr * relative(p, u, eps2=eps2, d=d), r, c


ADAFACTOR = {
    ("torch", True): adafactor,
    ("torch", False): adafactor_absolute,
    ("keras", True): adafactor_keras,
    ("keras", False): adafactor_keras_absolute,
}
