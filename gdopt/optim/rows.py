"""The rows of arrays that a step updates: found, checked, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from gdopt.arrays.arena import array_label
from gdopt.arrays.backend import Array, get_backend, is_on_device
from gdopt.arrays.foreign import as_array
from gdopt.checks import check_choice, refuse_masked, shown
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.symbol import ARRAY, COLUMN, Symbol
from gdopt.optim.hyper import Hyper
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule
from gdopt.optim.transforms import Transforms

SPARSE = 64  # of that many rows one is named: sorting takes less time than marking


@dataclass(frozen=True)
class Rows:
    """Which part of an array a step updates."""

    where: Any  # (n,) int64, the rows as given, or a tuple of slices
    shape: tuple[int, ...]  # of the gradient
    increasing: bool = True  # whether each row is higher than the one before
    repeats: bool = False  # whether a row is there more than once

    def ordered(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each row once, increasing; the order of gradients by rows, and firsts.

        These are where each row begins in that order, and the end.
        """
        count = self.where.size
        keys = self.where * count + np.arange(count)
        keys.sort()  # takes half the time of a stable argsort
        rows, order = np.divmod(keys, count)
        new = np.concatenate(([True], rows[1:] != rows[:-1], [True]))
        firsts = np.flatnonzero(new)
        return rows[firsts[:-1]], order, firsts


def find_rows(at: Any, parameters: Parameters) -> dict[str, Rows]:
    """Check which rows of which arrays are named."""
    arrays = parameters.arrays
    if not isinstance(at, Mapping):
        if len(parameters.named) > 1:
            message = "at must be a mapping where there are several arrays, as "
            message += f"at={{{next(iter(arrays))!r}: rows}}, got {shown(at)}"
            raise ArgumentTypeError(message)
        return {name: _find(at, array, name, "") for name, array in arrays.items()}
    for name in at:
        check_choice("at", name, arrays)
    named = {name: array for name, array in arrays.items() if name in at}
    return {n: _find(at[n], array, n, f"at[{n!r}]: ") for n, array in named.items()}


def _find(given: Any, array: Array, name: str, prefix: str) -> Rows:
    if not array.ndim:
        message = f"{prefix}at needs an array of rows, but {array_label(name)} is 0-d"
        raise ArgumentError(message)
    refuse_masked(f"{prefix}at", given)
    parts = given if isinstance(given, tuple) else (given,)
    if any(isinstance(part, slice) for part in parts):
        return _find_slices(parts, array, prefix)
    try:
        on_device = is_on_device(given)
        rows = get_backend("cupy").to_host(as_array(given)) if on_device else given
        rows = np.asarray(rows)
    except ValueError:  # lists of different lengths
        rows = np.asarray(given, object)
    if rows.dtype == bool:
        message = f"{prefix}rows must be integers, got bool: write np.flatnonzero(mask)"
        raise ArgumentTypeError(message)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        got = f"{rows.ndim}-D {rows.dtype}"
        message = f"{prefix}rows must be a 1-D array of integers, got {got}"
        raise ArgumentTypeError(message)
    if rows.size and rows.astype(np.uint64).max() >= len(array):  # as negative ones are
        wrong = rows[(rows < 0) | (rows >= len(array))][0]
        raise ArgumentError(f"{prefix}rows must be in [0, {len(array)}), got {wrong}")
    rows = rows.astype(np.int64, copy=False)
    increasing, repeats = bool((rows[1:] > rows[:-1]).all()), False
    if not increasing and len(array) < SPARSE * rows.size:
        seen = np.zeros(len(array), bool)
        seen[rows] = True
        repeats = int(np.count_nonzero(seen)) < rows.size
    elif not increasing:
        ordered = np.sort(rows)
        repeats = bool((ordered[1:] == ordered[:-1]).any())
    return Rows(rows, (rows.size, *array.shape[1:]), increasing, repeats)


def _find_slices(parts: tuple[Any, ...], array: Array, prefix: str) -> Rows:
    try:
        shape = array[parts].shape
    except (IndexError, TypeError, ValueError) as error:
        message = f"{prefix}slices must fit the shape {array.shape}: {error}"
        raise ArgumentError(message) from error
    if not all(isinstance(part, slice) for part in parts):
        message = f"{prefix}at must hold rows or slices alone, got {shown(parts)}"
        raise ArgumentTypeError(message)
    if any((part.step or 1) < 0 for part in parts):
        raise ArgumentError(f"{prefix}slices must step forwards, got {shown(parts)}")
    return Rows(parts, shape)


def refuse_whole(
    rows: Mapping[str, Rows],
    rule: Rule,
    transforms: Transforms,
    hyper: Hyper,
    parameters: Parameters,
) -> None:
    """Refuse rows of an array where the rule, or an option, takes the whole of it."""
    for name, own in rows.items():
        shape = parameters.arrays[name].shape
        whole = _option_of_whole(transforms, hyper, len(shape))
        inner = rule.inner or rule
        if not whole and inner.kernel.by_shape:
            symbols = inner.kernel.program((), len(shape))
            taken = _takes_whole((*symbols.inputs, *symbols.results))
            cut = isinstance(own.where, tuple) and own.shape[1:] != shape[1:]
            whole = inner.name if taken or cut else ""
        if whole:
            refuse_part(whole, name)


def refuse_part(whole: str, name: str) -> NoReturn:
    """Refuse rows of an array of which something takes the whole."""
    label = array_label(name)
    message = f"at= updates rows alone, but {whole} needs the whole of {label}"
    raise ArgumentError(message)


def _option_of_whole(transforms: Transforms, hyper: Hyper, axes: int) -> str:
    """Name the option, if there is one, that takes the whole of an array."""
    if transforms.accumulate > 1:
        return f"accumulate={transforms.accumulate}"
    if "lookahead" in transforms.options:
        step_size = shown(hyper.settings["slow_step_size"])
        return f"lookahead=({transforms.sync_period}, {step_size})"
    if transforms.swa_start is not None:
        return f"swa_start={transforms.swa_start}"
    if "agc" in transforms.options and (transforms.unit_axis or axes < 2):
        return f"agc={shown(hyper.settings['agc'])}"
    return ""


def _takes_whole(symbols: Sequence[Symbol]) -> bool:
    """Return whether values depend on other rows than their own."""
    left, seen = list(symbols), set[Symbol]()
    while left:
        node = left.pop()
        leaf = node.operation is None or node.operation not in OPERATIONS
        if leaf and node.kind in {ARRAY, COLUMN} and node.name != "columns_":
            return True
        left += [argument for argument in node.arguments if argument not in seen]
        seen.update(node.arguments)
    return False
