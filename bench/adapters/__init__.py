"""One adapter per contender: the same step, written as its own users would."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cases import Case, Training


class UnsupportedError(Exception):
    """A contender has nothing of the kind."""


def _no_gradients(_arrays: Sequence[np.ndarray]) -> None:
    message = "a network in training has gradients of its own"
    raise UnsupportedError(message)


@dataclass(frozen=True)
class Contender:
    """A step that can be measured, bound to arrays of its own.

    Attributes:
        step: does one step; on the CPU it returns when the step is done.
        values: gives the arrays as they are now, on the host and in float32.
        feed: takes over gradients for the steps to come, where it is given any.
        setting: the block in which all of these are to be called.
        wait: waits until a GPU has done all steps.
    """

    step: Callable[[], Any]
    values: Callable[[], list[np.ndarray]]
    feed: Callable[[Sequence[np.ndarray]], None] = _no_gradients
    setting: Callable[[], AbstractContextManager[Any]] = nullcontext
    wait: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Adapter:
    """Makes contenders of one form from a module that needs some packages.

    Attributes:
        name: of the contender.
        module: in this folder.
        form: what the module is to make.
        needs: packages that may be missing.
        device: ``"cpu"`` or ``"cuda"``.
        cores: how many its process may use; by default all.
        updates: whether it ends in the textbook's numbers.
    """

    name: str
    module: str
    form: str
    needs: tuple[str, ...] = ()
    device: str = "cpu"
    cores: int | None = None
    updates: bool = True

    @property
    def missing(self) -> list[str]:
        """Name the packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def make(self, case: Case | Training) -> Contender:
        """Make a contender for a case.

        Raises:
            ImportError: a package is not installed.
            UnsupportedError: it has nothing of the kind.
        """
        module = importlib.import_module(f"adapters.{self.module}")
        make = module.train if isinstance(case, Training) else module.make
        contender: Contender = make(self.form, case, self.device)
        return contender


ADAPTERS = {
    adapter.name: adapter
    for adapter in (
        Adapter("textbook NumPy", "textbook", ""),
        Adapter("torch fused", "torch_", "fused", ("torch",)),
        Adapter("torch fused, 1 thread", "torch_", "fused 1", ("torch",)),
        Adapter("torch foreach", "torch_", "foreach", ("torch",)),
        Adapter("optax under jit", "optax_", "", ("jax", "optax")),
        Adapter("gdopt NumPy", "gdopt_", "numpy"),
        Adapter("gdopt Numba", "gdopt_", "numba", ("numba",)),
        Adapter("gdopt NumPy, own rule", "gdopt_", "numpy own"),
        Adapter("gdopt Numba, own rule", "gdopt_", "numba own", ("numba",)),
    )
}
SPECIAL = {  # of some figures alone
    adapter.name: adapter
    for adapter in (
        Adapter("torch compiled", "torch_", "default", ("torch",)),
        Adapter("plain Numba loop", "plain", "adam", ("numba",)),
        Adapter("memory traffic", "plain", "traffic", ("numba",), updates=False),
        Adapter("gdopt NumPy, rows", "gdopt_", "numpy rows", updates=False),
        Adapter("gdopt Numba, rows", "gdopt_", "numba rows", ("numba",), updates=False),
        Adapter("products alone", "plain", "products", ("numba",), updates=False),
        Adapter("gdopt Numba, 1 core", "gdopt_", "numba", ("numba",), cores=1),
        Adapter(
            "gdopt Numba, no products", "plain", "parts", ("numba",), updates=False
        ),
    )
}
ON_GPU = {
    name: Adapter(name, module, form, device="cuda")
    for name, module, form in (
        ("gdopt", "gdopt_", "cupy"),
        ("cupy", "textbook", ""),
        ("torch_fused", "torch_", "fused"),
        ("torch_foreach", "torch_", "foreach"),
        ("torch_compiled", "torch_", "default"),
        ("torch_reduce_overhead", "torch_", "reduce-overhead"),
        ("optax", "optax_", ""),
    )
}


def without_gpu(library: str) -> str:
    """Return the device of a library that finds no GPU: the CPU in a rehearsal.

    Raises:
        UnsupportedError: it is not a rehearsal.
    """
    if os.environ.get("GDOPT_BENCH_REHEARSE"):
        return "cpu"
    message = f"the {library} that is installed finds no GPU"
    raise UnsupportedError(message)


def find(name: str) -> Adapter:
    """Return the adapter of a contender on the CPU."""
    return ADAPTERS[name] if name in ADAPTERS else SPECIAL[name]


def make(name: str, case: Case | Training) -> Contender:
    """Make a contender."""
    return find(name).make(case)


def verify(name: str, case: Case | Training) -> None:
    """Check a contender, where there is something to check."""
    if find(name).updates:
        check(make(name, case), case)


def make_with_zeros(name: str, case: Case, steps: int) -> Contender:
    """Make a contender, and take some steps with zero gradients.

    The moving average of Adam's gradients has then shrunk to denormal numbers, over
    which a processor takes tens of times as long unless it flushes them to zero.
    """
    contender = make(name, case)
    with contender.setting():
        contender.feed([np.zeros_like(array) for array in case.gradients()])
        for _ in range(steps):
            contender.step()
    return contender


SCALES = (1e-6, 1.0, -0.5)  # gradients vary, or betas would not show; small: epsilon


def check(contender: Contender, case: Case | Training) -> None:
    """Take a few steps and compare with the textbook's, on which all must agree.

    Raises:
        AssertionError: the arrays differ by more than rounding explains.
    """
    expected = _textbook(case)
    with contender.setting():
        actual = _few_steps(contender, case)
    if isinstance(case, Training):
        # A network's gradients are sums, in another order in every library. Rounding
        # decides whether a unit that is almost zero is active; and Adam turns that of
        # a gradient that is almost zero into a share of its rate, 1e-3.
        for one, other in zip(expected, actual, strict=True):
            assert np.linalg.norm(other - one) <= 1e-3 * max(1, np.linalg.norm(one))
        return
    relative, absolute = (2e-2, 2e-2) if case.is_half else (1e-5, 1e-6)
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(other, one, rtol=relative, atol=absolute)


def _few_steps(contender: Contender, case: Case | Training) -> list[np.ndarray]:
    for scale in SCALES:
        if isinstance(case, Case):
            contender.feed([array * np.float32(scale) for array in case.gradients()])
        contender.step()
    contender.wait()
    if isinstance(case, Case):
        contender.feed(case.gradients())
    return contender.values()


@functools.lru_cache(maxsize=1)
def _textbook(case: Case | Training) -> list[np.ndarray]:
    """Return what the textbook ends with in float32, kept for the next contender."""
    if isinstance(case, Case):
        case = replace(case, dtype="float32")
    return _few_steps(ADAPTERS["textbook NumPy"].make(case), case)
