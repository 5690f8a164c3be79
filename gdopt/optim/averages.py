"""The averages of an optimizer's parameters, and the block in which they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.arrays.foreign import Tensors
from gdopt.copies import MappingProxy
from gdopt.errors import ArgumentError, GdoptError
from gdopt.optim.attributes import HyperAttributes
from gdopt.optim.hyper import StepCounter
from gdopt.optim.parameters import Parameters
from gdopt.optim.transforms import AVERAGE, Transforms
from gdopt.optim.turns import Turns


class AveragedParameters(HyperAttributes):
    """An optimizer's parameters, and their averages of ``ema`` or ``swa_start``."""

    _counter: StepCounter
    _parameters: Parameters
    _state: dict[str, Arena]
    _named_state: Mapping[str, Mapping[str, Array]]  # by its names and the parameters'
    _tensors: Tensors | None  # the parameters, where they are torch's
    _transforms: Transforms
    _turns: Turns
    _held: dict[str, Array] | None  # parameters, while averages show

    @property
    def t(self) -> int:
        """Number of updates done; the next one is step `t` of a schedule."""
        return self._counter.t

    @property
    def params(self) -> Mapping[str, Array]:
        """The parameters by name: the caller's own arrays."""
        return self._every.shown

    @property
    def average(self) -> Mapping[str, Array]:
        """The average of the parameters by name, as live views.

        Raises:
            ArgumentError: the optimizer was made without ``ema`` and ``swa_start``, or
                the mean has not begun.
        """
        if AVERAGE not in self._transforms.states:
            message = "average needs an optimizer made with ema or swa_start, got one "
            raise ArgumentError(message + "without")
        start = self._transforms.swa_start
        if start is not None and self.t <= start:
            message = f"average begins with update {start + 1}, got {self.t} updates"
            raise ArgumentError(message)
        return MappingProxy(dict(self._named_state[AVERAGE]))

    def averages(self) -> Mapping[str, Array]:
        """The averages by name that `averaged` shows: those of ``ema`` or SWA."""
        return self.average

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the parameters hold their averages within a block, as for evaluation.

        After the block they hold what they held before it, also if it raises. A state
        saved within the block has them, and loading it puts them back.

        Raises:
            ArgumentError: the optimizer keeps no averages, as it was made without
                ``ema`` and ``swa_start``, or they have not begun.
            GdoptError: the block is within another one.

        >>> import gdopt
        >>> import numpy as np
        >>> p = np.array([1.0])
        >>> opt = gdopt.SGD(p, 1.0, ema=0.75)
        >>> opt.step(np.array([1.0]))
        True
        >>> with opt.averaged():
        ...     print(p)
        [0.75]
        >>> p
        array([0.])
        """
        entered = False
        try:
            with self._turns.change("averaged"), self._parameters.on_device():
                if self._held is not None:
                    raise GdoptError("averaged must not be entered within averaged()")
                shown = self.averages()
                self._held, entered = self._copy_parameters(), True
                self._every.write(shown)
            yield
        finally:
            if entered:
                with self._turns.change("averaged"):
                    held, self._held = self._held or {}, None
                    self._every.write(held)

    @property
    def _every(self) -> Parameters:
        """The arrays with state, those of an optimizer within included."""
        return self._parameters

    def _copy_parameters(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self._every.arrays.items()}
