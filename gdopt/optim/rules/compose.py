"""Puts clipping, loss scaling and weight averaging around a rule: still one pass."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from gdopt.averages import average
from gdopt.errors import RuleError
from gdopt.kernels.ops import where
from gdopt.optim.rules.rule import BETA, Rule, rule

AVERAGE = "average"  # the state that holds the average of the parameters
MASTER = "master"  # the float32 copy of half-precision parameters
RANGES = {"clip_norm": "(0, inf)", "loss_scale": "(0, inf)", "ema": BETA}


def gradient_scale(*, norm: Any, clip_norm: Any = None, loss_scale: Any = 1.0) -> Any:
    """Return what gradients are multiplied by: 1 / loss_scale, or less to clip them.

    The norm is that of the gradients as given; what is clipped is ``norm /
    loss_scale``, exactly to `clip_norm`. A norm that is NaN clips nothing.

    >>> [gradient_scale(norm=norm, clip_norm=5.0) for norm in (10.0, 3.0)]
    [0.5, 1.0]
    """
    plain = 1.0 / loss_scale
    if clip_norm is None:
        return plain
    return where(norm > clip_norm * loss_scale, clip_norm / norm, plain)


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
    defaults = inner.kernel.signature.defaults
    signature = _signature(names, [*scalars, *extra], defaults)
    formula.__signature__ = signature  # type: ignore[attr-defined]
    formula.__name__ = "_".join([inner.name, *sorted(options)])
    own = {name: bounds.text for name, bounds in inner.ranges.items()}
    ranges = own | {name: RANGES[name] for name in options}
    start = dict(inner.initial) | ({AVERAGE: "p"} if averages else {})
    return rule(state=start, ranges=ranges)(formula)


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
