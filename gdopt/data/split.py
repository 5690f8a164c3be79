"""Training, dev and test sets."""

from __future__ import annotations

import math
import warnings
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar, Unpack, overload

import numpy as np

from gdopt.arrays.backend import Array, Backend, common_backend, on_their_device
from gdopt.checks import as_scalar, check_flag, check_int, check_seed, shown
from gdopt.data.distribution import classes_of, differences
from gdopt.data.gather import check_arrays, check_axis, examples_at
from gdopt.errors import ArgumentError, ArgumentTypeError, DataWarning

Part = TypeVar("Part")


class Split(NamedTuple, Generic[Part]):
    """Parts of some data: each a tuple of arrays, or one array where one was split.

    Attributes:
        train: what parameters are fitted to.
        dev: what hyper-parameters are chosen on; None in a split without dev.
        test: what the result is judged on.
    """

    train: Part
    dev: Part | Any
    test: Part


class SplitOptions(TypedDict, total=False):
    """The keyword arguments of `split`."""

    train: float | None
    dev: float | None
    test: float | None
    seed: int
    axis: int
    stratify: Array | None
    groups: Array | None
    shuffle: bool


@overload
def split(array: Part, /, **options: Unpack[SplitOptions]) -> Split[Part]: ...
@overload
def split(
    first: Array, second: Array, /, *more: Array, **options: Unpack[SplitOptions]
) -> Split[tuple[Array, ...]]: ...
def split(
    *arrays: Array,
    train: float | None = None,
    dev: float | None = 0.2,
    test: float | None = None,
    seed: int = 0,
    axis: int = 0,
    stratify: Array | None = None,
    groups: Array | None = None,
    shuffle: bool = True,
) -> Split[Any]:
    """Split arrays into training, dev and test parts, in a random order.

    The order is drawn on the host: one seed gives the same parts on every backend.
    Warns, with `DataWarning`, where dev and test differ in the mean of a feature or the
    share of a class (at most once in 1000 splits of data in random order), and where an
    array of classes has some in dev or test that training never sees. An array of whole
    numbers, truth values or text with one value per example, and at most 1000 distinct
    ones, holds classes; all other numbers are features.

    Args:
        *arrays: arrays on one device, with equally many examples, m, along `axis`; in
            an array of one dimension every element is an example.
        train: 0.6 by default, or 0.7 without dev. Either all of `train`, `dev` and
            `test` are fractions with sum 1, or all are whole numbers of examples with
            sum at most m. Of fractions, dev and test are rounded to whole examples, and
            the rest is for training.
        dev: 0.2 by default; None makes no dev part.
        test: 0.2 by default, or 0.3 without dev.
        seed: a whole number of at least 0; by default 0, so that a call without it is
            reproducible.
        axis: 0 where rows are examples; 1 for the course's layout, (n_x, m), where
            columns are.
        stratify: classes of the m examples: whole numbers, of floats too, truth values
            or text. Every part then gets its share of each class, to within two
            examples (three, of counts).
        groups: labels of the m examples, of the same kinds. All examples of a group, as
            those of one patient, then go to one part; its size differs from what was
            asked for by at most the largest group. Not with `stratify`.
        shuffle: False keeps the order of the data within and between the parts.

    Returns:
        A `Split` of copies: ``(train, dev, test)``.

    Raises:
        ArgumentError: a part would be empty, the parts do not add up, an argument is
            out of its range, or the arrays differ in their numbers of examples.
        ArgumentTypeError: an argument is of the wrong kind.
        BackendError: the arrays are on several devices.

    Source: Ng, Improving deep neural networks, week 1, "Train / dev / test sets".

    Other libraries: scikit-learn's train_test_split makes two parts a call, and draws
    which class loses an example to rounding.

    >>> import numpy as np
    >>> X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    >>> train, dev, test = split(X, y, seed=0, stratify=y)
    >>> [part[1].tolist() for part in (train, dev, test)]
    [[0, 0, 0, 1, 1, 1], [1, 0], [0, 1]]
    >>> len(split(X, dev=None, seed=0).train)
    7
    """
    axis = check_axis(axis)
    shuffle = check_flag("shuffle", shuffle)
    backend, count = check_arrays(arrays, axis)
    sizes = _part_sizes(count, train, dev, test)
    seed = check_seed(seed)
    order = np.arange(count)
    if shuffle:
        order = np.random.default_rng(seed).permutation(count)
    if groups is not None:
        if stratify is not None:
            message = "stratify must be None where groups are given, got both"
            raise ArgumentError(message)
        numbers = _numbers("groups", groups, count)
        chosen = _by_group(order, numbers, sizes, seed=seed if shuffle else None)
    elif stratify is not None:
        chosen = _by_class(order, _numbers("stratify", stratify, count), sizes)
    else:
        chosen = np.split(order, np.cumsum(sizes))[:3]
    places = (backend.from_host(i, backend.device(arrays[0])) for i in chosen)
    parts = [tuple(examples_at(a, axis, there) for a in arrays) for there in places]
    classes = [classes_of(backend, array, axis) for array in arrays]
    _warn_of_unseen(classes, chosen)
    if dev is not None:
        _warn_of_difference(backend, parts[1:], classes, chosen[1:], axis)
    result = [part if len(part) > 1 else part[0] for part in parts]
    return Split(result[0], None if dev is None else result[1], result[2])


