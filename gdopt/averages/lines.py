"""A whole series as rows in time, and its averages in the form it came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, common_backend
from gdopt.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class Lines:
    """A series whose first axis is time, and a new array like it for results."""

    backend: Backend
    rows: Array
    results: Array
    finished: Callable[[], Any]  # the results in the axes and the form of the series

    @classmethod
    def of(cls, series: Any, axis: int) -> Self:
        """Take an array, a list or tuple, or a pandas Series or DataFrame.

        pandas is not imported: its objects are those with an index and `to_numpy`.
        """
        labelled = hasattr(series, "to_numpy") and hasattr(series, "index")
        x = series.to_numpy() if labelled else series
        if isinstance(series, list | tuple):
            try:
                x = np.asarray(series)
            except ValueError as error:
                message = f"series must be a list of numbers: {error}"
                raise ArgumentTypeError(message) from error
        backend = common_backend([("series", x)])
        if x.dtype.kind in "iu":
            x = x.astype(np.float64)
        refuse_unusable_dtype("series", x.dtype)
        if isinstance(axis, bool) or not -x.ndim <= axis < x.ndim:
            message = f"axis must be an axis of a {x.ndim}-d series, got {axis!r}"
            raise ArgumentError(message)
        with backend.on(backend.device(x)):
            out = backend.xp.empty(x.shape, x.dtype)
        rows, results = (backend.xp.moveaxis(a, axis, 0) for a in (x, out))

        def finished() -> Any:
            if not labelled:
                return out
            labels = ("index", "name") if x.ndim == 1 else ("index", "columns")
            return type(series)(out, **{name: getattr(series, name) for name in labels})

        return cls(backend, rows, results, finished)
