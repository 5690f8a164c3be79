"""What methods with a line search share: flat vectors, evaluations and updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gdopt.arrays.arena import Arena, Layout, array_label
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import COMPLEX, as_parts
from gdopt.checks import as_number, as_scalar, check_saved_array, check_state
from gdopt.errors import ArgumentError, ArgumentTypeError, DivergenceError
from gdopt.interrupt import Uninterrupted, uninterrupted
from gdopt.optim.complex_ import SplitBinding
from gdopt.optim.gradients import Gradients, finite
from gdopt.optim.parameters import Parameters
from gdopt.optim.tensors import TensorGradients
from gdopt.training.box import Box
from gdopt.training.line_search import LinePoint, search
from gdopt.training.point import Evaluate, Point

ROUNDING = 10  # of a value, in units of its last digit
STALLED = (
    "no lower value was found along the gradient: the changes of the value are below "
    "its rounding, or the gradient is not that of the value"
)


class Report(NamedTuple):
    """What is read of an evaluation, in one transfer from a device."""

    value: float
    slope: float  # along the direction
    norm: float  # largest magnitude of an element of the projected gradient
    size: float  # largest magnitude of an element of the direction


class Descent:
    """Updates all parameters as one vector, along a direction that a subclass chooses.

    They are all float32 or all float64; complex ones are pairs of real ones.
    """

    name: str
    curvature = 0.9  # c2 of the strong Wolfe conditions

    def __init__(self, parameters: Parameters, bounds: Any = None) -> None:
        tensors = parameters.tensors
        if tensors is None:
            self._gradients = Gradients(parameters, {})
        else:
            self._gradients = TensorGradients(parameters, {}, tensors)
        if not COMPLEX.keys().isdisjoint(parameters.layout.sizes):
            parameters = SplitBinding(parameters).parameters
        self._parameters = parameters
        layout = Layout.of(parameters.arrays)  # without the gaps of frozen arrays
        if len(layout.sizes) > 1 or not layout.sizes.keys() <= {"float32", "float64"}:
            message = f"{self.name!r} needs params all of float64, or all of float32, "
            message += f"got {', '.join(layout.sizes)}: write w.astype(np.float64)"
            raise ArgumentTypeError(message)
        if not max(layout.sizes.values()):
            message = "params must hold at least one number, got empty arrays"
            raise ArgumentError(message)
        self.t = 0  # updates done
        self._backend, self._xp = parameters.backend, parameters.backend.xp
        with parameters.on_device():
            self._box = None if bounds is None else Box(parameters, bounds)
            # The point and a trial, with their gradients, which change places.
            places = layout, self._backend, parameters.device
            arenas = [Arena(*places) for _ in range(4)]
            self._x, self._g, self._trial, self._trial_g = arenas
            self._d = self._x.like().flat
            self._free_g = self._d if self._box is None else self._x.like().flat
            self._ends = self._d.max(), self._d.min()
        self._value = self._norm = math.nan
        self._lowest = math.inf  # value so far

    @property
    def gradients(self) -> Mapping[str, Array]:
        """The gradient at the parameters, by their names."""
        return self._g

    # What a subclass does.

    @property
    def _remembers(self) -> bool:
        """Whether the next direction depends on more than the gradient."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Let the next direction be the steepest."""
        raise NotImplementedError

    def _direction(self, g: Array) -> tuple[float, float]:
        """Write a direction to `_d`; return its slope and the first step to try."""
        raise NotImplementedError

    def _learn(self, start: LinePoint, found: LinePoint, g: Array) -> None:
        """Take over what the next direction needs of a step from `_x` to `_trial`."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """Return what the next direction depends on, as arrays on the host."""
        raise NotImplementedError

    def _load(self, state: Mapping[str, Any]) -> None:
        """Check what `_state` returned, and take it over."""
        raise NotImplementedError

    def start(self, evaluate: Evaluate) -> Point:
        """Evaluate the parameters as they are, within their bounds."""
        with self._parameters.on_device():
            for name, array in self._parameters.arrays.items():
                self._x[name][...] = array
            if self._box is not None:
                self._box.refuse_outside(self._x)
            report = self._evaluate(evaluate, self._x, self._g)
            if not math.isfinite(report.value):
                message = f"the value at the start must be finite, got {report.value}"
                raise DivergenceError(message)
            for name, array in self._g.items():
                if not finite(self._backend, array):
                    label = array_label(name)
                    message = f"the gradient of {label} at the start must be finite"
                    raise DivergenceError(message)
        self._value, self._norm = report.value, report.norm
        self._lowest = min(self._lowest, report.value)
        return Point(self._value, self._norm, 0.0)

    def update(self, evaluate: Evaluate) -> Point:
        """Search along a new direction, and leave the parameters at the end of it.

        An error puts them back to where the update started.
        """
        if math.isnan(self._value):
            message = f"{self.name!r} must start before its first update, "
            raise ArgumentError(message + "or after a load")
        try:
            with self._parameters.on_device():
                return self._update(evaluate)
        except BaseException:
            self._parameters.write(self._x)
            raise

    def _update(self, evaluate: Evaluate) -> Point:
        last, report = 0.0, Report(math.nan, math.nan, math.nan, math.nan)

        def trial(step: float) -> LinePoint:
            nonlocal last, report
            last = step
            self._move(step)
            report = self._evaluate(evaluate, self._trial, self._trial_g)
            if all(map(math.isfinite, report)):
                return LinePoint(step, report.value, report.slope)
            return LinePoint(step, math.inf, 0.0)

        rounding = ROUNDING * float(np.finfo(self._d.dtype).eps) * abs(self._value)
        noise = self._lowest + rounding - self._value  # else it could add up
        while True:
            slope, first, longest = self._aim()
            start = LinePoint(0.0, self._value, slope)
            limits = {"curvature": self.curvature, "longest": longest, "noise": noise}
            if slope < 0 and (found := search(trial, start, first, **limits)):
                break
            if not self._remembers:
                self._parameters.write(self._x)
                return Point(self._value, self._norm, 0.0, STALLED)
            self._forget()
        if found.step != last:  # the lowest of all
            found = trial(found.step)
        with Uninterrupted(), np.errstate(all="ignore"):
            self._learn(start, found, self._free(self._trial, self._trial_g))
            self._value, self._norm = report.value, report.norm
            self._lowest = min(self._lowest, report.value)
            self._x, self._trial = self._trial, self._x
            self._g, self._trial_g = self._trial_g, self._g
            self.t += 1
        return Point(self._value, self._norm, found.step * report.size)

    def _free(self, x: Arena, g: Arena) -> Array:
        """Return the gradient, with 0 where a bound holds an element."""
        if self._box is None:
            return g.flat
        self._mask = self._box.free(x.flat, g.flat)
        return self._xp.multiply(g.flat, self._mask, out=self._free_g)

    def _aim(self) -> tuple[float, float, float]:
        """Write the next direction; return its slope, first step and longest step."""
        with np.errstate(all="ignore"):
            slope, first = self._direction(self._free(self._x, self._g))
        if not math.isfinite(slope):
            rule = "the square of the gradient's norm must be finite for a line search"
            message = f"{rule}, got a largest magnitude of {self._norm:g}: scale the "
            raise DivergenceError(message + "function down")
        longest = math.inf
        if self._box is not None:
            x, d = self._x.flat, self._d
            d *= self._mask
            if self.t or not self._box.closed:  # else as far as the bounds allow
                d *= first
            d += x
            self._box.clip(d)
            d -= x
            slope_and_room = self._xp.dot(self._g.flat, d), self._box.room(x, d)
            slope, longest = self._read(*slope_and_room)
            first, longest = 1.0, max(1.0, longest)
        self._ends = self._d.max(), self._d.min()
        return slope, first, longest

    def _move(self, step: float) -> None:
        """Write the end of a step to the parameters."""
        trial = self._trial.flat
        with np.errstate(all="ignore"):
            self._xp.multiply(self._d, step, out=trial)
            trial += self._x.flat
        if self._box is not None:
            self._box.clip(trial)
        self._parameters.write(self._trial)

    def _evaluate(self, evaluate: Evaluate, x: Arena, g: Arena) -> Report:
        """Evaluate the function at `x`, where the parameters are; copy the gradient."""
        value, given = evaluate()
        grads = self._gradients.named(given)
        for name, view in g.items():
            view[...] = as_parts(grads[name])
        flat = g.flat
        with np.errstate(all="ignore"):
            slope = self._xp.dot(flat, self._d)
        if self._box is not None:
            flat = self._box.projected(x.flat, flat, self._free_g)
        ends = flat.max(), flat.min(), *self._ends
        held = self._backend.name != "numpy" and self._backend.is_array(value)
        if held and value.shape == () and value.dtype.kind == "f":
            read = self._read(value, slope, *ends)
        else:
            value = as_number("the value", as_scalar(value))
            read = [value, *self._read(slope, *ends)]
        value, slope, high, low, most, least = read
        return Report(value, slope, max(high, -low), max(most, -least))

    def _read(self, *scalars: Array) -> list[float]:
        """Read 0-d arrays as numbers, in one transfer."""
        if self._backend.name == "numpy":
            return [*map(float, scalars)]
        found: list[float] = self._backend.to_host(self._xp.stack(scalars)).tolist()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that updates depend on but for the parameters."""
        own = {name: np.array(value) for name, value in self._state().items()}
        counts = {"t": self.t, "lowest": self._lowest}
        return {"format": 1, "method": self.name, **counts, **own}

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state, or nothing of it; `start` has to find its parameters."""
        same = {"format": 1, "method": self.name}
        name = f"the state of {self.name!r}"
        keys = {"lowest", *self._state()}
        saved = check_state(name, state, keys, counts=["t"], same=same)
        lowest = check_saved_array("lowest", saved["lowest"], np.array(0.0))
        with self._parameters.on_device():
            self._load(saved)
        self.t, self._lowest, self._value = saved["t"], float(lowest), math.nan