def _part_sizes(count: int, train: Any, dev: Any, test: Any) -> list[int]:
    if train is None:
        train = 0.7 if dev is None else 0.6
    if test is None:
        test = 0.3 if dev is None else 0.2
    asked = {"train": train, "dev": dev, "test": test}
    if dev is None:
        del asked["dev"]
    asked = {name: as_scalar(share) for name, share in asked.items()}
    for name, share in asked.items():
        if isinstance(share, bool) or not isinstance(
            share, int | float | np.integer | np.floating
        ):
            message = f"{name} must be a fraction or a whole number, got {shown(share)}"
            raise ArgumentTypeError(message)
    broken = [isinstance(share, float | np.floating) for share in asked.values()]
    together = " + ".join(f"{name}={share}" for name, share in asked.items())
    if not any(broken):
        sizes = {name: check_int(name, share, 1) for name, share in asked.items()}
        if sum(sizes.values()) > count:
            message = f"parts must add up to at most {count} examples, got {together}"
            raise ArgumentError(message)
    elif not all(broken):
        rule = "parts must be all fractions or all whole numbers of examples"
        raise ArgumentError(f"{rule}, got {together}")
    else:
        sizes = _rounded(asked, count, together)
    return [sizes["train"], sizes.get("dev", 0), sizes["test"]]


def _rounded(asked: dict[str, float], count: int, together: str) -> dict[str, int]:
    """Turn fractions into numbers of examples, the rest going to training."""
    for name, share in asked.items():
        if not 0 < share < 1:
            raise ArgumentError(f"{name} must be a fraction in (0, 1), got {share}")
    if not math.isclose(sum(asked.values()), 1, abs_tol=1e-6):  # float32 ones too
        raise ArgumentError(f"fractions must add up to 1, got {together}")
    sizes = {name: round(share * count) for name, share in asked.items()}
    sizes["train"] = 0
    sizes["train"] = count - sum(sizes.values())
    for name, size in sizes.items():
        if size < 1:
            rule = f"{name} must get at least one example"
            raise ArgumentError(f"{rule}, got {asked[name]} of {count} examples")
    return sizes


@on_their_device
def _numbers(name: str, labels: Array, count: int) -> np.ndarray:
    """Return the number of every example's label, on the host."""
    backend = common_backend(((name, labels),))
    if labels.size != count:
        rule = f"{name} must hold one label for each of the {count} examples"
        raise ArgumentError(f"{rule}, got shape {tuple(labels.shape)}")
    flat, kind = labels.reshape(-1), labels.dtype.kind
    xp = backend.xp
    whole = kind == "f" and (xp.isfinite(flat) & (flat == xp.floor(flat))).all()
    text = kind == "O" and all(isinstance(label, str) for label in flat)
    if not (kind in "biuSUT" or whole or text):
        rule = f"{name} must hold whole numbers, truth values or text"
        raise ArgumentError(f"{rule}, got {labels.dtype}")
    found: np.ndarray = backend.to_host(xp.unique(flat, return_inverse=True)[1])
    return found


