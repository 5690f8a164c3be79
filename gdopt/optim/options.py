"""The keywords that an optimizer takes: those that all share, and its rule's own.

Clipping, loss scaling and weight averaging go around the rule: it is still one pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from gdopt.arrays.arena import Layout, array_label
from gdopt.arrays.dtypes import STORED_HALF, Storage, compute_name
from gdopt.checks import (
    as_scalar,
    check_choice,
    check_flag,
    check_int,
    check_seed,
    check_sequence,
    listed,
    shown,
)
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.kernels.symbol import ELEMENT
from gdopt.kernels.trace import ENGINES_OWN
from gdopt.optim.rule import Rule
from gdopt.optim.transforms import ACCUMULATED, AVERAGE, HYPER, SLOW, Transforms

MASTER = "master"  # the float32 copy of half-precision parameters
EXACT = (ACCUMULATED, AVERAGE, SLOW, MASTER)  # whatever the dtype of other state
CHOICES: dict[str, tuple[str | None, ...]] = {
    "non_finite": ("ignore", "skip", "raise"),
    "state_dtype": (None, "bfloat16"),
    "rounding": ("nearest", "stochastic"),
}
COMPLEX_MODES = {  # with what they do
    "split": "the rule on real and imaginary parts apart, as in torch",
    "modulus": "the rule on complex values with np.abs for their size, as in optax",
}
ELSEWHERE = {  # what says the same here as keywords of other libraries
    "lr": ("learning_rate", "alpha", "param_groups"),  # the course's alpha
    "beta": ("alpha", "rho", "decay", "momentum"),  # the alpha of torch's RMSprop
    "beta1": ("betas", "beta_1"),
    "beta2": ("betas", "beta_2"),
    "eps": ("epsilon",),
    "clip_norm": ("max_norm", "global_clipnorm"),
    "ema": ("use_ema", "ema_momentum"),
    "loss_scale": ("loss_scale_factor",),
    "lr=gdopt.schedules.inverse_time(...)": ("decay",),
    "gdopt.SGD(momentum=...)": ("momentum", "dampening"),
    "gdopt.Nesterov(beta=...)": ("nesterov",),
    "clip_each": ("clipnorm",),
    "clip_value": ("clipvalue",),
    "accumulate": ("gradient_accumulation_steps", "every_k_schedule"),
}
DECAY_MODES = {  # with what they do
    "coupled": "g + weight_decay p is the gradient, as in torch's SGD and Adam",
    "decoupled": "p <- p - lr weight_decay p besides, as in AdamW and Keras",
    "independent": "p <- p - weight_decay p besides, whatever the rate",
}


class SharedOptions(TypedDict, total=False):
    """The keyword arguments that all optimizers share; see `gdopt.Optimizer`."""

    frozen: str | Sequence[str]
    non_finite: str
    accumulate: int
    loss_scale: Any
    maximize: bool
    clip_value: Any
    clip_each: Any
    agc: Any
    unit_axis: int | None
    clip_norm: Any
    bounds: Any
    lookahead: tuple[int, Any] | None
    ema: Any
    swa_start: int | None
    complex_mode: str | None
    master_weights: bool
    state_dtype: str | None
    rounding: str
    seed: int


class DecayOptions(SharedOptions, total=False):
    """The options of optimizers whose rule has no weight decay of its own."""

    weight_decay: Any
    decay_mode: str | None


SHARED = tuple(DecayOptions.__annotations__)


@dataclass(frozen=True)
class Options:
    """The shared options that are not hyper-parameters, checked."""

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
        check_seed(self.seed)

    def check_layout(self, layout: Layout) -> None:
        """Refuse options that do not fit the parameters' dtypes."""
        for name, slot in (layout.whole or layout).slots.items():
            if self.master_weights and slot.group not in STORED_HALF:
                message = "master_weights needs float16 or bfloat16 parameters, but "
                message += f"{array_label(name)} is {slot.group}"
                raise ArgumentError(message)
            if self.state_dtype is not None and slot.group == "float64":
                message = f"state_dtype={self.state_dtype!r} needs parameters of at "
                message += f"most 32 bits, but {array_label(name)} is float64"
                raise ArgumentError(message)

    def stored(
        self, rule: Rule, group: str, elements: int, axes: int = 2
    ) -> tuple[Storage, ...]:
        """Return how each input of a rule's pass is stored, and how it is rounded."""
        compute = compute_name(group)
        own = compute if self.master_weights else group
        dtypes = [own]
        for state in rule.states:
            whole = rule.kind_of(state, axes) != ELEMENT
            dtypes.append("float64" if whole else self.state_dtype_of(state, group))
        random = [self.rounding == "stochastic"]
        random += [dtype != compute for dtype in dtypes[1:]]
        stored, random_stream = [], 0
        for dtype, at_random in zip(dtypes, random, strict=True):
            takes_stream = at_random and dtype == "bfloat16"
            stored.append(Storage(dtype, random_stream if takes_stream else None))
            random_stream += takes_stream
        return (*stored, Storage(group), *([Storage(compute)] * elements))

    def state_dtype_of(self, state: str, group: str) -> str:
        """Name the dtype of state of elements: averages of parameters stay exact."""
        compute = compute_name(group)
        exact = state in EXACT or compute == "float64"
        return compute if exact else self.state_dtype or compute


