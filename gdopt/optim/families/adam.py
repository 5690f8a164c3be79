"""Adam and AdamW, with the flags of other libraries."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Unpack

import numpy as np

from gdopt.checks import check_choice, check_flag
from gdopt.errors import ArgumentError
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import DecayOptions, SharedOptions
from gdopt.optim.rule import BuiltInRule, built_in

__all__ = ["Adam", "AdamW"]

MODES = ("corrected", "raw", "inside")  # where epsilon stands


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
        **options: Unpack[DecayOptions],
    ) -> None:
        flags = {"bias_correction": bias_correction, "amsgrad": amsgrad}
        form = choose(eps_mode, amsgrad_form, nesterov=nesterov, **flags)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, FORMS[form], **scalars, **options)


@built_in(Adam)
def adam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Kingma & Ba 2015, algorithm 1, both corrections folded into the rate."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, v


@built_in(Adam)
def adam_raw(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Kingma & Ba 2015, end of section 2: epsilon next to the uncorrected root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    correction = (1 - beta2**t) ** 0.5
    return p - lr * correction / (1 - beta1**t) * m / (np.sqrt(v) + eps), m, v


@built_in(Adam)
def adam_inside(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Algorithm 1 with epsilon inside the root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v + eps * (correction * correction))
    return p - lr * correction / (1 - beta1**t) * m / root, m, v


@built_in(Adam)
def adam_uncorrected(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Algorithm 1 with m and v in place of their corrected values."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    return p - lr * m / (np.sqrt(v) + eps), m, v


@built_in(Adam)
def adam_inside_uncorrected(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """The same with epsilon inside the root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    return p - lr * m / np.sqrt(v + eps), m, v


@built_in(Adam)
def adam_nesterov(p, m, v, g, *, lr, beta1, beta2, eps, t):
    """Dozat 2016, algorithm 2, with a constant beta1, as in optax."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    correction = (1 - beta2**t) ** 0.5
    ahead = beta1 / (1 - beta1 ** (t + 1)) * m + (1 - beta1) / (1 - beta1**t) * g
    return p - lr * correction * ahead / (np.sqrt(v) + eps * correction), m, v


@built_in(Adam)
def amsgrad(p, m, v, v_max, g, *, lr, beta1, beta2, eps, t):
    """Reddi, Kale & Kumar 2018, algorithm 2, corrected as torch does."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    v_max = np.maximum(v_max, v)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v_max) + eps * correction
    return p - lr * correction / (1 - beta1**t) * m / root, m, v, v_max


@built_in(Adam)
def amsgrad_raw(p, m, v, v_max, g, *, lr, beta1, beta2, eps, t):
    """The same with epsilon next to the uncorrected root, as Keras and chainer do."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    v_max = np.maximum(v_max, v)
    correction = (1 - beta2**t) ** 0.5
    root = np.sqrt(v_max) + eps
    return p - lr * correction / (1 - beta1**t) * m / root, m, v, v_max


@built_in(Adam)
def amsgrad_optax(p, m, v, v_max, g, *, lr, beta1, beta2, eps, t):
    """The same with the maximum of the corrected v, as in optax."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    v_max = np.maximum(v_max, v / (1 - beta2**t))
    return p - lr / (1 - beta1**t) * m / (np.sqrt(v_max) + eps), m, v, v_max


FORMS = {  # by a flag, the place of epsilon, and whether the bias is corrected
    ("", "corrected", True): adam,
    ("", "raw", True): adam_raw,
    ("", "inside", True): adam_inside,
    ("", "corrected", False): adam_uncorrected,
    ("", "raw", False): adam_uncorrected,
    ("", "inside", False): adam_inside_uncorrected,
    ("nesterov", "corrected", True): adam_nesterov,
    ("amsgrad, form torch,", "corrected", True): amsgrad,
    ("amsgrad, form torch,", "raw", True): amsgrad_raw,
    ("amsgrad, form optax,", "corrected", True): amsgrad_optax,
}


def choose(
    eps_mode: str, form: str, *, bias_correction: bool, amsgrad: bool, nesterov: bool
) -> tuple[str, str, bool]:
    """Return the key of a form of Adam by its flags, where a library combines them."""
    check_choice("eps_mode", eps_mode, MODES)
    check_choice("amsgrad_form", form, ("torch", "optax"))
    bias_correction = check_flag("bias_correction", bias_correction)
    amsgrad, nesterov = check_flag("amsgrad", amsgrad), check_flag("nesterov", nesterov)
    if amsgrad and nesterov:
        raise ArgumentError("nesterov must be False with amsgrad, got True for both")
    flag = f"amsgrad, form {form}," if amsgrad else "nesterov" * nesterov
    key = flag, eps_mode, bias_correction
    if key not in FORMS:
        fits = [mode for name, mode, _ in FORMS if name == flag]
        message = f"{flag} needs bias_correction True and eps_mode "
        message += f"{' or '.join(fits)}, got {bias_correction} and {eps_mode}"
        raise ArgumentError(message)
    return key


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
        flags = {"bias_correction": bias_correction, "amsgrad": amsgrad}
        form = choose(eps_mode, amsgrad_form, nesterov=nesterov, **flags)
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        scalars["weight_decay"] = weight_decay
        super().__init__(params, DECOUPLED[form], **scalars, **options)


@functools.cache
def decoupled(rule: BuiltInRule) -> BuiltInRule:
    """Loshchilov & Hutter 2019, algorithm 2: AdamW, for any form of Adam."""

    def decayed(p, *arrays, lr, weight_decay, **scalars):
        return rule((1 - lr * weight_decay) * p, *arrays, lr=lr, **scalars)

    *before, t = inspect.signature(rule.function).parameters.values()
    decay = inspect.Parameter("weight_decay", inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.Signature([*before, decay, t])
    decayed.__signature__ = signature  # type: ignore[attr-defined]
    decayed.__wrapped__ = rule.function  # type: ignore[attr-defined]
    name = rule.name
    decayed.__name__ = name.replace("adam", "adamw") if "adam" in name else f"{name}_w"
    return built_in(AdamW)(decayed)


DECOUPLED = {form: decoupled(rule) for form, rule in FORMS.items()}
