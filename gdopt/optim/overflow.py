"""Finds gradients that a step would make state infinite with, such as by squares."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.dtypes import compute_dtype
from gdopt.kernels.trace import Signature
from gdopt.optim.gradients import finite
from gdopt.optim.hyper import Hyper
from gdopt.optim.options import MASTER
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import BuiltInRule, Rule
from gdopt.optim.settings import NUMBERS
from gdopt.optim.transforms import ACCUMULATED, AVERAGE, SLOW

PEAKS = "peaks"  # the largest magnitude of new state, for each array
OF_PARAMETERS = {MASTER, AVERAGE, SLOW}  # state that no gradient is squared for
MOST = {None: float(np.finfo("float64").max), "bfloat16": (2 - 2.0**-7) * 2.0**127}
BUILT_IN_POWER, OTHER_POWER = 3 / 8, 1 / 8  # others may take higher powers than 2


def safe_magnitude(rule: Rule, parameters: Parameters, hyper: Hyper) -> float:
    """Return up to which magnitude no gradient makes state infinite."""
    built_in = isinstance(rule.inner or rule, BuiltInRule)
    dtypes = map(compute_dtype, parameters.layout.groups)
    most = min(float(np.finfo(dtype).max) for dtype in dtypes)
    scale = hyper.settings.get("loss_scale", 1.0)
    known = type(scale) in NUMBERS
    power = BUILT_IN_POWER if built_in else OTHER_POWER
    return float(most**power * scale) if known else 0.0


def statistics(rule: Rule) -> list[str]:
    """Name the states that are made of gradients."""
    return [name for name in rule.states if name not in OF_PARAMETERS]


def overflown(parameters: Parameters, states: Mapping[str, Arena]) -> list[str]:
    """Name the parameters with statistics that are not finite; waits for a device."""
    found = [a for n, a in states.items() if n.split(".")[-1] not in OF_PARAMETERS]
    check = functools.partial(finite, parameters.backend)
    return [
        name
        for name in parameters.arrays
        if not all(check(arena[name]) for arena in found if name in arena)
    ]


@functools.lru_cache(maxsize=64)
def peak_rule(rule: Rule) -> Rule:
    """Return the rule whose state `PEAKS` is the largest magnitude of `statistics`.

    It is infinite or NaN where a step would make them so; nothing else changes.
    """
    signature = rule.kernel.signature
    names = [*signature.arrays[:-1], PEAKS, signature.arrays[-1]]

    def peaks(*inputs: Any, **values: Any) -> Any:
        *old, _, g = inputs
        results = rule(*old, g, **values)
        results = results if isinstance(results, tuple) else (results,)
        new = dict(zip(names[1:-2], results[1:], strict=True))
        if ACCUMULATED in new:
            new[ACCUMULATED] = old[names.index(ACCUMULATED)] + g
        found = [np.max(abs(new[name])) for name in statistics(rule)]
        return (*old, functools.reduce(np.maximum, found))

    Signature((*names,), signature.scalars, signature.defaults).put_on(peaks)
    peaks.__name__ = f"{rule.name}_peaks"
    return Rule(peaks, {}, rule.ranges, {**rule.per, PEAKS: "array"}, rule.inner)
