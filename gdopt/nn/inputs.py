"""What examples, labels and gradients must be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, backend_of, common_backend
from gdopt.checks import Range, check_count, check_each, check_int, check_number, shown
from gdopt.errors import ArgumentError, ArgumentTypeError

KEEP = Range.parse("(0, 1]")  # of the probability to keep a unit
SHARE = Range.parse("(0, 1]")  # of the examples of a batch, in one of its parts


def check_part(part: Any) -> tuple[int, int]:
    """Return the numbers of a part's batch and of its first example."""
    for name in ("batch", "first", "weight"):
        if not hasattr(part, name):
            message = f"part must have batch, first and weight, got {shown(part)}"
            raise ArgumentTypeError(message)
    check_number("part.weight", part.weight, SHARE)
    batch = check_int("part.batch", part.batch, least=0)
    return batch, check_int("part.first", part.first, least=0)


class InputChecks:
    """Refuses batches that do not fit a network; each kind of batch is checked once."""

    def __init__(self, weights: Array, sizes: tuple[int, ...], output: str) -> None:
        self._weights, self._sizes, self._output = weights, sizes, output
        self._checked: set[Any] = set()  # kinds of batches that were found to fit

    def x(self, x: Array) -> None:
        """Refuse examples of another shape, dtype or device."""
        common_backend((("W1", self._weights), ("x", x)))
        check_examples(x, self._sizes[0], self._weights.dtype)

    def batch(self, x: Array, y: Array) -> None:
        """Refuse what does not fit by its shape, dtype or device."""
        kind = tuple(map(kind_of, (x, y)))
        if kind in self._checked:
            return
        self.x(x)
        common_backend((("x", x), ("y", y)))
        shape = len(x), self._sizes[-1]
        if self._output == "linear":
            check_targets(y, shape, self._weights.dtype)
        else:
            column = [] if self._output == "softmax" else [(len(x), 1)]
            check_labels(y, [shape[:1], *column])
        self._checked.add(kind)

    def labelled(self, x: Array, y: Array) -> None:
        """Refuse what does not fit, values of labels and targets included."""
        self.batch(x, y)
        check_values(y, self._sizes[-1], self._output)

    def classifies(self, name: str, instead: str) -> None:
        """Refuse a method that needs classes where the output is linear."""
        if self._output == "linear":
            rule = "needs output='softmax' or 'sigmoid', got 'linear'"
            raise ArgumentError(f"{name} {rule}: use {instead}")


def check_floats(name: str, array: Array, **others: Array) -> Backend:
    """Return the backend that arrays share, the first of which must hold floats."""
    backend = common_backend(((name, array), *others.items()))
    refuse_unusable_dtype(name, array.dtype)
    return backend


def check_examples(x: Array, features: int, dtype: Any) -> None:
    """Refuse an `x` that is not at least one row of features."""
    if x.ndim != 2 or x.shape[1] != features:
        message = f"x must have shape (m, {features}), examples as rows, got {x.shape}"
        hint = ": write x.T" if x.shape[:1] == (features,) and x.ndim == 2 else ""
        raise ArgumentError(message + hint)
    if x.shape[0] == 0:
        raise ArgumentError(f"x must hold at least one example, got shape {x.shape}")
    check_dtype("x", x, dtype)


def check_dtype(name: str, array: Array, dtype: Any) -> None:
    """Refuse an array of another dtype than the network's, and say what helps."""
    if array.dtype != dtype:
        rule = f"{name} must be {dtype}, as the weights are"
        message = f"{rule}, got {array.dtype}: convert it with .astype(np.{dtype})"
        if array.dtype in (np.float32, np.float64):
            message += f", or make the network with dtype=np.{array.dtype}"
        raise ArgumentTypeError(message)


def check_finite(array: Array, name: str = "x") -> None:
    """Refuse an array (m, n) with NaN or infinities; a GPU has to wait."""
    _check_all(backend_of(array).xp.isfinite(array), array, f"{name} must be finite")


def check_probabilities(array: Array) -> None:
    """Refuse an array (m, n) of numbers that are not in [0, 1]; a GPU has to wait."""
    rule = "probabilities must be in [0, 1]"
    _check_all((array >= 0) & (array <= 1), array, rule)


