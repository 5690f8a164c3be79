"""Features of mean 0 and standard deviation 1, as the training set has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gdopt.arrays.backend import Array, Backend, on_their_device
from gdopt.checks import check_state
from gdopt.data.gather import (
    check_arrays,
    check_axis,
    example_axis,
    example_blocks,
    refuse_nan,
)
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError, StateError


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

    @classmethod
    @on_their_device
    def fit(cls, X: Array, axis: int = 0) -> Self:
        """Take mean and standard deviation of every feature of the training set.

        Args:
            X: the training set, real numbers; one dimension is one feature.
            axis: 0 where rows are examples; 1 for the course's layout, (n_x, m).

        Raises:
            ArgumentError: X holds no example, NaN, or numbers whose squares overflow.
            ArgumentTypeError: X is not an array of real numbers.
        """
        axis = check_axis(axis)
        backend, count = check_arrays((X,), axis, "X")
        if X.dtype.kind not in "biuf" or X.dtype.itemsize > 8:
            message = f"X must hold real numbers of 8 bytes at most, got {X.dtype}"
            raise ArgumentTypeError(message)
        if count == 0:
            message = f"X must hold at least one example, got shape {tuple(X.shape)}"
            raise ArgumentError(message)
        hint = "; fill it in or leave those examples out"
        refuse_nan("X", X, axis, backend, hint, ("isnan",))  # infinities: see below
        mean, scale = _moments(backend, X, axis, count)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            largest = float(abs(X).max())
            rule = "X must be finite, and so must be the squares of its deviations"
            message = f"{rule} in float64, got up to {largest:g}"
            raise ArgumentError(message)
        return cls(mean, np.where(scale > 0, scale, 1.0), axis, np.dtype(X.dtype))

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
        refuse_nan("X", X, self.axis, backend, "")
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
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Make a normalizer of what `state_dict` gave.

        Raises:
            StateError: a name is missing or unknown, or a value cannot be.
        """
        state = check_state("state", state, ("mean", "scale", "axis", "dtype"))
        try:
            mean, scale = (np.array(state[n], np.float64) for n in ("mean", "scale"))
            axis, dtype = check_axis(int(state["axis"])), np.dtype(str(state["dtype"]))
        except (GdoptError, TypeError, ValueError) as error:
            message = f"state is damaged: {error}"
            raise StateError(message) from error
        right = mean.shape == scale.shape and np.isfinite(mean).all()
        if not (right and np.isfinite(scale).all() and (scale > 0).all()):
            message = (
                "mean and scale in state must be finite, of one shape, and scale "
                f"positive, got shapes {mean.shape} and {scale.shape}"
            )
            raise StateError(message)
        return cls(mean, scale, axis, dtype)

    def _refuse_others(self, X: Array, dtype: Any) -> Backend:
        backend, _ = check_arrays((X,), self.axis, "X")
        if X.dtype != dtype:
            message = f"X must be {np.dtype(dtype)}, got {X.dtype}"
            raise ArgumentTypeError(message)
        examples = example_axis(X, self.axis)
        if X.shape[:examples] + X.shape[examples + 1 :] != self.mean.shape:
            rule = f"X must have examples of shape {self.mean.shape}"
            message = f"{rule} along axis {self.axis}, got shape {tuple(X.shape)}"
            raise ArgumentError(message)
        return backend

    def _map(self, backend: Backend, X: Array, formula: Any) -> Array:
        """Apply a formula in float64, block by block."""
        device = backend.device(X)
        mean, scale = (backend.from_host(a, device) for a in (self.mean, self.scale))
        result = backend.zeros(X.shape, _floating(X.dtype), device)
        blocks = example_blocks(X, self.axis)
        for x, out in zip(blocks, example_blocks(result, self.axis), strict=True):
            out[...] = formula(x.astype(np.float64), mean, scale)
        return result


def _floating(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of normalized data: float32 for whole numbers, as of images."""
    return np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float32)


def _moments(
    backend: Backend, X: Array, axis: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every feature, on the host."""
    first = next(example_blocks(X, axis))[0].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        # Deviations from the first example make a constant feature's exactly 0.
        total = sum(
            (x.astype(np.float64) - first).sum(axis=0) for x in example_blocks(X, axis)
        )
        mean = first + total / count
        squares = sum(((x - mean) ** 2).sum(axis=0) for x in example_blocks(X, axis))
        scale = backend.xp.sqrt(squares / count)
    return backend.to_host(mean), backend.to_host(scale)
