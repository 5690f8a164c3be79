"""Features of mean 0 and standard deviation 1, as the training set has them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gdopt.arrays.backend import Array, Backend, on_their_device
from gdopt.checks import as_scalar, check_flag, check_state, host_array, shown
from gdopt.data.gather import (
    check_arrays,
    check_axis,
    example_axis,
    example_blocks,
    refuse_nan,
)
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError, StateError

SMALL, FAR = 2.0**-500, 400  # deviations whose squares may vanish, and their powers


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Shift and scale of every feature, fitted on the training set.

        z = (x - mean) / scale,    scale = sqrt(mean((x - mean)^2))

    Fit it on the training part alone, and transform training, dev and test parts with
    it: they must all be shifted and scaled in the same way. A feature that is constant
    in the training set gets scale 1, and so becomes 0 there. Sums and quotients are
    computed in float64, a few million elements at a time.

    Attributes:
        mean: of every feature; NumPy float64 on the host, of the shape of one example.
        scale: standard deviation of every feature, or 1; like `mean`.
        axis: 0 where rows are examples; 1 where columns are.
        dtype: of the data it was fitted on.
        skipna: whether NaN is a gap, which `transform` leaves as it is.

    Source: Ng, Improving deep neural networks, week 1, "Normalizing inputs"; the
    lecture writes sigma^2 for the divisor, its root is meant.

    Other libraries: scikit-learn's StandardScaler takes rows only, and turns whole
    numbers into float64; torchvision's Normalize wants the mean and the scale given.

    >>> import numpy as np
    >>> X = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> normalizer = Normalizer.fit(X)
    >>> normalizer.mean, normalizer.scale
    (array([2., 5.]), array([1., 1.]))
    >>> normalizer.transform(X)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """

    mean: np.ndarray
    scale: np.ndarray
    axis: int
    dtype: np.dtype[Any]
    skipna: bool = False

    def __post_init__(self) -> None:
        mean, scale = (
            host_array(name, getattr(self, name)) for name in ("mean", "scale")
        )
        numbers = {mean.dtype.kind, scale.dtype.kind} <= set("iuf")
        right = numbers and mean.shape == scale.shape and np.isfinite(mean).all()
        if not (right and np.isfinite(scale).all() and (scale > 0).all()):
            rule = "mean and scale must be finite numbers of one shape, and scale "
            got = f"positive, got shapes {mean.shape} and {scale.shape}"
            raise ArgumentError(rule + got)
        checked = {
            "mean": mean.astype(np.float64),
            "scale": scale.astype(np.float64),
            "axis": check_axis(self.axis),
            "dtype": _real("dtype", self.dtype),
            "skipna": check_flag("skipna", self.skipna),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    @on_their_device
    def fit(cls, X: Array, axis: int = 0, *, skipna: bool = False) -> Self:
        """Take mean and standard deviation of every feature of the training set.

        Args:
            X: the training set, real numbers; one dimension is one feature.
            axis: 0 where rows are examples; 1 for the course's layout, (n_x, m).
            skipna: whether NaN is a gap: of each feature the numbers that there are
                count, as with pandas' ``mean(skipna=True)`` and ``std(ddof=0)`` and in
                scikit-learn's StandardScaler.

        Raises:
            ArgumentError: X holds no example, NaN, or infinity; a feature has no number
                at all, or numbers so far apart that their difference overflows.
            ArgumentTypeError: X is not an array of real numbers.
        """
        axis, skipna = check_axis(axis), check_flag("skipna", skipna)
        backend, count = check_arrays((X,), axis, "X")
        dtype = _real("X", X.dtype)
        if count == 0:
            message = f"X must hold at least one example, got shape {tuple(X.shape)}"
            raise ArgumentError(message)
        if not skipna:
            hint = "; fill it in, leave those examples out, or give skipna=True"
            refuse_nan("X", X, axis, backend, hint, ("isnan",))  # infinities: see below
        mean, scale = _moments(backend, X, axis, count, skipna=skipna)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            largest = float(backend.xp.where(X == X, abs(X), 0).max())  # noqa: PLR0124
            message = "X must be finite, with a number in each feature, and with "
            message += f"differences that are finite in float64, got up to {largest:g}"
            raise ArgumentError(message)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(mean, scale, axis, dtype, skipna)

    @on_their_device
    def transform(self, X: Array) -> Array:
        """Shift and scale data of any part: (X - mean) / scale.

        Args:
            X: data with the features, dtype and layout of the training set.

        Returns:
            A new array on the device of X, of its dtype; float32 for whole numbers.

        Raises:
            ArgumentError: X has other features than the training set, or is not finite.
            ArgumentTypeError: X is not an array, or has another dtype.
        """
        backend = self._refuse_others(X, self.dtype)
        kinds = ("isinf",) if self.skipna else ("isnan", "isinf")
        refuse_nan("X", X, self.axis, backend, "", kinds)
        return self._map(backend, X, lambda x, mean, scale: (x - mean) / scale)

    @on_their_device
    def inverse(self, X: Array) -> Array:
        """Undo `transform`: return X * scale + mean, a new array like X.

        X has the dtype that `transform` returns.

        Raises:
            ArgumentError: X has other features than the training set.
            ArgumentTypeError: X is not an array, or has another dtype.
        """
        backend = self._refuse_others(X, _floating(self.dtype))
        return self._map(backend, X, lambda x, mean, scale: x * scale + mean)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return everything as NumPy arrays by name, for a checkpoint."""
        return {
            "mean": self.mean.copy(),
            "scale": self.scale.copy(),
            "axis": np.array(self.axis),
            "dtype": np.array(self.dtype.str),
        } | ({"skipna": np.array(True)} if self.skipna else {})

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Make a normalizer of what `state_dict` gave.

        Raises:
            StateError: a name is missing or unknown, or a value cannot be.
        """
        keys = ["mean", "scale", "axis", "dtype"]
        keys += ["skipna"] if isinstance(state, Mapping) and "skipna" in state else []
        state = check_state("state", state, keys)
        try:
            return cls(**state)
        except GdoptError as error:
            raise StateError(f"state is damaged: {error}") from error

    def _refuse_others(self, X: Array, dtype: Any) -> Backend:
        backend, _ = check_arrays((X,), self.axis, "X")
        if X.dtype != dtype:
            raise ArgumentTypeError(f"X must be {np.dtype(dtype)}, got {X.dtype}")
        examples = example_axis(X, self.axis)
        if X.shape[:examples] + X.shape[examples + 1 :] != self.mean.shape:
            rule = f"X must have examples of shape {self.mean.shape}"
            message = f"{rule} along axis {self.axis}, got shape {tuple(X.shape)}"
            raise ArgumentError(message)
        return backend

    def _map(self, backend: Backend, X: Array, formula: Any) -> Array:
        device = backend.device(X)
        mean, scale = (backend.from_host(a, device) for a in (self.mean, self.scale))
        result = backend.zeros(X.shape, _floating(X.dtype), device)
        blocks = example_blocks(X, self.axis)
        for x, out in zip(blocks, example_blocks(result, self.axis), strict=True):
            out[...] = formula(x.astype(np.float64), mean, scale)
        return result


def _real(name: str, value: Any) -> np.dtype[Any]:
    """Take the dtype of real numbers, or its name."""
    dtype: np.dtype[Any] | None = None
    with contextlib.suppress(TypeError, ValueError):
        dtype = None if value is None else np.dtype(as_scalar(value))
    if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        got = value if isinstance(value, np.dtype) else shown(value)
        message = f"{name} must hold real numbers of 8 bytes at most, got {got}"
        raise ArgumentTypeError(message)
    return dtype


def _floating(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of normalized data: float32 for whole numbers, as of images."""
    return np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float32)


def _moments(
    backend: Backend, X: Array, axis: int, count: Any, *, skipna: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every feature, on the host."""
    xp = backend.xp

    def each(formula: Callable[[Array], Array], gap: float = 0.0) -> Iterator[Array]:
        for x in (block.astype(np.float64) for block in example_blocks(X, axis)):
            found = formula(x)
            yield xp.where(xp.isnan(x), gap, found) if skipna else found

    def total(formula: Callable[[Array], Array]) -> Any:
        return sum(x.sum(axis=0) for x in each(formula))

    def moments(power: Any) -> tuple[Array, Array]:
        down, up = (-power, power) if power is not None else (None, None)
        shifted = total(lambda x: _scaled(xp, x - first, down)) / count
        mean = first + _scaled(xp, shifted, up)
        squares = total(lambda x: _scaled(xp, x - mean, down) ** 2)
        return mean, _scaled(xp, xp.sqrt(squares / count), up)

    # Deviations from a value of its own make a constant feature's exactly 0.
    first = next(example_blocks(X, axis))[0].astype(np.float64)
    if skipna:
        lows = (x.min(axis=0) for x in each(lambda x: x, np.inf))
        first, count = functools.reduce(xp.minimum, lows), total(xp.ones_like)
    mean, scale = moments(None)
    if not ((scale > SMALL) & (mean - mean + scale < np.inf)).all():
        ends = (abs(x).max(axis=0) for x in each(lambda x: x - first))
        power = xp.frexp(functools.reduce(xp.maximum, ends))[1]
        mean, scale = moments(xp.where(abs(power) > FAR, power, 0))
    return backend.to_host(mean), backend.to_host(scale)


def _scaled(xp: Any, x: Array, power: Any) -> Array:
    return x if power is None else xp.ldexp(x, power)
