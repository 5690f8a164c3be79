"""Do two parts of the data come from one distribution?"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gdopt.arrays.backend import Array, Backend, common_backend
from gdopt.checks import Range, check_number
from gdopt.data.checks import (
    check_arrays,
    check_axis,
    example_axis,
    example_blocks,
)
from gdopt.errors import ArgumentError

# Whole numbers of more values than this are quantities, not names of classes.
MOST_CLASSES = 1000


class Difference(NamedTuple):
    """One feature or class that dev and test do not share, `compare_distributions`.

    Attributes:
        array: position of the array.
        what: ``"feature 3"``, ``"feature (2, 5)"`` or ``"class 7"``.
        dev: mean of the feature, or share of the class, in dev.
        test: the same in test.
        score: the test's statistic.
        limit: what it exceeds.
    """

    array: int
    what: str
    dev: float
    test: float
    score: float
    limit: float

    def __str__(self) -> str:
        kind = "share" if self.what.startswith("class") else "mean"
        return (
            f"{self.what} of array {self.array} ({kind} {self.dev:.4g} in dev, "
            f"{self.test:.4g} in test; score {self.score:.1f}, limit {self.limit:.1f})"
        )


class _Scores(NamedTuple):
    """The statistic of every feature or class of one array, on the host."""

    score: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    names: list[str]


def compare_distributions(
    dev: Any, test: Any, *, axis: int = 0, false_alarm: float = 1e-3
) -> tuple[Difference, ...]:
    r"""Find features and classes whose frequency differs between dev and test.

    For every feature, and for the 0/1 indicator of every class, examples are paired in
    the order they have; with d the differences of the n pairs,

        score = \|sum d\| / sqrt(sum d^2), an alarm above sqrt(2 ln(2 k / false_alarm)),

    k being the number of features and classes together. Where both parts are drawn from
    one distribution each d is as likely as -d, and Hoeffding's inequality bounds the
    chance of *any* false alarm by `false_alarm`, whatever the distribution and however
    small the parts. An array of whole numbers, truth values or text with one value per
    example, and at most 1000 distinct ones, holds classes; all other numbers are
    features. Only means are compared, not spreads; pairs with NaN or infinity are left
    out, as are the examples by which one part is larger.

    Args:
        dev: an array or a tuple of arrays, examples along `axis`.
        test: the same arrays of the other part.
        axis: 0 where rows are examples, 1 where columns are.
        false_alarm: chance in (0, 1) that parts of one distribution raise an alarm.

    Returns:
        The differences found, the largest score first; none where all is well.

    Raises:
        ArgumentError: the parts are not of the same arrays, or a value breaks its rule.
        ArgumentTypeError: something is not an array, or `false_alarm` no number.
        BackendError: the arrays are on several devices.

    Source:
        Hoeffding 1963, Probability inequalities for sums of bounded random variables,
        theorem 2, given the sizes of the differences.

    >>> import numpy as np
    >>> y = np.repeat([0, 1], 50)
    >>> compare_distributions(y[::2], y[1::2])
    ()
    >>> print(compare_distributions(y[:50], y[50:])[0])
    class 0 of array 0 (share 1 in dev, 0 in test; score 7.1, limit 4.1)
    """
    axis = check_axis(axis)
    alarm = check_number("false_alarm", false_alarm, Range.parse("(0, 1)"))
    dev = dev if isinstance(dev, tuple) else (dev,)
    test = test if isinstance(test, tuple) else (test,)
    _refuse_other_arrays(dev, test, axis)
    backend = common_backend(
        (f"array {k} of {part}", array)
        for part, arrays in (("dev", dev), ("test", test))
        for k, array in enumerate(arrays)
    )
    scored = {
        k: scores
        for k, (a, b) in enumerate(zip(dev, test, strict=True))
        if (scores := _scores(backend, a, b, axis)) is not None
    }
    tests = sum(len(scores.names) for scores in scored.values())
    limit = math.sqrt(2 * math.log(2 * max(tests, 1) / alarm))
    found = [
        Difference(k, name, float(a), float(b), float(score), limit)
        for k, scores in scored.items()
        for score, a, b, name in zip(*scores, strict=True)
        if score > limit
    ]
    return tuple(sorted(found, key=lambda difference: -difference.score))


def classes_of(
    backend: Backend, array: Array, axis: int
) -> tuple[list[Any], Array] | None:
    """Give the classes in an array and the class number of every example.

    None where it holds no classes: several values per example, broken numbers, or more
    distinct ones than classes have.
    """
    count = int(array.shape[example_axis(array, axis)])
    if array.size != count or array.dtype.kind not in "biuSU":
        return None
    classes, codes = backend.xp.unique(array.reshape(-1), return_inverse=True)
    if len(classes) > MOST_CLASSES:
        return None
    return backend.to_host(classes).tolist(), codes


def _refuse_other_arrays(
    dev: tuple[Array, ...], test: tuple[Array, ...], axis: int
) -> None:
    check_arrays(dev, axis, "array {} of dev")
    check_arrays(test, axis, "array {} of test")
    if len(dev) != len(test):
        message = (
            "dev and test must hold equally many arrays, "
            f"got {len(dev)} and {len(test)}"
        )
        raise ArgumentError(message)
    for k, (a, b) in enumerate(zip(dev, test, strict=True)):
        shapes = [list(part.shape) for part in (a, b)]
        if a.ndim == b.ndim:
            for shape in shapes:
                del shape[example_axis(a, axis)]
        if shapes[0] != shapes[1] or a.dtype.kind != b.dtype.kind:
            message = (
                f"dev and test must be parts of the same arrays, got {a.dtype} of "
                f"shape {tuple(a.shape)} and {b.dtype} of shape {tuple(b.shape)} "
                f"as array {k}"
            )
            raise ArgumentError(message)


def _scores(backend: Backend, dev: Array, test: Array, axis: int) -> _Scores | None:
    """Compare pairs of examples; None where the values are not real numbers."""
    where = example_axis(dev, axis)
    pairs = min(dev.shape[where], test.shape[where])
    first = (slice(None),) * where + (slice(pairs),)
    dev, test = dev[first], test[first]
    if dev.size == pairs:
        both = backend.xp.concatenate([dev.reshape(-1), test.reshape(-1)])
        classes = classes_of(backend, both, 0)
        if classes is not None:
            return _class_scores(backend, *classes)
    if dev.dtype.kind in "biuf":
        return _feature_scores(backend, dev, test, axis)
    return None


def _class_scores(backend: Backend, classes: list[Any], codes: Array) -> _Scores:
    """Compare the share of every class; the first half of the codes is dev's."""
    xp, pairs = backend.xp, len(codes) // 2
    dev, test = codes[:pairs], codes[pairs:]
    counts = [
        backend.to_host(xp.bincount(part, minlength=len(classes)))
        for part in (dev, test, dev[dev == test])
    ]
    in_dev, in_test, in_both = counts
    squares = in_dev + in_test - 2 * in_both  # pairs of which one is in the class
    score = np.abs(in_dev - in_test) / np.sqrt(np.maximum(squares, 1))
    names = [f"class {name}" for name in classes]
    return _Scores(score, in_dev / pairs, in_test / pairs, names)


