"""Steps over several calls: gradients that are summed, a loss scale that adapts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gdopt.arrays.arena import Arena
from gdopt.errors import ArgumentError
from gdopt.optim.executors import Executor
from gdopt.optim.hyper import Hyper, StepCounter
from gdopt.optim.plans import Plans


class Accumulation:
    """Adds up the gradients of the calls before the one that updates."""

    def __init__(
        self, calls: int, make: Callable[[StepCounter], Plans[Executor]], sums: Arena
    ) -> None:
        self._calls, self._sums = calls, sums
        self._counter = StepCounter()
        self._plans = make(self._counter)
        self.missing: tuple[str, ...] = ()  # arrays that no gradient was given for

    @property
    def count(self) -> int:
        """Gradients in the sum."""
        return self._counter.t

    @count.setter
    def count(self, count: int) -> None:
        self._counter.t = count
        self.missing = self.missing if count else ()

    @property
    def full(self) -> bool:
        """Whether the next gradient completes the sum."""
        return self.count >= self._calls - 1

    def left_out(self, missing: Sequence[str]) -> tuple[str, ...]:
        """Return the arrays without a gradient, if these have none in the next call."""
        known = self.missing if self.count else missing
        return tuple([name for name in missing if name in known])

    def add(self, grads: Any, missing: tuple[str, ...]) -> None:
        """Add checked gradients; the first ones of all replace what there was."""
        with self._sums.backend.on(self._sums.device):
            for name in () if self.count else missing:
                self._sums[name][...] = 0
        self.missing = self.left_out(missing)
        self._plans.of(missing).run(grads)


FIRST_SCALE, LEAST_SCALE, LARGEST_SCALE = 2.0**16, 2.0**-24, 2.0**120
GROWTH_INTERVAL = 2000


class DynamicLossScale:
    """Halves the loss scale where gradients are not finite, and doubles it in time."""

    def __init__(self, hyper: Hyper) -> None:
        self._hyper = hyper
        self.count = 0  # steps in a row that were done

    def update(self, *, done: bool) -> None:
        """Take note of a step; refuse a scale that cannot be smaller."""
        scale = self._hyper.at(0).shared["loss_scale"]
        self.count = self.count + 1 if done else 0
        if not done:
            if scale / 2 < LEAST_SCALE:
                message = "grads must be finite, but are not even with loss_scale "
                message += f"{scale}: look for NaN or infinity in the model or the data"
                raise ArgumentError(message)
            self._hyper["loss_scale"] = scale / 2
        elif self.count == GROWTH_INTERVAL:
            self._hyper["loss_scale"] = min(2 * scale, LARGEST_SCALE)
            self.count = 0
