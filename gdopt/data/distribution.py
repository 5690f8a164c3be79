"""Whether dev and test come from one distribution: what a split warns of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend, on_their_device
from gdopt.data.gather import example_axis, example_blocks, examples_at

# Whole numbers of more values than this are quantities, not names of classes.
MOST_CLASSES = 1000
FALSE_ALARM = 1e-3  # chance that parts of one distribution are said to differ

Compared = tuple[Array, Array, list[Any] | None]


@on_their_device
def classes_of(
    backend: Backend, array: Array, axis: int
) -> tuple[list[Any], np.ndarray] | None:
    """Return the classes in an array, and the class number of every example, on host.

    None where it holds no classes: several values per example, broken numbers, or more
    distinct ones than classes have.
    """
    count = int(array.shape[example_axis(array, axis)])
    if array.size != count or array.dtype.kind not in "biuSU":
        return None
    classes, codes = backend.xp.unique(array.reshape(-1), return_inverse=True)
    if len(classes) > MOST_CLASSES:
        return None
    return backend.to_host(classes).tolist(), backend.to_host(codes)


def differences(backend: Backend, compared: Iterable[Compared], axis: int) -> list[str]:
    r"""Describe features and classes whose frequency differs between dev and test.

    For every feature, and for the 0/1 indicator of every class, examples are paired in
    the order they have; with d the differences of the n pairs,

        score = \|sum d\| / sqrt(sum d^2), an alarm above sqrt(2 ln(2 k / FALSE_ALARM)),

    k being the number of features and classes together. Where both parts are drawn from
    one distribution each d is as likely as -d, and Hoeffding's inequality (1963,
    theorem 2, given the sizes of the differences) bounds the chance of *any* false
    alarm by `FALSE_ALARM`, whatever the distribution and however small the parts. Only
    means are compared, not spreads; pairs with NaN or infinity are left out, as are the
    examples by which one part is larger.

    `compared` has of every array its dev and its test part, and None; or class numbers
    on the host, and the names of the classes. The largest score comes first.
    """
    rows = [
        (f"{name} of array {k}", *numbers)
        for k, parts in enumerate(compared)
        for name, *numbers in scores(backend, *parts, axis)
    ]
    limit = math.sqrt(2 * math.log(2 * max(len(rows), 1) / FALSE_ALARM))
    found = [row for row in rows if row[-1] > limit]
    return [
        f"{name} ({kind} {a:.4g} in dev, {b:.4g} in test; "
        f"score {score:.1f}, limit {limit:.1f})"
        for name, kind, a, b, score in sorted(found, key=lambda row: -row[-1])
    ]


def scores(
    backend: Backend, dev: Array, test: Array, classes: list[Any] | None, axis: int
) -> list[tuple[Any, ...]]:
    """Return the name, the kind, both means and the score of all that is compared."""
    where = example_axis(dev, axis)
    pairs = min(dev.shape[where], test.shape[where])
    dev, test = (examples_at(part, axis, slice(pairs)) for part in (dev, test))
    if classes is not None:
        kind, (names, sums) = "share", _class_sums(classes, dev, test)
    elif dev.dtype.kind in "biuf":
        kind, (names, sums) = "mean", _feature_sums(backend, dev, test, axis)
    else:
        return []
    total, squares, in_dev, in_test, used = sums
    with np.errstate(invalid="ignore"):  # of sums that have overflowed
        score = np.abs(total) / np.sqrt(np.where(squares > 0, squares, 1))
    used = np.maximum(used, 1)
    rows = zip(names, in_dev / used, in_test / used, score, strict=True)
    return [(name, kind, *numbers) for name, *numbers in rows]


def _class_sums(
    classes: list[Any], dev: np.ndarray, test: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Add up the indicators of the classes that dev or test has."""
    in_dev, in_test, in_both = (
        np.bincount(part, minlength=len(classes))
        for part in (dev, test, dev[dev == test])
    )
    squares = in_dev + in_test - 2 * in_both  # pairs of which one is in the class
    pairs = np.full_like(squares, len(dev))
    present = np.flatnonzero(in_dev + in_test)
    sums = np.stack([in_dev - in_test, squares, in_dev, in_test, pairs])
    return [f"class {classes[k]}" for k in present], sums[:, present]


@on_their_device
def _feature_sums(
    backend: Backend, dev: Array, test: Array, axis: int
) -> tuple[list[str], np.ndarray]:
    """Add up the values of every feature, in float64."""
    xp = backend.xp
    sums: Any = 0
    blocks = (example_blocks(part, axis) for part in (dev, test))
    for a, b in zip(*blocks, strict=True):
        difference = a.astype(np.float64) - b
        usable = xp.isfinite(difference)
        kept = (
            xp.where(usable, part, 0)
            for part in (difference, difference * difference, a, b, usable)
        )
        sums = sums + xp.stack([x.sum(axis=0, dtype=np.float64) for x in kept])
    names = [
        f"feature {index[0] if len(index) == 1 else index}" if index else "the value"
        for index in np.ndindex(*sums.shape[1:])
    ]
    return names, backend.to_host(sums).reshape(5, -1)
