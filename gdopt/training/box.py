"""Bounds of the parameters in a deterministic run: a box that the search stays in."""

from __future__ import annotations

from typing import Any

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array
from gdopt.checks import Range, shown
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.optim.options import split_bounds
from gdopt.optim.parameters import Parameters
from gdopt.optim.settings import Setting
from gdopt.optim.transforms import HYPER


class Box:
    """A lower and an upper bound for each element of real parameters."""

    def __init__(self, parameters: Parameters, bounds: Any) -> None:
        self._xp = parameters.backend.xp
        if parameters.pairs:
            label = array_label(min(parameters.pairs))
            raise ArgumentError(f"bounds need real parameters, but {label} is complex")
        ends = []
        for name, given in split_bounds(bounds).items():
            limits = Range.parse(HYPER["bounds"][name])
            setting = Setting(name, limits, parameters).assigned(given)
            if setting.changes:
                message = f"{name} must be numbers or arrays here, got {shown(given)}"
                raise ArgumentTypeError(message)
            arena = Arena(parameters.layout, parameters.backend, parameters.device)
            for key, view in arena.items():
                own = setting.elements
                view[...] = own[key] if own else setting.of(key)
            ends.append(arena)
        for key, low, high in ((key, ends[0][key], ends[1][key]) for key in ends[0]):
            if bool((low > high).any()):
                message = f"lower must be at most upper for {array_label(key)}"
                raise ArgumentError(message)
        self._ends = ends
        self.lower, self.upper = (arena.flat for arena in ends)
        isfinite = self._xp.isfinite
        self.closed = bool((isfinite(self.lower) & isfinite(self.upper)).all())

    def refuse_outside(self, point: Arena) -> None:
        """Refuse a start outside the bounds."""
        low, high = self._ends
        for key, array in point.items():
            if bool(((array < low[key]) | (array > high[key])).any()):
                message = f"{array_label(key)} must start within its bounds"
                raise ArgumentError(message + ": clip it to them first")

    def clip(self, x: Array) -> None:
        """Set elements outside to the nearest bound."""
        self._xp.clip(x, self.lower, self.upper, out=x)

    def projected(self, x: Array, g: Array, out: Array) -> Array:
        """Write x - clip(x - g, lower, upper) into an array and return it."""
        self._xp.subtract(x, g, out=out)
        self.clip(out)
        return self._xp.subtract(x, out, out=out)

    def free(self, x: Array, g: Array) -> Array:
        """Return which elements are not at a bound that descent would cross."""
        held = (x <= self.lower) & (g > 0) | (x >= self.upper) & (g < 0)
        return ~held

    def room(self, x: Array, d: Array) -> Array:
        """Return the longest step along a direction, a 0-d array."""
        xp = self._xp
        ends = xp.where(d < 0, self.lower, self.upper)
        ends -= x
        still = d == 0
        ends[still] = self._xp.inf
        ends /= xp.where(still, 1, d)
        return ends.min()