def _by_group(
    order: np.ndarray, groups: np.ndarray, sizes: list[int], *, seed: int | None
) -> list[np.ndarray]:
    """Return indices for each part, in `order`, with all examples of every group.

    Groups stand one behind another on a line, in random order or as they come, which is
    cut into the parts; a group that is cut goes where its middle is.
    """
    lengths = np.bincount(groups)
    if seed is None:
        line = np.argsort(np.unique(groups, return_index=True)[1])
    else:
        line = np.random.default_rng(seed).permutation(len(lengths))
    middles = np.cumsum(lengths[line]) - lengths[line] / 2
    part_of = np.empty(len(lengths), np.int64)
    part_of[line] = np.searchsorted(np.cumsum(sizes), middles, side="right")
    chosen = [order[part_of[groups[order]] == part] for part in range(len(sizes))]
    if any(size and not part.size for size, part in zip(sizes, chosen, strict=True)):
        rule = "groups must be small enough for an example in every part"
        got = f"{len(lengths)}, the largest of {lengths.max()} examples"
        raise ArgumentError(f"{rule}, got {got}")
    return chosen


def _by_class(
    order: np.ndarray, classes: np.ndarray, sizes: list[int]
) -> list[np.ndarray]:
    """Choose indices for each part, in `order`, with every class's share of it.

    Largest part first (worst error 1.4 examples for 80:10:10, against 1.8), s examples
    out of r: classes stand one behind another on a line, and the part's share of all
    classes up to one is floor(s N / r), N being how many they hold. So every class's
    share differs from s n / r by less than one, and all shares add up to s.
    scikit-learn's splitter would need an extra and two calls.
    """
    rest = np.bincount(classes)
    shares = np.zeros((len(sizes), len(rest)), np.int64)
    for part in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        up_to = np.cumsum(rest) * sizes[part] // max(int(rest.sum()), 1)
        shares[part] = np.diff(up_to, prepend=0)
        rest = rest - shares[part]
    lengths = np.vstack([shares, rest]).T.reshape(-1)
    numbers = np.tile(np.arange(len(sizes) + 1), len(rest))
    part_of = np.empty(len(order), np.int64)
    part_of[order[np.argsort(classes[order], kind="stable")]] = numbers.repeat(lengths)
    return [order[part_of[order] == part] for part in range(len(sizes))]


def _warn_of_unseen(classes: list[Any], chosen: list[np.ndarray]) -> None:
    """Warn of classes in dev or test that training never sees."""
    for k, found in enumerate(classes):
        # Whole numbers that are hardly ever met twice are quantities.
        if found is None or 2 * len(found[0]) > len(found[1]):
            continue
        names, codes = found
        seen, *others = (np.bincount(codes[i], minlength=len(names)) for i in chosen)
        unseen = np.flatnonzero((seen == 0) & (sum(others) > 0))
        if unseen.size:
            message = (
                f"train has no example of class {names[unseen[0]]} of array {k}"
                f"{_more(unseen.size)}, which dev or test has: stratify by the "
                "classes, or make the array floating-point if it holds quantities"
            )
            warnings.warn(message, DataWarning, stacklevel=3)


def _warn_of_difference(
    backend: Backend,
    parts: list[tuple[Array, ...]],
    classes: list[Any],
    chosen: list[np.ndarray],
    axis: int,
) -> None:
    compared = (
        (dev, test, None)
        if found is None
        else (*(found[1][i] for i in chosen), found[0])
        for dev, test, found in zip(*parts, classes, strict=True)
    )
    if found := differences(backend, compared, axis):
        seen = f"dev and test differ in distribution: {found[0]}{_more(len(found))}"
        message = f"{seen}; what is chosen on dev may not hold on test"
        warnings.warn(message, DataWarning, stacklevel=3)


def _more(found: int) -> str:
    return f" and {found - 1} more" if found > 1 else ""
