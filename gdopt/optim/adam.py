"""Adam and AdamW, with the flags of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from gdopt.checks import check_choice, check_flag
from gdopt.errors import ArgumentError
from gdopt.optim import formulas
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions
from gdopt.optim.rule import built_in

MODES = ("corrected", "raw", "inside")  # where epsilon stands
FORMULAS: dict[
    tuple[str, str, bool], Callable[..., Any]
] = {  # by a flag, the place of epsilon, and whether the bias is corrected
    ("", "corrected", True): formulas.adam,
    ("", "raw", True): formulas.adam_raw,
    ("", "inside", True): formulas.adam_inside,
    ("", "corrected", False): formulas.adam_uncorrected,
    ("", "raw", False): formulas.adam_uncorrected,
    ("", "inside", False): formulas.adam_inside_uncorrected,
    ("nesterov", "corrected", True): formulas.adam_nesterov,
    ("amsgrad, form torch,", "corrected", True): formulas.amsgrad,
    ("amsgrad, form torch,", "raw", True): formulas.amsgrad_raw,
    ("amsgrad, form optax,", "corrected", True): formulas.amsgrad_optax,
}


def choose(
    eps_mode: str,
    *,
    bias_correction: bool,
    amsgrad: bool,
    amsgrad_form: str,
    nesterov: bool,
) -> Callable[..., Any]:
    """Choose the formula of Adam by its flags.

    Raises:
        ArgumentError: a value is not one of the choices, or no library combines them.
        ArgumentTypeError: a flag is neither True nor False.
    """
    check_choice("eps_mode", eps_mode, MODES)
    check_choice("amsgrad_form", amsgrad_form, ("torch", "optax"))
    bias_correction = check_flag("bias_correction", bias_correction)
    amsgrad, nesterov = check_flag("amsgrad", amsgrad), check_flag("nesterov", nesterov)
    if amsgrad and nesterov:
        message = "nesterov must be False with amsgrad, got True for both"
        raise ArgumentError(message)
    flag = f"amsgrad, form {amsgrad_form}," if amsgrad else "nesterov" * nesterov
    formula = FORMULAS.get((flag, eps_mode, bias_correction))
    if formula is None:
        fits = [mode for name, mode, _ in FORMULAS if name == flag]
        message = (
            f"{flag} needs bias_correction True and eps_mode {' or '.join(fits)}, got "
            f"{bias_correction} and {eps_mode}"
        )
        raise ArgumentError(message)
    return formula


class Adam(Optimizer):
    """Adaptive moment estimation: momentum over RMSprop, both without bias.

    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, and with
    m^ = m / (1 - beta1**t), v^ = v / (1 - beta2**t):
    ``eps_mode="corrected"``: p <- p - lr m^ / (sqrt(v^) + eps).
    ``eps_mode="raw"``: p <- p - lr sqrt(1 - beta2**t) / (1 - beta1**t) m / (sqrt(v) +
    eps), whose epsilon weighs 31.6 times as much in the first step.
    ``eps_mode="inside"``: p <- p - lr m^ / sqrt(v^ + eps).
    ``amsgrad=True``: the largest v so far in place of v.
    ``nesterov=True``: beta1 m / (1 - beta1**(t + 1)) + (1 - beta1) g / (1 - beta1**t)
    in place of m^.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf).
        beta1: share of the mean that is kept, in [0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        eps_mode: one of the three: torch, optax and the course have ``"corrected"``,
            Keras and chainer ``"raw"``.
        bias_correction: without it, m and v are used in place of m^ and v^.
        amsgrad: v never falls; needs bias_correction and eps_mode ``"corrected"`` or,
            in torch's form, ``"raw"``, which is Keras' and chainer's.
        amsgrad_form: ``"torch"`` takes the maximum of v, ``"optax"`` that of v^.
        nesterov: look ahead along m; needs bias_correction and ``"corrected"``.
        **options: those of every optimizer; see `Optimizer`.

    Source: Kingma & Ba 2015 (arXiv 1412.6980), algorithm 1; ``"raw"`` is the form at
    the end of its section 2. Keras' default eps is 1e-7. AMSGrad: Reddi, Kale & Kumar
    2018, algorithm 2. Nesterov: Dozat 2016, in optax's form, whose beta1 is constant.

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
        lr: Any = 1e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        eps_mode: str = "corrected",
        bias_correction: bool = True,
        amsgrad: bool = False,
        amsgrad_form: str = "torch",
        nesterov: bool = False,
        **options: Unpack[SharedOptions],
    ) -> None:
        formula = choose(
            eps_mode,
            bias_correction=bias_correction,
            amsgrad=amsgrad,
            amsgrad_form=amsgrad_form,
            nesterov=nesterov,
        )
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, built_in(formula), **scalars, **options)


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
        amsgrad: see `Adam`.
        amsgrad_form: see `Adam`.
        nesterov: see `Adam`.
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
        lr: Any = 1e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        weight_decay: Any = 1e-2,
        eps_mode: str = "corrected",
        bias_correction: bool = True,
        amsgrad: bool = False,
        amsgrad_form: str = "torch",
        nesterov: bool = False,
        **options: Unpack[SharedOptions],
    ) -> None:
        formula = choose(
            eps_mode,
            bias_correction=bias_correction,
            amsgrad=amsgrad,
            amsgrad_form=amsgrad_form,
            nesterov=nesterov,
        )
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        scalars["weight_decay"] = weight_decay
        rule = built_in(formulas.decoupled(formula))
        super().__init__(params, rule, **scalars, **options)
