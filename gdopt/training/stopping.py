"""Early stopping: ends training that no longer improves, and keeps the best weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.checks import (
    NOT_NEGATIVE,
    as_number,
    check_choice,
    check_count,
    check_number,
    check_saved_array,
    check_state,
    shown,
    shows,
)
from gdopt.errors import ArgumentTypeError, GdoptError, StateError
from gdopt.interrupt import Uninterrupted
from gdopt.optim.parameters import Parameters

FORMAT = 1
KEYS = ("best", "best_update", "params", "layers")  # checked one by one


@shows("patience", "min_delta", "mode", "best", "best_update", "waited")
class EarlyStopping:
    """Stop when a value has not improved for a while, and keep the best parameters.

    A value is better where it is above the best one by more than `min_delta` (below it
    with ``mode="min"``); the first is the best so far. After `patience` updates in a
    row without a better value it is time to stop. A difference of up to `min_delta`
    counts as none: it neither ends the waiting nor replaces the copy.

    A NaN is never better: it counts as an update without improvement, and `nans` holds
    how many there were. So a training that has diverged ends when patience does.
    Infinities are values like others.

    Copies of the parameters are made immediately, on their own device: memory for one
    more set of them. The optimizer's state is not kept: what comes back is the network
    to use. (To train on from the best, save `gdopt.training.capture` where `waited` is
    0.)

    Args:
        params: an array, a sequence or mapping of arrays, or a `gdopt.Arena`; what the
            optimizer updates in place.
        patience: updates without a better value after which to stop, at least 1.
        min_delta: by how much better a value has to be, at least 0.
        mode: ``"max"`` for an accuracy, ``"min"`` for a loss.
        layers: what has a state in addition to the parameters, with ``state_dict`` and
            ``load_state_dict``, that belongs to them: a network with batch
            normalization, for its averages of mean and variance.

    Attributes:
        best: the best value, None before the first.
        best_update: the number of its update, from 1; None before.
        updates: how many values there were.
        nans: how many of them were NaN.

    Raises:
        ArgumentError: a number is out of its range, arrays share memory.
        ArgumentTypeError: an argument is of the wrong kind, an array is read-only.
        BackendError: arrays are on several devices.

    Source: Ng, Improving deep neural networks, week 1, "Other regularization methods".

    Other libraries: Keras' ``EarlyStopping(restore_best_weights=True)`` counts in
    the same way, restores the weights by itself, and stops with a patience of 0 as with
    1 here.

    >>> import numpy as np
    >>> w = np.zeros(2)
    >>> stopping = EarlyStopping(w, patience=2)
    >>> for accuracy in (0.5, 0.8, 0.7, 0.6, 0.9):
    ...     w += 1
    ...     if stopping.update(accuracy):
    ...         break
    >>> w, stopping.best, stopping.best_update, stopping.waited
    (array([4., 4.]), 0.8, 2, 2)
    >>> stopping.restore()
    >>> w
    array([2., 2.])
    """

    def __init__(
        self,
        params: Any,
        *,
        patience: int,
        min_delta: float = 0.0,
        mode: str = "max",
        layers: Any = None,
    ) -> None:
        self._parameters = Parameters.of(params)
        self.patience = check_count("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, NOT_NEGATIVE)
        check_choice("mode", mode, ("max", "min"))
        if layers is not None and not hasattr(layers, "load_state_dict"):
            kind = type(layers).__name__
            message = f"layers must have state_dict and load_state_dict, got {kind}"
            raise ArgumentTypeError(message)
        self.mode = mode
        self.best: float | None = None
        self.best_update: int | None = None
        self.updates = self.nans = 0
        self._layers = layers
        self._layers_state: Any = None
        make, device = self._parameters.backend.zeros, self._parameters.device
        self._kept = {
            name: make(array.shape, array.dtype, device)
            for name, array in self._parameters.arrays.items()
        }

    @property
    def waited(self) -> int:
        """Updates since the best one; all of them before there is one."""
        return self.updates - (self.best_update or 0)

    def update(self, value: float) -> bool:
        """Take in a value, with the parameters as they are now.

        Args:
            value: a number; None, as in most records of `gdopt.fit`, is refused.

        Returns:
            Whether to stop now.

        Raises:
            ArgumentTypeError: the value is not a number; nothing has changed.
        """
        number = as_number("value", value)
        with Uninterrupted():
            if self._is_better(number):
                if self._layers is not None:
                    self._layers_state = self._layers.state_dict()
                self._copy(self._parameters.arrays, self._kept)
                self.best, self.best_update = number, self.updates + 1
            self.updates += 1
            self.nans += math.isnan(number)
        return self.waited >= self.patience

    def _is_better(self, number: float) -> bool:
        if self.best is None:
            return not math.isnan(number)
        if self.mode == "max":
            return number > self.best + self.min_delta
        return number < self.best - self.min_delta

    def _copy(self, source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
        with self._parameters.backend.on(self._parameters.device):
            for name, array in source.items():
                target[name][...] = array

    def restore(self) -> None:
        """Restore the best parameters in place, and the state of `layers`.

        Raises:
            StateError: there was no value but NaN; nothing has changed.
        """
        if self.best is None:
            seen = f"{self.updates} values, {self.nans} of them NaN"
            message = f"restore needs a best value, got {seen}"
            raise StateError(message)
        with Uninterrupted():
            if self._layers is not None:
                self._layers.load_state_dict(self._layers_state)
            self._parameters.write(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Copy what a resumed run needs; `patience` and `min_delta` are the code's."""
        to_host = self._parameters.backend.to_host
        kept = {name: np.array(to_host(array)) for name, array in self._kept.items()}
        return {
            "format": FORMAT,
            "mode": self.mode,
            "updates": self.updates,
            "nans": self.nans,
            "best": self.best,
            "best_update": self.best_update,
            "params": None if self.best is None else kept,
            "layers": copy.deepcopy(self._layers_state),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, on any device; the parameters are not changed.

        Args:
            state: a `state_dict()` of the same mode, of parameters of the same names,
                shapes and dtypes.

        Raises:
            StateError: it does not fit, or is damaged; nothing has changed.
        """
        counts, same = ("updates", "nans"), {"format": FORMAT, "mode": self.mode}
        state = check_state("state", state, KEYS, counts=counts, same=same)
        best, best_update = _best(state)
        moved = {} if best is None else self._moved(state["params"])
        wanted = self._layers is not None and best is not None
        if isinstance(state["layers"], Mapping) != wanted:
            rule = "a mapping, as layers are kept" if wanted else "None"
            message = (
                f"layers of the state must be {rule}, got {shown(state['layers'])}"
            )
            raise StateError(message)
        self._copy(moved, self._kept)
        self.updates, self.nans = state["updates"], state["nans"]
        self.best, self.best_update = best, best_update
        self._layers_state = copy.deepcopy(state["layers"])

    def _moved(self, saved: Any) -> dict[str, Array]:
        """Check saved parameters, and move them to the device."""
        saved = check_state("params", saved, self._kept)
        host = {
            name: check_saved_array(f"params[{name!r}]", saved[name], own)
            for name, own in self._kept.items()
        }
        move, device = self._parameters.backend.from_host, self._parameters.device
        return {name: move(array, device) for name, array in host.items()}


def _best(state: Mapping[str, Any]) -> tuple[float | None, int | None]:
    """Read the best value of a state, and the number of its update.

    Raises:
        StateError: they cannot belong together.
    """
    updates, nans = state["updates"], state["nans"]
    best, place = state["best"], state["best_update"]
    try:
        if best is None:
            fits = place is None and state["params"] is None and nans == updates
        else:
            best, place = (as_number("best", best), check_count("best_update", place))
            fits = place <= updates and nans < updates and not math.isnan(best)
    except GdoptError as error:
        message = f"state is damaged: {error}"
        raise StateError(message) from error
    if not fits:
        counts = {name: state[name] for name in ("updates", "nans", "best_update")}
        message = f"state is damaged: best is {shown(best)} with {counts}"
        raise StateError(message)
    return best, place
