"""Whether dev and test come from one distribution: what a split warns of."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gdopt.arrays.backend import Array, Backend
from gdopt.data.checks import example_axis, example_blocks

# Whole numbers of more values than this are quantities, not names of classes.
MOST_CLASSES = 1000
FALSE_ALARM = 1e-3  # chance that parts of one distribution are said to differ


class Scores(NamedTuple):
    """The statistic of every feature or class of one array, on the host."""

    score: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    names: list[str]
    kind: str


def differences(
    backend: Backend, dev: tuple[Array, ...], test: tuple[Array, ...], axis: int
) -> list[str]:
    r"""Describe features and classes whose frequency differs between dev and test.

    For every feature, and for the 0/1 indicator of every class, examples are paired in
    the order they have; with d the differences of the n pairs,

        score = \|sum d\| / sqrt(sum d^2), an alarm above sqrt(2 ln(2 k / FALSE_ALARM)),

    k being the number of features and classes together. Where both parts are drawn from
    one distribution each d is as likely as -d, and Hoeffding's inequality bounds the
    chance of *any* false alarm by `FALSE_ALARM`, whatever the distribution and however
    small the parts. Only means are compared, not spreads; pairs with NaN or infinity
    are left out, as are the examples by which one part is larger.

    Args:
        backend: of the arrays.
        dev: arrays, examples along `axis`.
        test: the same arrays of the other part.
        axis: of the examples.

    Returns:
        The differences found, the largest score first; none where all is well.

    Source:
        Hoeffding 1963, Probability inequalities for sums of bounded random variables,
        theorem 2, given the sizes of the differences.
    """
    pairs = enumerate(zip(dev, test, strict=True))
    scored = {k: found for k, ab in pairs if (found := scores(backend, *ab, axis))}
    tests = sum(len(found.names) for found in scored.values())
    limit = math.sqrt(2 * math.log(2 * max(tests, 1) / FALSE_ALARM))
    texts = []
    for k, found in scored.items():
        for score, a, b, name in zip(*found[:4], strict=True):
            if score > limit:
                means = f"{found.kind} {a:.4g} in dev, {b:.4g} in test"
                why = f"score {score:.1f}, limit {limit:.1f}"
                texts.append((score, f"{name} of array {k} ({means}; {why})"))
    return [text for _, text in sorted(texts, key=lambda pair: -pair[0])]


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


def scores(backend: Backend, dev: Array, test: Array, axis: int) -> Scores | None:
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


def _class_scores(backend: Backend, classes: list[Any], codes: Array) -> Scores:
    """Compare the share of every class; the first half of the codes is dev's."""
    xp, pairs = backend.xp, len(codes) // 2
    dev, test = codes[:pairs], codes[pairs:]
    in_dev, in_test, in_both = (
        backend.to_host(xp.bincount(part, minlength=len(classes)))
        for part in (dev, test, dev[dev == test])
    )
    squares = in_dev + in_test - 2 * in_both  # pairs of which one is in the class
    score = np.abs(in_dev - in_test) / np.sqrt(np.maximum(squares, 1))
    names = [f"class {name}" for name in classes]
    return Scores(score, in_dev / pairs, in_test / pairs, names, "share")


def _feature_scores(backend: Backend, dev: Array, test: Array, axis: int) -> Scores:
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
    score = np.abs(total) / np.sqrt(np.where(squares > 0, squares, 1))
    names = [
        f"feature {index[0] if len(index) == 1 else index}" if index else "the value"
        for index in np.ndindex(*shape)
    ]
    pairs = np.maximum(pairs, 1)
    return Scores(score, in_dev / pairs, in_test / pairs, names, "mean")
