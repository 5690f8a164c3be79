"""What takes part on a GPU: gdopt, plain CuPy as in a textbook, torch and optax."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cases_gpu import GpuCase, GpuTraining


@dataclass
class Contender:
    """A step that can be timed, bound to arrays of its own on the device.

    Attributes:
        step: does one step; need not wait for it.
        wait: waits until the device has done all.
        values: gives the parameters as NumPy arrays, in float32.
    """

    step: Callable[[], Any]
    wait: Callable[[], Any]
    values: Callable[[], Sequence[np.ndarray]]


MODULES = {
    "gdopt": ("gpu_gdopt", "cupy"),
    "cupy": ("gpu_textbook", "cupy"),
    "torch_fused": ("gpu_torch", "torch"),
    "torch_foreach": ("gpu_torch", "torch"),
    "torch_compiled": ("gpu_torch", "torch"),
    "torch_reduce_overhead": ("gpu_torch", "torch"),
    "optax": ("gpu_optax", "optax"),
}


def missing(name: str) -> str | None:
    """Name the package that a contender lacks."""
    package = MODULES[name][1]
    try:
        importlib.import_module(package)
    except ImportError as error:
        return f"{package}: {error}"
    return None


def make(name: str, case: GpuCase | GpuTraining) -> Contender:
    """Make a contender; single arrays come in several sets that take turns."""
    module = importlib.import_module(MODULES[name][0])
    if isinstance(case, GpuTraining):
        contender: Contender = module.train(name, case)
        return contender
    made = [module.make(name, case) for _ in range(case.copies)]
    if len(made) == 1:
        return made[0]
    turns = itertools.cycle([one.step for one in made])

    def step() -> None:
        next(turns)()

    return Contender(step, made[0].wait, made[0].values)


def check(name: str, case: GpuCase) -> None:
    """Take three steps on small arrays, which must end where the textbook's do.

    Raises:
        AssertionError: they end elsewhere.
    """
    small = case.small()
    exact = {k: v for k, v in case.options.items() if k == "clip_norm"}
    expected = _end("cupy", replace(small, dtype="float32", options=exact))
    close = {"float32": 1e-5, "bfloat16": 2e-2}[case.dtype]
    if case.options.get("state_dtype"):
        close = 2e-2
    for one, other in zip(expected, _end(name, small), strict=True):
        np.testing.assert_allclose(other, one, rtol=close, atol=close)


def _end(name: str, case: GpuCase) -> Sequence[np.ndarray]:
    module = importlib.import_module(MODULES[name][0])
    contender = module.make(name, case)
    for _ in range(3):
        contender.step()
    contender.wait()
    return contender.values()
