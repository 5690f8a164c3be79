"""A user's function, and parameters that are moved in place and restored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from gdopt.arrays.arena import array_label, refuse_other_count, refuse_other_names
from gdopt.arrays.backend import Array, common_backend
from gdopt.arrays.containers import named_arrays
from gdopt.arrays.dtypes import as_complex, as_parts, is_float
from gdopt.checks import as_number, check_like
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError
from gdopt.interrupt import Uninterrupted
from gdopt.optim.gradients import finite
from gdopt.optim.parameters import Parameters

Values = Mapping[str, np.ndarray]  # by the parameters' names, on the host


class Probe:
    """Calls a function at parameters nearby; leaving the context restores them."""

    def __init__(
        self, function: Callable[[Any], Any], params: Any, *, nominal_step: bool = False
    ) -> None:
        self.nominal_step = nominal_step
        checked = Parameters.of(params)
        self.function, self.params = function, params
        self._nested = checked.container is not None and checked.container.nested
        self.given, self.backend = dict(checked.arrays), checked.backend
        # Of complex numbers both parts are moved, each by itself.
        self.arrays = {name: as_parts(array) for name, array in self.given.items()}
        self.device = checked.device
        self.entries = _entries(params)
        self.calls = 0
        self.loss_dtype: Any = np.dtype(np.float64)  # where the loss has no other
        for name, array in self.arrays.items():
            if not finite(self.backend, array):
                found = array_label(name)
                message = f"params must be finite, got NaN or infinity in {found}"
                raise ArgumentError(message)
        # On the device, so that restoring needs no memory there.
        with self.backend.on(self.device):
            self.kept = {name: array.copy() for name, array in self.arrays.items()}
        self.hosts = {n: self.backend.to_host(kept) for n, kept in self.kept.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with Uninterrupted():
            self.put_back()
            if isinstance(self.params, dict) and self.rebound():
                self.params.clear()
                self.params.update(self.entries)
            elif isinstance(self.params, list) and self.rebound():
                self.params[:] = self.entries.values()

    def put_back(self) -> None:
        """Restore the bits of every element."""
        for name, array in self.arrays.items():
            array[...] = self.kept[name]

    def rebound(self) -> list[str]:
        """Name the entries of the user's container that are other arrays by now."""
        now = _entries(self.params)
        return [
            name for name, array in self.entries.items() if now.get(name) is not array
        ]

    def changed(self) -> list[str]:
        """Name the parameters that are no longer what they were."""
        moved = [n for n, a in self.arrays.items() if bool((a != self.kept[n]).any())]
        return [*moved, *self.rebound()]

    def call(self, where: str) -> tuple[float, Any]:
        """Call the function; return its finite loss, and its gradients as they came."""
        self.calls += 1
        result = self.function(self.params)
        if not isinstance(result, tuple | list) or len(result) != 2:
            got = type(result).__name__
            message = f"loss_and_grads must return a pair (loss, grads), got {got}"
            raise ArgumentTypeError(message)
        loss = self._number(result[0])
        if not math.isfinite(loss):
            raise ArgumentError(f"the loss must be finite, got {loss} {where}")
        return loss, result[1]

    def _number(self, loss: Any) -> float:
        dtype = getattr(loss, "dtype", None)
        if dtype is None or not hasattr(loss, "shape"):
            return as_number("the loss", loss)
        real = is_float(dtype) or np.dtype(dtype).kind in "fiu"
        if loss.shape != () or not real:
            got = f"{dtype} of shape {loss.shape}"
            raise ArgumentTypeError(f"the loss must be one real number, got {got}")
        if is_float(dtype):
            self.loss_dtype = np.dtype(dtype)
        return float(loss)

    def gradients(self, grads: Any) -> dict[str, np.ndarray]:
        """Copy gradients to the host as float64, in the parameters' order."""
        named = named_arrays(grads, "grads")
        if isinstance(grads, Mapping) or self._nested:
            refuse_other_names(list(self.arrays), named, "grads")
        else:
            refuse_other_count(len(self.arrays), len(named))
            named = dict(zip(self.arrays, named.values(), strict=True))
        return {name: self._gradient(name, named[name]) for name in self.arrays}

    def _gradient(self, name: str, gradient: Any) -> np.ndarray:
        what = f"the gradient of {array_label(name)}"
        if isinstance(gradient, np.generic):  # what arithmetic makes of 0-d arrays
            gradient = np.asarray(gradient)
        device = common_backend([(what, gradient)]).device(gradient)
        if device != self.device:
            raise BackendError(f"{what} must be on {self.device}, got one on {device}")
        check_like(what, gradient, self.given[name])
        host = np.array(self.backend.to_host(gradient))
        non_finite = ~np.isfinite(host)
        if non_finite.any():
            index = tuple(int(k) for k in np.argwhere(non_finite)[0])
            message = f"{what} must be finite, got {host[index]} at {list(index)}"
            raise ArgumentError(message)
        return np.asarray(as_parts(host), dtype=np.float64)

    def is_complex(self, name: str) -> bool:
        """Return whether a parameter is complex."""
        return self.arrays[name] is not self.given[name]

    def as_given(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return values of a parameter's parts as numbers of its own kind."""
        return as_complex(values) if self.is_complex(name) else values

    def _place(self, name: str, index: tuple[int, ...]) -> str:
        part = ""
        if self.is_complex(name):
            *index, k = index  # type: ignore[assignment]
            part = (".real", ".imag")[k]
        return array_label(name) + (str(list(index)) if index else "") + part

    def element(
        self, name: str, index: tuple[int, ...], loss: float, step: float
    ) -> tuple[float, float]:
        """Return ``(f(p + h) - f(p - h)) / 2h``, p one element, and the jump there.

        The jump is how far the right-hand difference is above the left-hand one;
        `loss` is that at the parameters.
        """
        array, middle = self.arrays[name], self.hosts[name][index]
        place = self._place(name, index)
        losses, ends = [], []
        for move in (step, -step):
            with np.errstate(all="ignore"):  # reported with the loss
                end = middle.dtype.type(float(middle) + move)
            array[index] = end
            ends.append(float(end))
            losses.append(self.call(f"with {place} moved by {move:+g}")[0])
        array[index] = middle
        if ends[0] == ends[1]:
            raise ArgumentError(
                f"step must move every parameter, but {step:g} leaves {place} = "
                f"{float(middle):g} as it is in {middle.dtype}"
            )
        moved = 2 * step if self.nominal_step else ends[0] - ends[1]
        jump = (losses[0] - loss) - (loss - losses[1])
        return (losses[0] - losses[1]) / moved, jump / step

    def along(
        self, direction: Values, gradient: Values, what: str, loss: float, step: float
    ) -> tuple[float, float, float]:
        """Return the derivative along a direction by the gradient, and by differences.

        Third comes the jump; see `element`.
        The gradient is multiplied by how far the parameters were moved as stored, so
        that their rounding does not count, unless the step is nominal.
        """
        high = self.move(direction, step)
        above = self.call(f"{step:g} along {what}")[0]
        low = self.move(direction, -step)
        below = self.call(f"{-step:g} along {what}")[0]
        self.put_back()
        moves = {name: high[name] - low[name] for name in direction}
        if not any(move.any() for move in moves.values()):
            rule = "step must move the parameters"
            raise ArgumentError(f"{rule}, but {step:g} leaves them unchanged")
        if self.nominal_step:
            moves = {name: 2 * step * part for name, part in direction.items()}
        by_gradient = sum(float((gradient[n] * moves[n]).sum()) for n in direction)
        jump = ((above - loss) - (loss - below)) / step
        return by_gradient / (2 * step), (above - below) / (2 * step), jump

    def move(self, direction: Values, distance: float) -> dict[str, np.ndarray]:
        """Write ``p + distance * direction``; return what was stored, as float64."""
        stored = {}
        for name, part in direction.items():
            host = self.hosts[name]
            with np.errstate(all="ignore"):
                moved = (host.astype(np.float64) + distance * part).astype(host.dtype)
            self.arrays[name][...] = self.backend.from_host(moved, self.device)
            stored[name] = moved.astype(np.float64)
        return stored


def unit(direction: Values) -> dict[str, np.ndarray]:
    """Scale a direction to length 1, all its arrays together."""
    total = math.hypot(*(float(np.linalg.norm(part)) for part in direction.values()))
    return {name: part / (total or 1.0) for name, part in direction.items()}


def _entries(params: Any) -> dict[str, Array]:
    """Name what the container holds now."""
    if isinstance(params, Mapping):
        return dict(params)
    if isinstance(params, list | tuple):
        return {str(k): array for k, array in enumerate(params)}
    return {}