def split_options(
    kind: type, rule: Rule, given: Mapping[str, Any]
) -> tuple[Transforms, dict[str, Any]]:
    """Part options around a rule into what it is extended by, and hyper-parameters."""
    hyper = {name: given[name] for name in HYPER if given[name] is not None}
    options = frozenset(hyper) - set(rule.scalars)
    _check_decay(kind, rule, hyper, given["decay_mode"])
    axis, start = as_scalar(given["unit_axis"]), given["swa_start"]
    if axis is not None if "agc" not in hyper else type(axis) is not int or axis >> 1:
        message = "agc and unit_axis go together: 0 if rows are units, as in torch, or "
        message += f"1 if columns are, as in optax, got agc={shown(hyper.get('agc'))} "
        message += f"and unit_axis={shown(axis)}"
        raise ArgumentError(message)
    if start is not None:
        start = check_int("swa_start", start, least=0)
        if "ema" in hyper:
            message = "swa_start must be None with ema, as one average is kept, got "
            raise ArgumentError(message + str(start))
    mode = given["complex_mode"]
    if mode is not None:
        check_choice("complex_mode", mode, COMPLEX_MODES)
    period = 1
    if "lookahead" in hyper:
        pair = check_sequence("lookahead", hyper.pop("lookahead"))
        if len(pair) != 2:
            message = f"lookahead must be (steps, step size), got {shown(pair)}"
            raise ArgumentError(message)
        period = check_int("the steps of lookahead", pair[0], least=1)
        hyper["slow_step_size"] = pair[1]
    if "bounds" in hyper:
        hyper |= split_bounds(hyper.pop("bounds"))
    transforms = Transforms(
        options=options,
        accumulate=check_int("accumulate", given["accumulate"], least=1),
        maximize=check_flag("maximize", given["maximize"]),
        decay_mode=given["decay_mode"],
        unit_axis=axis,
        sync_period=period,
        swa_start=start,
        rule_norm="norm" in rule.kernel.signature.scalars,
        complex_mode=mode,
    )
    return transforms, hyper


def _check_decay(kind: type, rule: Rule, hyper: Mapping[str, Any], mode: Any) -> None:
    """Refuse a weight decay without its mode, or a mode where there is none."""
    given = "weight_decay" in hyper
    if "weight_decay" in rule.scalars:
        if mode is not None:
            message = f"decay_mode must be left out, as {kind.__name__} has a weight "
            raise ArgumentError(message + f"decay of its own, got {shown(mode)}")
    elif given is (mode is None) or mode not in {None, *DECAY_MODES}:
        modes = "; ".join(f"decay_mode={m!r}: {w}" for m, w in DECAY_MODES.items())
        got = f"weight_decay={shown(hyper.get('weight_decay'))}, "
        message = "weight_decay and decay_mode go together, as libraries differ: write "
        message += f"one of {modes}; got {got}decay_mode={shown(mode)}"
        raise ArgumentError(message)
    elif mode == "decoupled" and "lr" not in rule.scalars:
        message = f"decay_mode 'decoupled' needs lr, which {rule.name} does not "
        raise ArgumentError(message + "have: write decay_mode='independent'")


def split_bounds(bounds: Any) -> dict[str, Any]:
    """Part pairs of bounds, or pairs by name, into the settings of both."""
    named = bounds if isinstance(bounds, Mapping) else {"": bounds}
    for name, pair in named.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            label = f"bounds[{name!r}]" if named is bounds else "bounds"
            message = f"{label} must be a pair (lower, upper), got {shown(pair)}"
            raise ArgumentTypeError(message)
    ends = []
    for k in range(2):
        parts = {name: pair[k] for name, pair in named.items()}
        ends.append(parts if named is bounds else parts[""])
    return {"lower": ends[0], "upper": ends[1]}


def refuse_keywords(kind: type, rule: Rule, given: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters that a rule does not have, with suggestions."""
    for name in given:
        if name not in rule.scalars:
            reason = _explain_unknown(kind, rule, name)
            message = f"{kind.__name__} got an unknown keyword {name!r}{reason}"
            raise ArgumentTypeError(message)


def refuse_inputs(
    kind: type, rule: Rule, given: Mapping[str, Any], required: Sequence[str]
) -> None:
    """Refuse what a step cannot be given, and what it lacks."""
    for name in given:
        if name in ENGINES_OWN:
            message = f"step must not be given {name}, which it computes itself"
            raise ArgumentTypeError(message)
    refuse_keywords(kind, rule, given)
    for name in required:
        if name not in given:
            message = f"step needs {name}: the rule takes it and it was not given when "
            raise ArgumentTypeError(message + "the optimizer was made")


def _explain_unknown(kind: type, rule: Rule, name: str) -> str:
    """Name what an unknown keyword may stand for, and all keywords that there are."""
    signature = rule.kernel.signature
    if name in signature.arrays[2:]:
        line = signature.starred(signature.arrays.index(name))
        return f"; put hyper-parameters after a *: def {rule.name}{line}"
    taken = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    keywords = [p.name for p in taken if p.kind is p.KEYWORD_ONLY or p.name == "lr"]
    names = dict.fromkeys([*keywords, *rule.scalars])
    own = [name for name in names if name not in SHARED]
    known = [*own, *SHARED]
    near = suggest(name, known)
    meant = f"; did you mean {', '.join(near)}? " if near else ". "
    takes = f"{kind.__name__} takes {listed(own)}{' and ' if own else ''}"
    return f"{meant}{takes}the options of gdopt.Optimizer: {listed(SHARED)}"


def suggest(name: str, known: Sequence[str]) -> list[str]:
    """Return what an unknown name may stand for: of other libraries, or mistyped."""
    import difflib  # noqa: PLC0415 - for an error alone

    hints = [hint for hint, others in ELSEWHERE.items() if name in others]
    near = [hint for hint in hints if hint in known or "(" in hint]
    return near or difflib.get_close_matches(name.lower(), known, n=1)
