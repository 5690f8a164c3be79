"""Plain CuPy, as the formulas stand in a textbook: a kernel for every operation."""

from __future__ import annotations

import itertools

import cupy
import numpy as np
from adapters import textbook
from cases import HYPER
from cases_gpu import GpuCase
from contenders import Contender
from gpu_gdopt import named, values, wait


def make(_name: str, case: GpuCase) -> Contender:
    """Keep arrays apart, and state in a dictionary for each."""
    params, grads = list(named(case, 0).values()), list(named(case, 1).values())
    rule = "adam" if case.rule == "own" else case.rule
    hyper, count = HYPER[rule], itertools.count(1)
    states = [{"v": p} if rule == "ewa" else start(p) for p in params]
    formula, clip = textbook.FORMULAS[rule], case.options.get("clip_norm")

    def step():
        t, scale = next(count), None
        if clip is not None:
            total = sum((g * g).sum() for g in grads)
            scale = cupy.minimum(1.0, clip / cupy.sqrt(total)).astype(np.float32)
        for p, g, state in zip(params, grads, states, strict=True):
            formula(p, g if scale is None else g * scale, state, t, **hyper)

    def ends():
        found = [s["v"] for s in states] if rule == "ewa" else params
        return values(dict(enumerate(found)))

    return Contender(step, wait, ends)


def start(p):
    return {"m": cupy.zeros_like(p), "v": cupy.zeros_like(p)}