def _check_all(fits: Array, array: Array, rule: str) -> None:
    if not fits.all():
        row, column = divmod(int(fits.argmin()), array.shape[1])
        value = float(array[row, column])
        raise ArgumentError(f"{rule}, got {value} in row {row}, column {column}")


def check_targets(targets: Array, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse targets of a regression that are not (m, k), or (m,) where k is 1."""
    common_backend((("targets", targets),))
    shapes = (shape, shape[:1]) if shape[1] == 1 else (shape,)
    if targets.shape not in shapes:
        rule = f"have shape {' or '.join(map(str, shapes))}, one row per example"
        hint = ": write y.T" if targets.shape == shape[::-1] else ""
        raise ArgumentError(f"targets must {rule}, got {targets.shape}{hint}")
    check_dtype("targets", targets, dtype)


def check_weights(weights: Array, x: Array, *, validate: bool) -> None:
    """Refuse weights that are not one positive number for each example."""
    common_backend((("x", x), ("weights", weights)))
    if weights.shape != (len(x),):
        raise ArgumentError(f"weights must have shape ({len(x)},), got {weights.shape}")
    check_dtype("weights", weights, x.dtype)
    if validate:
        rule = "weights must be above 0 and finite: leave out examples of weight 0"
        column = weights.reshape(-1, 1)
        _check_all((column > 0) & (column < np.inf), column, rule)


def check_labels(labels: Array, shapes: Collection[tuple[int, ...]]) -> None:
    """Refuse labels that are not whole numbers, one for each example."""
    if labels.shape not in shapes:
        rule = f"have shape {' or '.join(map(str, shapes))}, one per example"
        flat = labels.ndim == 2 and (labels.size,) in shapes
        hint = ": write y.ravel()" if flat else ""
        raise ArgumentError(f"labels must {rule}, got {labels.shape}{hint}")
    if labels.dtype.kind not in "iu":
        rule = "be class numbers of an integer dtype"
        raise ArgumentTypeError(f"labels must {rule}, got {labels.dtype}")


def check_classes(labels: Array, classes: int) -> None:
    """Refuse labels that are not class numbers; a GPU has to wait for the answer."""
    for label in (int(labels.min()), int(labels.max())):
        if not 0 <= label < classes:
            rule = f"labels must be class numbers from 0 to {classes - 1}"
            raise ArgumentError(f"{rule}, as there are {classes} classes, got {label}")


def check_sizes(sizes: Sequence[int], output: str) -> tuple[int, ...]:
    """Return the sizes of a network as a tuple."""
    checked = check_each(check_count, "sizes", sizes)
    got = shown(checked)
    if len(checked) < 2:
        message = f"sizes must name the input and at least one layer, got {got}"
        raise ArgumentError(message)
    if output == "sigmoid" and checked[-1] != 1:
        raise ArgumentError(f"sizes must end with 1 for a sigmoid output, got {got}")
    if output == "softmax" and checked[-1] < 2:
        message = f"sizes must end with 2 classes or more for softmax, got {got}"
        raise ArgumentError(message)
    return checked


def check_keep_prob(keep_prob: Any, hidden: int) -> tuple[float, ...]:
    """Return the probability to keep a unit of each hidden layer."""
    check = partial(check_number, bounds=KEEP)
    if not isinstance(keep_prob, list | tuple):
        return (check("keep_prob", keep_prob),) * hidden
    if len(keep_prob) != hidden:
        got = f"{len(keep_prob)} numbers"
        raise ArgumentError(f"keep_prob must name {hidden} hidden layers, got {got}")
    return check_each(check, "keep_prob", keep_prob)


def check_values(y: Array, outputs: int, output: str) -> None:
    """Refuse unknown classes, or targets that are not finite; a GPU has to wait."""
    if output == "linear":
        check_finite(y.reshape(len(y), -1), "targets")
    else:
        check_classes(y, max(outputs, 2))


def kind_of(array: Any) -> tuple[Any, ...]:
    """Return what the checks of a batch depend on, but for its numbers."""
    if not (hasattr(array, "dtype") and hasattr(array, "shape")):
        return (type(array),)  # refused
    device = getattr(array, "device", None)
    return type(array), array.shape, array.dtype, str(device)