def _feature_scores(backend: Backend, dev: Array, test: Array, axis: int) -> _Scores:
    """Compare the mean of every feature, in float64."""
    xp = backend.xp
    sums: Any = 0
    # Infinities and squares beyond float64 make no alarm; they need no warning either.
    with np.errstate(invalid="ignore", over="ignore"):
        for a, b in zip(
            example_blocks(dev, axis), example_blocks(test, axis), strict=True
        ):
            difference = a.astype(np.float64) - b
            usable = xp.isfinite(difference)
            parts = (difference, difference * difference, a, b, usable)
            sums = sums + xp.stack(
                [
                    xp.where(usable, part, 0).sum(axis=0, dtype=np.float64)
                    for part in parts
                ]
            )
    shape = sums.shape[1:]
    total, squares, in_dev, in_test, pairs = backend.to_host(sums).reshape(5, -1)
    squares = np.where(squares > 0, squares, 1)
    names = [_feature_name(index) for index in np.ndindex(*shape)]
    pairs = np.maximum(pairs, 1)
    return _Scores(
        np.abs(total) / np.sqrt(squares), in_dev / pairs, in_test / pairs, names
    )


def _feature_name(index: tuple[int, ...]) -> str:
    if not index:
        return "the value"
    return f"feature {index[0] if len(index) == 1 else index}"
