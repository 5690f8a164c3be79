"""What an optimizer does around its rule, traced with it into one pass.

In this order: the mean of the accumulated gradients, loss scale, maximize, clipping by
value, by each array's own norm, and by the norm of all; coupled weight decay; the rule;
other weight decay, of the parameter before the step; bounds; lookahead; the average.
Each norm is that of the gradient as transformed so far.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdopt.averages import average
from gdopt.checks import Range
from gdopt.errors import RuleError
from gdopt.kernels.trace import Signature
from gdopt.optim.rule import BETA, NOT_NEGATIVE, Rule

ACCUMULATED = "accumulated"  # the state that holds the sum of earlier gradients
SLOW = "slow"  # that of lookahead
AVERAGE = "average"  # that of the average of the parameters
NORMS = "norms"  # the norm of each array's gradient
LIMIT = "(0, inf]"
HYPER = {  # hyper-parameters of the options, with their ranges
    "loss_scale": {"loss_scale": "(0, inf)"},
    "clip_value": {"clip_value": LIMIT},
    "clip_each": {"clip_each": LIMIT},
    "agc": {"agc": LIMIT},
    "clip_norm": {"clip_norm": LIMIT},
    "weight_decay": {"weight_decay": NOT_NEGATIVE},
    "bounds": {"lower": "[-inf, inf)", "upper": "(-inf, inf]"},
    "lookahead": {"slow_step_size": "(0, 1]"},
    "ema": {"ema": BETA},
}
OWN_NORM = {"clip_each", "agc"}
TINY = 2.0**-120  # factors below it may not be normal numbers of float32
AGC_FLOOR = 1e-3  # smallest norm of a unit's parameters, as in the paper


def limited(
    g: Any, *, norm: Any, limit: Any, loss_scale: Any = 1.0, sign: int = 1
) -> Any:
    """Return sign g / loss_scale, or less, so that its norm is at most a limit.

    The norm is that of g as given. One that is NaN limits nothing; one that is infinite
    leaves zeros, and NaN where elements are infinite, as in torch. Where the factor
    limit / norm may be below the normal numbers, it is two: its root, twice.

    >>> [float(limited(2.0, norm=norm, limit=5.0)) for norm in (10.0, 3.0)]
    [1.0, 2.0]
    """
    above, tiny = norm > limit * loss_scale, limit < TINY * norm
    root = np.sqrt(limit) / np.sqrt(norm)
    scale = np.where(above, np.where(tiny, root, limit / norm), 1.0 / loss_scale)
    return np.where(above, np.where(tiny, root, 1.0), 1.0) * (sign * scale * g)


def unit_norm(x: Any, unit_axis: int | None) -> Any:
    """Return the norm of each unit, a row (0) or a column (1); of a vector its own."""
    if x.ndim < 2:
        return np.linalg.norm(x)
    if unit_axis == 0:
        others = tuple(range(1, x.ndim))
        if len(others) > 2:
            return np.sqrt(np.sum(x * x, axis=others, keepdims=True))
        return np.linalg.norm(x, axis=others, keepdims=True)
    if x.ndim > 3:
        message = "agc with unit_axis=1 takes arrays of at most three axes, got one of "
        message += f"{x.ndim}: put the units first, for unit_axis=0"
        raise RuleError(message)
    return np.linalg.norm(x, axis=0, keepdims=True)


@dataclass(frozen=True)
class Transforms:
    """Which options an optimizer has; what of them is not a hyper-parameter."""

    options: frozenset[str] = frozenset()  # those of `HYPER`
    accumulate: int = 1  # gradients whose mean a step takes
    maximize: bool = False  # whether it goes up
    decay_mode: str | None = None  # of weight_decay
    unit_axis: int | None = None  # of agc
    sync_period: int = 1  # of lookahead
    swa_start: int | None = None  # updates before the mean of the parameters begins
    rule_norm: bool = False  # whether the rule itself takes the norm of all gradients
    complex_mode: str | None = None

    @property
    def takes_norm(self) -> bool:
        """Whether the norm of all gradients is needed."""
        return self.rule_norm or "clip_norm" in self.options

    @property
    def states(self) -> dict[str, float | str]:
        """What state there is in addition to the rule's, and what it starts from."""
        states: dict[str, float | str] = {}
        if self.accumulate > 1:
            states[ACCUMULATED] = 0
        if "lookahead" in self.options:
            states[SLOW] = "p"
        if "ema" in self.options or self.swa_start is not None:
            states[AVERAGE] = "p"
        return states

    @property
    def ranges(self) -> dict[str, str]:
        """The hyper-parameters, with their ranges."""
        parts = [HYPER[option] for option in HYPER if option in self.options]
        return {name: text for part in parts for name, text in part.items()}

    @property
    def label(self) -> list[str]:
        """The words that are added to the name of a rule."""
        words = {*self.options, *(["maximize"] if self.maximize else [])}
        words |= {"accumulate"} if self.accumulate > 1 else set()
        words |= {"swa"} if self.swa_start is not None else set()
        if self.decay_mode:
            words = words - {"weight_decay"} | {f"{self.decay_mode}_weight_decay"}
        return sorted(words)

    @property
    def measures(self) -> bool:
        """Whether the norm is not just that of the gradients as given."""
        changed = self.accumulate > 1 or self.options & {"clip_value", *OWN_NORM}
        apart = self.complex_mode == "modulus"  # real and imaginary parts are
        return self.takes_norm and (bool(changed) or apart)

    def _scaled(self, g: Any, values: Mapping[str, Any]) -> Any:
        """Return the mean of the gradients, unscaled, downhill and clipped by value."""
        scale: Any = 1 / self.accumulate
        if "loss_scale" in self.options:
            scale = scale / values["loss_scale"]
        if self.maximize:
            scale = -scale
        if "loss_scale" in self.options or self.accumulate > 1 or self.maximize:
            g = scale * g
        if "clip_value" in self.options:
            g = np.clip(g, -values["clip_value"], values["clip_value"])
        return g

    def _units(self, p: Any, g: Any, values: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the norms of the gradients of units, and their limits."""
        weights = np.maximum(unit_norm(p, self.unit_axis), AGC_FLOOR)
        return unit_norm(g, self.unit_axis), values["agc"] * weights

    def clipped(self, p: Any, g: Any, values: Mapping[str, Any]) -> Any:
        """Return the gradient as it is before the norm of all is taken."""
        g = self._scaled(g, values)
        if "clip_each" in self.options:
            g = limited(g, norm=np.linalg.norm(g), limit=values["clip_each"])
        if "agc" in self.options:
            norm, limit = self._units(p, g, values)
            g = limited(g, norm=norm, limit=limit)
        return g

    def norm(self, p: Any, g: Any, values: Mapping[str, Any]) -> Any:
        """Return the norm of one array's `clipped`, in a pass less where it can be."""
        own = self.options & OWN_NORM
        if len(own) != 1:
            return np.linalg.norm(self.clipped(p, g, values))
        g = self._scaled(g, values)
        if "clip_each" in own:
            return np.minimum(np.linalg.norm(g), values["clip_each"])
        return np.linalg.norm(np.minimum(*self._units(p, g, values)))

    def gradient(self, p: Any, g: Any, values: Mapping[str, Any]) -> Any:
        """Return what the rule takes for the gradient."""
        if "clip_norm" in self.options and not self.measures:
            scale = values["loss_scale"] if "loss_scale" in self.options else 1.0
            how = {"loss_scale": scale, "sign": -1 if self.maximize else 1}
            g = limited(g, norm=values["norm"], limit=values["clip_norm"], **how)
        else:
            g = self.clipped(p, g, values)
            if "clip_norm" in self.options:
                g = limited(g, norm=values["norm"], limit=values["clip_norm"])
        return g + values["weight_decay"] * p if self.decay_mode == "coupled" else g

    def own_norm(self, values: Mapping[str, Any]) -> Any:
        """Return the norm of the gradients that the rule takes."""
        norm = values["norm"]
        if "loss_scale" in self.options and not self.measures:
            norm = norm / values["loss_scale"]
        limited = "clip_norm" in self.options
        return np.minimum(norm, values["clip_norm"]) if limited else norm

    def parameter(self, p: Any, new: Any, values: Mapping[str, Any]) -> Any:
        """Return the new parameter, decayed and within its bounds."""
        if self.decay_mode == "decoupled":
            new = new - values["lr"] * values["weight_decay"] * p
        elif self.decay_mode == "independent":
            new = new - values["weight_decay"] * p
        return self.bounded(new, values)

    def bounded(self, p: Any, values: Mapping[str, Any]) -> Any:
        """Return a parameter within its bounds."""
        if "bounds" not in self.options:
            return p
        return np.clip(p, values["lower"], values["upper"])

    def follow(self, new: Any, state: Mapping[str, Any], values: Any) -> dict[str, Any]:
        """Return the parameter after lookahead as "p", and the new state."""
        results, t = dict(state), values.get("t")
        if "lookahead" in self.options:
            slow, alpha = self.bounded(state[SLOW], values), values["slow_step_size"]
            syncs = self.sync_period * np.floor(t / self.sync_period) == t
            new = np.where(syncs, slow + alpha * (new - slow), new)
            results[SLOW] = np.where(syncs, new, slow)
        if AVERAGE in state:
            if self.swa_start is None:
                beta = values["ema"]
            else:  # the mean of n parameters, by what n - 1 of them weigh
                count = t - self.swa_start
                beta = np.maximum(0.0, count - 1) / np.maximum(1.0, count)
            results[AVERAGE] = average(state[AVERAGE], new, beta=beta)
        return {"p": new, **results}


@functools.lru_cache(maxsize=64)
def extended(inner: Rule, transforms: Transforms) -> Rule:
    """Make a rule that does `inner`, whose state comes first, and all around it."""
    if replace(transforms, rule_norm=False, complex_mode=None) == Transforms():
        return inner
    arrays = list(inner.kernel.signature.arrays)
    scalars = list(inner.kernel.signature.scalars)
    states = transforms.states
    extra = list(transforms.ranges)
    for name in (*extra, *states):
        if name in arrays or name in scalars:
            message = f"{inner.name}: {name!r} is an option's name: choose another"
            raise RuleError(message)
    counts = SLOW in states or transforms.swa_start is not None
    needs = {"norm": transforms.takes_norm, "t": counts}
    extra += [name for name, needed in needs.items() if needed and name not in scalars]

    def formula(*inputs: Any, **values: Any) -> Any:
        p, *own, g = inputs
        state = dict(zip(states, own[len(own) - len(states) :], strict=True))
        own = own[: len(own) - len(states)]
        total = state[ACCUMULATED] + g if ACCUMULATED in state else g
        g = transforms.gradient(p, total, values)
        given = {name: values[name] for name in scalars}
        if transforms.rule_norm:
            given["norm"] = transforms.own_norm(values)
        results = inner(p, *own, g, **given)
        new, *own = results if isinstance(results, tuple) else (results,)
        new = transforms.parameter(p, new, values)
        new, *rest = transforms.follow(new, state, values).values()
        return (new, *own, *rest)

    names = [*arrays[:-1], *states, arrays[-1]]
    Signature((*names,), (*scalars, *extra), inner.defaults).put_on(formula)
    formula.__wrapped__ = inner.function  # type: ignore[attr-defined]
    formula.__name__ = "_".join([inner.name, *transforms.label])
    ranges = {n: Range.parse(text) for n, text in transforms.ranges.items()}
    initial = dict(inner.initial) | states
    ranges = {**inner.ranges, **ranges}
    return replace(inner, function=formula, initial=initial, ranges=ranges, inner=inner)


@functools.lru_cache(maxsize=64)
def norm_rule(transforms: Transforms) -> Rule | None:
    """Return the rule whose state `NORMS` is the norm of each array, if needed."""
    if not transforms.measures:
        return None
    states = [ACCUMULATED] if transforms.accumulate > 1 else []

    def norms(p: Any, *given: Any, **values: Any) -> Any:
        *state, _, g = given
        total = state[0] + g if state else g
        return (p, *state, transforms.norm(p, total, values))

    before = {"loss_scale", "clip_value", *OWN_NORM} & transforms.options
    names = ["p", *states, NORMS, "g"]
    scalars = tuple(name for name in HYPER if name in before)
    Signature((*names,), scalars, {}).put_on(norms)
    return Rule(norms, {}, {}, {NORMS: "array"})


@functools.cache
def accumulation() -> Rule:
    """Return the rule that adds a gradient to those before it."""

    def accumulate(p: Any, accumulated: Any, g: Any, *, t: Any) -> Any:
        return p, np.where(t == 1, g, accumulated + g)  # the first replaces older ones

    return Rule(accumulate, {})
