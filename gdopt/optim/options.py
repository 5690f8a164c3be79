"""The keywords that an optimizer takes: those that all share, and its rule's own.

Clipping, loss scaling and weight averaging go around the rule: it is still one pass.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np

from gdopt.arrays.arena import Layout, array_label
from gdopt.arrays.dtypes import STORED_HALF, Storage, compute_name
from gdopt.averages import average
from gdopt.checks import Range, check_flag, check_int, listed, shown
from gdopt.errors import ArgumentError, ArgumentTypeError, RuleError
from gdopt.kernels.symbol import ELEMENT
from gdopt.optim.rule import BETA, Rule

AVERAGE = "average"  # the state that holds the average of the parameters
MASTER = "master"  # the float32 copy of half-precision parameters
RANGES = {"clip_norm": "(0, inf)", "loss_scale": "(0, inf)", "ema": BETA}


def gradient_scale(*, norm: Any, clip_norm: Any = None, loss_scale: Any = 1.0) -> Any:
    """Return what gradients are multiplied by: 1 / loss_scale, or less to clip them.

    The norm is that of the gradients as given; what is clipped is ``norm /
    loss_scale``, exactly to `clip_norm`. A norm that is NaN clips nothing.

    >>> [float(gradient_scale(norm=norm, clip_norm=5.0)) for norm in (10.0, 3.0)]
    [0.5, 1.0]
    """
    plain = 1.0 / loss_scale
    if clip_norm is None:
        return plain
    return np.where(norm > clip_norm * loss_scale, clip_norm / norm, plain)


@functools.lru_cache(maxsize=64)
def extended(inner: Rule, options: tuple[str, ...]) -> Rule:
    """Make a rule that scales its gradient, does `inner`, and averages the parameter.

    Args:
        inner: the rule.
        options: which of ``clip_norm``, ``loss_scale`` and ``ema`` it has.

    Returns:
        A rule with these as hyper-parameters more; one that clips takes the norm of
        the gradients too. With ``ema`` its last state is the average.

    Raises:
        RuleError: the rule has an argument of such a name itself.
    """
    if not options:
        return inner
    arrays = list(inner.kernel.signature.arrays)
    scalars = list(inner.kernel.signature.scalars)
    extra = [name for name in RANGES if name in options]
    extra += ["norm"] if "clip_norm" in options else []
    averages = "ema" in options
    for name in (*extra, *([AVERAGE] if averages else ())):
        if name in arrays or name in scalars:
            message = f"{inner.name}: {name!r} is an option's name: choose another"
            raise RuleError(message)
    scales = {"clip_norm", "loss_scale"} & set(options)

    def formula(*given: Any, **values: Any) -> Any:
        own = {name: values[name] for name in scalars}
        p, *state, g = given
        if averages:
            *state, mean = state
        if scales:
            parts = {name: values[name] for name in scales}
            g = gradient_scale(norm=values.get("norm"), **parts) * g
        results = inner(p, *state, g, **own)
        if not averages:
            return results
        results = results if isinstance(results, tuple) else (results,)
        return (*results, average(mean, results[0], beta=values["ema"]))

    before, last = arrays[:-1], arrays[-1]
    names = [*before, *([AVERAGE] if averages else ()), last]
    signature = _signature(names, [*scalars, *extra], inner.defaults)
    formula.__signature__ = signature  # type: ignore[attr-defined]
    formula.__wrapped__ = inner.function  # type: ignore[attr-defined]
    formula.__name__ = "_".join([inner.name, *sorted(options)])
    ranges = dict(inner.ranges) | {n: Range.parse(RANGES[n]) for n in options}
    start = dict(inner.initial) | ({AVERAGE: "p"} if averages else {})
    return replace(inner, function=formula, initial=start, ranges=ranges)


def _signature(
    arrays: list[str], scalars: list[str], defaults: Mapping[str, Any]
) -> inspect.Signature:
    kind = inspect.Parameter
    return inspect.Signature(
        [kind(name, kind.POSITIONAL_OR_KEYWORD) for name in arrays]
        + [
            kind(name, kind.KEYWORD_ONLY, default=defaults.get(name, kind.empty))
            for name in scalars
        ]
    )


EXACT = (AVERAGE, MASTER)  # whatever the dtype of other state
CHOICES: dict[str, tuple[str | None, ...]] = {
    "non_finite": ("ignore", "skip", "raise"),
    "state_dtype": (None, "bfloat16"),
    "rounding": ("nearest", "stochastic"),
}
ELSEWHERE = {  # what says the same here as keywords of other libraries
    "lr": ("learning_rate", "alpha"),  # the course's alpha
    "beta": ("alpha", "rho", "decay", "momentum"),  # the alpha of torch's RMSprop
    "beta1": ("betas", "beta_1"),
    "beta2": ("betas", "beta_2"),
    "eps": ("epsilon",),
    "clip_norm": ("max_norm", "clipnorm", "global_clipnorm"),
    "ema": ("use_ema", "ema_momentum"),
    "loss_scale": ("loss_scale_factor",),
    "lr=gdopt.schedules.inverse_time(...)": ("decay",),
    "gdopt.SGD(momentum=...)": ("momentum", "dampening"),
    "gdopt.Nesterov(beta=...)": ("nesterov",),
    "gdopt.AdamW(weight_decay=...)": ("weight_decay",),
}


class SharedOptions(TypedDict, total=False):
    """The keyword arguments that all optimizers share; see `gdopt.Optimizer`."""

    non_finite: str
    clip_norm: Any
    loss_scale: Any
    ema: Any
    master_weights: bool
    state_dtype: str | None
    rounding: str
    seed: int


SHARED = tuple(SharedOptions.__annotations__)


@dataclass(frozen=True)
class Options:
    """The shared options that are not hyper-parameters.

    Raises:
        ArgumentError: a value is not one of the choices.
        ArgumentTypeError: a value is of the wrong kind.
    """

    non_finite: str
    master_weights: bool
    state_dtype: str | None
    rounding: str
    seed: int

    def __post_init__(self) -> None:
        """Check the values."""
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str | None) or value not in choices:
                allowed = listed(map(repr, choices))
                message = f"{name} must be one of {allowed}, got {shown(value)}"
                raise ArgumentError(message)
        check_flag("master_weights", self.master_weights)
        check_int("seed", self.seed, least=0)

    def check_layout(self, layout: Layout) -> None:
        """Refuse options that do not fit the parameters' dtypes.

        Raises:
            ArgumentError: master weights of float32 or float64 parameters, or
                float64 parameters whose state would be narrowed.
        """
        for name, slot in layout.slots.items():
            if self.master_weights and slot.group not in STORED_HALF:
                message = (
                    "master_weights needs float16 or bfloat16 parameters, "
                    f"but {array_label(name)} is {slot.group}"
                )
                raise ArgumentError(message)
            if self.state_dtype is not None and slot.group == "float64":
                message = (
                    f"state_dtype={self.state_dtype!r} needs parameters of at most 32 "
                    f"bits, but {array_label(name)} is float64"
                )
                raise ArgumentError(message)

    def stored(
        self, rule: Rule, group: str, elements: int, axes: int = 2
    ) -> tuple[Storage, ...]:
        """Say how each input of a rule's pass is stored, and how it is rounded.

        Args:
            rule: takes the parameter, state, and the gradient.
            group: dtype of the parameters.
            elements: how many hyper-parameters are arrays.
            axes: of the parameters; a vector's state may be of another kind.
        """
        compute = compute_name(group)
        own = compute if self.master_weights else group
        dtypes = [own]
        for state in rule.states:
            of_elements = rule.kind_of(state, axes) == ELEMENT
            dtypes.append(
                self.state_dtype_of(state, group) if of_elements else "float64"
            )
        random = [self.rounding == "stochastic"]
        random += [dtype != compute for dtype in dtypes[1:]]
        stored, random_stream = [], 0
        for dtype, at_random in zip(dtypes, random, strict=True):
            takes_stream = at_random and dtype == "bfloat16"
            stored.append(Storage(dtype, random_stream if takes_stream else None))
            random_stream += takes_stream
        return (*stored, Storage(group), *([Storage(compute)] * elements))

    def state_dtype_of(self, state: str, group: str) -> str:
        """Name the dtype of a state array: averages of parameters stay exact.

        State that is not of elements is in the group float64, and is not narrowed.
        """
        compute = compute_name(group)
        exact = state in EXACT or compute == "float64"
        return compute if exact else self.state_dtype or compute


def refuse_keywords(kind: type, rule: Rule, given: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters that a rule does not have, and missing ones.

    Args:
        kind: the optimizer's class.
        rule: its rule.
        given: the keyword arguments.

    Raises:
        ArgumentTypeError: one is unknown, with suggestions; or one is missing.
    """
    for name in given:
        if name not in rule.scalars:
            reason = _explain_unknown(kind, rule, name)
            message = f"{kind.__name__} got an unknown keyword {name!r}{reason}"
            raise ArgumentTypeError(message)
    for name in rule.scalars:
        if name not in given:
            message = f"{kind.__name__} needs {name}, a number or a schedule, got none"
            raise ArgumentTypeError(message)


def _explain_unknown(kind: type, rule: Rule, name: str) -> str:
    """Name what an unknown keyword may stand for, and all keywords that there are."""
    signature = rule.kernel.signature
    if name in signature.arrays[2:]:
        line = signature.starred(signature.arrays.index(name))
        return f"; put hyper-parameters after a *: def {rule.name}{line}"
    taken = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    keywords = [
        one.name for one in taken if one.kind is one.KEYWORD_ONLY or one.name == "lr"
    ]
    own = [
        one for one in dict.fromkeys([*keywords, *rule.scalars]) if one not in SHARED
    ]
    known = [*own, *SHARED]
    hints = [hint for hint, others in ELSEWHERE.items() if name in others]
    near = [hint for hint in hints if hint in known or "(" in hint]
    import difflib  # noqa: PLC0415 - for an error alone

    near = near or difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"; did you mean {', '.join(near)}? " if near else ". "
    takes = f"{kind.__name__} takes {listed(own)}{' and ' if own else ''}"
    return f"{meant}{takes}the options of gdopt.Optimizer: {listed(SHARED)}"
