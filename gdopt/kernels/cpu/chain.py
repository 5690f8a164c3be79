"""A step by NumPy that is one call: no handler of a signal runs within it."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat, starmap
from operator import call, setitem
from types import FunctionType
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.kernels.cpu.flush import FlushedCalls
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.packing import flat_view

Call = tuple[Any, ...]  # a function, and what it takes
OPEN = object()  # in place of a gradient
_QUIET = contextvars.Context()  # of ufuncs that neither warn nor raise
_QUIET.run(partial(np.seterr, all="ignore"))


class Chain:
    """Calls of C functions, bound to all arrays but the gradients.

    `run` takes what `fill` returns, in one call; one thread at a time may do that.
    """

    def __init__(
        self,
        block: FunctionType,
        fixed: Sequence[Any],  # what it takes after its arrays: values, scratch
        take: Callable[[Sequence[float]], None],  # takes hoisted values
        size: int,  # of a block
        dtype: Any,
    ) -> None:
        self._fixed, self._take, self._size, self._dtype = fixed, take, size, dtype
        scope = {f"_{n}": partial(self._note, o.numpy) for n, o in OPERATIONS.items()}
        self._block = FunctionType(block.__code__, scope)
        self._calls: list[Call] = []
        self._open: list[tuple[int, int, slice]] = []  # calls that take a gradient
        self._copies: list[tuple[int, Sequence[Any], Any]] = []
        self._flushed = FlushedCalls() if dtype == np.float32 else None
        self._do: Callable[[Iterable[Any]], None] = deque[Any](maxlen=0).extend
        self.run: Any = partial(_QUIET.copy().run, self._do)  # type: ignore[call-arg]

    def copy(self, targets: Sequence[Any], sources: Sequence[Any] | slice) -> None:
        """Add copies between arrays, or of a slice of all gradients."""
        self._copies.append((len(self._calls), targets, sources))
        self._calls.append(())

    def update(self, inputs: Sequence[Any], gradient: int) -> bool:
        """Add a run of the program; OPEN is the gradient of that number.

        Returns whether all are flat, of the dtype of the arithmetic.
        """
        # A subclass of arrays, as memmap, would run Python within a ufunc.
        dtype, most = self._dtype, self._size
        views = [one if one is OPEN else np.asarray(one) for one in inputs]
        inputs = [one if one is OPEN else flat_view(one, dtype) for one in views]
        if any(one is None for one in inputs):
            return False
        size = inputs[0].size
        for start in range(0, size, most):
            part, first = slice(start, min(size, start + most)), len(self._calls)
            arrays = [one if one is OPEN else one[part] for one in inputs]
            length = part.stop - start
            self._block(*arrays, *(a[:length] if a.ndim else a for a in self._fixed))
            for k, own in enumerate(self._calls[first:], first):
                if any(operand is OPEN for operand in own):
                    self._open.append((k, gradient, part))
        return True

    def _note(self, *given: Any) -> None:
        self._calls.append(given)

    def fill(
        self, gradients: Sequence[Array], values: Sequence[float], *last: Call
    ) -> Iterator[Any] | None:
        """Return all calls, then some more; None where a gradient has to be copied."""
        self._take(values)
        calls = self._calls.copy()
        for k, targets, given in self._copies:
            sources = gradients[given] if isinstance(given, slice) else given
            calls[k] = self._do, map(setitem, targets, repeat(...), sources)
        for k, place, part in self._open:
            view = flat_view(np.asarray(gradients[place]), self._dtype)
            if view is None:
                return None
            own = view[part]
            calls[k] = tuple([own if a is OPEN else a for a in calls[k]])
        if self._flushed is not None:
            calls = self._flushed.around(calls)
        return starmap(call, [*calls, *last])

    def restore(self) -> None:
        """Restore what `run` has not, as a call has raised an error."""
        if self._flushed is not None:
            self._flushed.restore()
