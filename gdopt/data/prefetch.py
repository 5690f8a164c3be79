"""Batches of data that a device cannot hold, copied to it while it works."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend, get_backend
from gdopt.checks import refuse_masked, shown
from gdopt.copies import running
from gdopt.errors import ArgumentTypeError

BUFFERS = 2  # one is copied while the other is computed with


def prefetch(batches: Iterable[Any], *, backend: str | None = None) -> Iterator[Any]:
    """Return batches of NumPy arrays on the device, each sent before it is needed.

    While one batch is computed with, the host copies the next into pinned memory, which
    the device reads on a stream of its own; two such buffers take turns. A batch is the
    caller's: it is not written to again.

    Args:
        batches: NumPy arrays or tuples of them, such as from `gdopt.minibatches`.
        backend: ``"cupy"``, ``"numpy"`` or ``"auto"``; by default the one in use. On
            the CPU the batches are handed on as they are.

    Yields:
        What `batches` holds, on the device.

    Raises:
        ArgumentTypeError: while iterating: something is not a NumPy array.
        BackendError: a GPU was asked for and is not there.

    >>> import gdopt
    >>> import numpy as np
    >>> X, y = np.arange(6.0).reshape(3, 2), np.arange(3)
    >>> batches = gdopt.minibatches(X, y, batch_size=2, shuffle=False)
    >>> [labels.tolist() for x, labels in prefetch(batches, backend="numpy")]
    [[0, 1], [2]]
    """
    home = get_backend(backend)
    try:
        loop = iter(batches)
    except TypeError:
        message = f"batches must be iterable, got {shown(batches)}"
        raise ArgumentTypeError(message) from None
    return loop if home.name == "numpy" else _sent(home, loop)


class _Pinned:
    """Memory of the host that the device reads on its own, for one batch at a time."""

    def __init__(self, home: Backend) -> None:
        self._home = home
        self._memory: list[np.ndarray] = []
        self._copied: Any = None

    def send(self, arrays: list[np.ndarray], stream: Any) -> tuple[list[Array], Any]:
        """Copy a batch here, ask the stream to copy it on; return it with its event."""
        cupy = self._home.xp
        if self._copied is not None:
            self._copied.synchronize()  # the device may still read the last batch
        if not self._fits(arrays):
            pin = cupy.cuda.alloc_pinned_memory
            self._memory = [
                np.ndarray(array.shape, array.dtype, pin(array.nbytes))
                for array in arrays
            ]
        # Memory that was let go is given out again: what was asked of it comes first.
        stream.wait_event(cupy.cuda.get_current_stream().record())
        sent = []
        with stream:
            for array, memory in zip(arrays, self._memory, strict=True):
                memory[: len(array)] = array
                device = cupy.empty(array.shape, array.dtype)
                device.set(memory[: len(array)], stream=stream)
                sent.append(device)
        self._copied = stream.record()
        return sent, self._copied

    def _fits(self, arrays: list[np.ndarray]) -> bool:
        return len(arrays) == len(self._memory) and all(
            array.shape[1:] == memory.shape[1:]
            and array.dtype == memory.dtype
            and len(array) <= len(memory)
            for array, memory in zip(arrays, self._memory, strict=True)
        )


@running
def _sent(home: Backend, batches: Iterable[Any]) -> Iterator[Any]:
    """Send each batch before the one before it is handed out."""
    with home.on(None):
        stream = home.xp.cuda.Stream(non_blocking=True)
    turns = itertools.cycle([_Pinned(home) for _ in range(BUFFERS)])
    before: tuple[bool, tuple[list[Array], Any]] | None = None
    try:
        for batch in batches:
            is_tuple = isinstance(batch, tuple)
            arrays = _checked(batch if is_tuple else (batch,))
            with home.on(None):
                sent = next(turns).send(arrays, stream)
            if before is not None:
                yield _arrived(home, *before)
            before = is_tuple, sent
        if before is not None:
            yield _arrived(home, *before)
    finally:
        with home.on(None):
            stream.synchronize()  # CuPy gives pinned memory out again, read or not


def _arrived(home: Backend, is_tuple: bool, sent: tuple[list[Array], Any]) -> Any:  # noqa: FBT001 - private
    """Let the current stream wait for a batch, and hand it out."""
    arrays, copied = sent
    with home.on(None):
        home.xp.cuda.get_current_stream().wait_event(copied)
    return tuple(arrays) if is_tuple else arrays[0]


def _checked(arrays: tuple[Any, ...]) -> list[np.ndarray]:
    for k, array in enumerate(arrays):
        refuse_masked(f"array {k} of a batch", array)
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            rule = f"array {k} of a batch must be a NumPy array of examples"
            raise ArgumentTypeError(f"{rule}, got {type(array).__name__}")
    return list(arrays)
