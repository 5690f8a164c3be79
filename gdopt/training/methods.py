"""What updates the parameters of a run: an optimizer, or a line search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.arrays.containers import read_arrays
from gdopt.checks import listed, shown
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.optim import OPTIMIZERS, Optimizer, Rule
from gdopt.optim.comparison import described_optimizer, described_setting
from gdopt.optim.hyper import BOUNDS
from gdopt.optim.options import suggest
from gdopt.optim.parameters import Parameters
from gdopt.parallel.sharded import Sharded
from gdopt.training.descent import Descent
from gdopt.training.lbfgs import LINE_SEARCH_METHODS
from gdopt.training.objectives import read_value
from gdopt.training.point import Evaluate, Point


def make_method(method: Any, params: Any, *, lr: Any = None, bounds: Any = None) -> Any:
    """Return what updates the parameters: a line search, or an optimizer."""
    given = {"lr": lr, "bounds": bounds}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(method, Optimizer | Sharded):
        refuse_others(method, params, "params")
        for name in given:
            message = f"{name} must be given to the optimizer, where method is one"
            raise ArgumentError(message)
        return method
    if isinstance(method, str) and method in LINE_SEARCH_METHODS:
        if lr is not None:
            message = f"lr must be None with method={method!r}, which searches the "
            message += f"length of each step, got {shown(lr)}"
            raise ArgumentError(message)
        return LINE_SEARCH_METHODS[method](Parameters.of(params), bounds=bounds)
    if isinstance(method, str):
        known = [*LINE_SEARCH_METHODS, *OPTIMIZERS]
        if method not in OPTIMIZERS:
            near = "".join(f"; did you mean {n!r}?" for n in suggest(method, known)[:1])
            message = f"method must be one of {listed(known)}, got {method!r}{near}"
            raise ArgumentError(message)
        method = OPTIMIZERS[method]
    if isinstance(method, Rule):
        return Optimizer(params, method, **given)
    other = isinstance(method, type) and not issubclass(method, Optimizer)
    made = method(params, **given) if callable(method) and not other else None
    if not isinstance(made, Optimizer):
        rule = "must be a name, a rule, an optimizer, or a function that returns one"
        raise ArgumentTypeError(f"method {rule}, got {shown(method)}")
    refuse_others(made, params, "params")
    return made


def refuse_others(optimizer: Any, params: Any, what: str) -> None:
    """Refuse an optimizer of other arrays than those of a container."""
    own = parameters_of(optimizer).given
    named, _ = read_arrays(params, what)
    if own is not params and (
        own.keys() != named.keys() or any(own[n] is not a for n, a in named.items())
    ):
        message = f"optimizer must update {what}, got one of other arrays"
        raise ArgumentTypeError(message)


class FirstOrder:
    """An optimizer in a run without data, where each gradient is used once."""

    def __init__(self, optimizer: Optimizer, *, measure_change: bool) -> None:
        self.optimizer = optimizer
        self.gradients: Mapping[str, Array] = {}  # at the parameters, by name
        self._measure_change = measure_change
        self._given: Any = None

    def start(self, evaluate: Evaluate) -> Point:
        """Evaluate at the parameters as they are."""
        value, self._given = evaluate()
        self.gradients = named_gradients(self.optimizer, self._given)
        return Point(read_value(value), self._grad_norm())

    def update(self, evaluate: Evaluate) -> Point:
        """Step by the gradients of the last evaluation, and evaluate again."""
        if not self._measure_change:
            self.optimizer.step(self._given)
            return self.start(evaluate)
        before = {name: array.copy() for name, array in self._arrays.items()}
        self.optimizer.step(self._given)
        moved = [array - before[name] for name, array in self._arrays.items()]
        change = max_norm(self._xp, moved)
        return replace(self.start(evaluate), change=change)

    @property
    def _arrays(self) -> Mapping[str, Array]:
        return parameters_of(self.optimizer).arrays

    @property
    def _xp(self) -> Any:
        return parameters_of(self.optimizer).backend.xp

    def _grad_norm(self) -> float:
        gradients, xp = self.gradients, self._xp
        hyper, projected = self.optimizer.hyper, []
        if BOUNDS[0] not in hyper:
            return max_norm(xp, gradients.values())
        low, high = (hyper[name] for name in BOUNDS)
        maximize = self.optimizer._transforms.maximize  # noqa: SLF001
        for name, g in gradients.items():
            p = self._arrays[name]
            ends = [b[name] if isinstance(b, Mapping) else b for b in (low, high)]
            projected.append(p - xp.clip(p + g if maximize else p - g, *ends))
        return max_norm(xp, projected)


def parameters_of(method: Any) -> Parameters:
    """Return what an optimizer or a line search updates."""
    if isinstance(method, Optimizer):
        return method._every  # noqa: SLF001 - which Muon's inner optimizer is of, too
    found: Parameters = method._parameters  # noqa: SLF001
    return found


def named_gradients(optimizer: Optimizer, given: Any) -> dict[str, Array]:
    """Return checked gradients by the names of their parameters."""
    gradients = optimizer._gradients  # noqa: SLF001 - which its steps check with
    found = gradients.check(given)
    if isinstance(found, Mapping):
        return dict(found)
    names = [n for n in parameters_of(optimizer).arrays if n not in gradients.missing]
    return dict(zip(names, found, strict=True))


def max_norm(xp: Any, arrays: Any) -> float:
    """Return the largest magnitude, or NaN, by one transfer from a device."""
    ends = []
    for array in arrays:
        if array.size:
            if array.dtype.kind == "c":
                ends.append(xp.abs(array).max())
            else:  # without an array of magnitudes
                ends += [array.max(), -array.min()]
    if not ends:
        return 0.0
    if xp is np:
        numbers = list(map(float, ends))
        return math.nan if any(map(math.isnan, numbers)) else max(numbers)
    return float(xp.stack([end.astype(np.float64) for end in ends]).max())


def sums(xp: Any, gradients: Mapping[str, Array]) -> dict[str, list[float]]:
    """Return the sum and the sum of magnitudes of each gradient."""
    found = {}
    for name, array in gradients.items():
        real = array.view(array.real.dtype) if array.dtype.kind == "c" else array
        wide = real.astype(np.float64)
        found[name] = [float(wide.sum()), float(xp.abs(wide).sum())]
    return found


def described(method: Any) -> dict[str, Any]:
    """Return the settings of a method, for a comparison with those of another run."""
    if isinstance(method, Descent):
        box = method._box  # noqa: SLF001 - the bounds, laid out
        ends = {} if box is None else {"lower": box.lower, "upper": box.upper}
        return {"method": method.name, **described_setting(ends)}
    return described_optimizer(method)


def varying(method: Any) -> dict[str, Any]:
    """Return what schedules and 0-d arrays were at the last update, to 9 digits."""
    if isinstance(method, Descent):
        return {}
    sharded = isinstance(method, Sharded)
    hyper = method.optimizer.hyper if sharded else method.hyper
    if not hyper.changes:
        return {}
    values = hyper.at(max(method.t - 1, 0))
    fixed = {*hyper.state_dict(), *hyper.on_device}
    found: dict[str, Any] = {}
    found |= {n: _rounded(v) for n, v in values.shared.items() if n not in fixed}
    for name, parts in values.by_name.items():
        if name not in fixed and not sharded:  # a rank has some of the names
            found[name] = {n: _rounded(v) for n, v in parts.items()}
    return found


def _rounded(number: Any) -> float:
    return float(f"{float(number):.9g}")
