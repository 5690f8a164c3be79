"""Formulas over a matrix of examples, which are its rows, in one pass on any engine.

Nothing is checked: callers have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, backend_of
from gdopt.arrays.dtypes import compute_dtype
from gdopt.kernels.cpu.flush import FlushToZero
from gdopt.kernels.kernel import Kernel, build_engine, cpu_engine
from gdopt.kernels.ops import lane_sums
from gdopt.kernels.packing import run_packed
from gdopt.kernels.trace import Program, compile_host

# NumPy computes several at once, a loop of Numba one after the other.
LIBRARY_CALLS = {"exp", "log", "log1p", "tanh", "power"}

REPEATED = 1 << 14  # elements of a vector written out for some rows: half a cache


def _flushed(dtype: Any) -> AbstractContextManager[Any]:
    return FlushToZero() if dtype == np.float32 else nullcontext()


class MatrixKernel:
    """A formula that updates a matrix in place, element by element.

    Args:
        function: of arrays by position; it returns what the first one becomes.
        vectors: names of those that are (n,), the same for every row of the matrix.
    """

    def __init__(
        self, function: Callable[..., Any], vectors: Collection[str] = ()
    ) -> None:
        self._kernel, self._vectors = Kernel(function), vectors
        self._engines: dict[Any, tuple[Any, Any]] = {}
        self._launches: dict[Any, Callable[..., None]] = {}

    @functools.cached_property
    def _program(self) -> Program:
        return self._kernel.program()

    def __call__(self, *arrays: Array, total: Array | None = None) -> None:
        """Update the first array in place.

        Args:
            arrays: of one shape and float dtype, (m, n), or any without vectors.
            total: where the sums of the first matrix over its rows go, (n,), in the
                order of `lane_sums`.
        """
        first = arrays[0]
        if isinstance(first, np.ndarray):
            self._run_on_cpu(arrays)
            if total is not None:
                with _flushed(first.dtype), np.errstate(all="ignore"):
                    lane_sums(first, total)
            return
        key = first.shape, first.dtype, total is None
        if key not in self._launches:
            self._launches[key] = self._launch(first, summed=total is not None)
        self._launches[key](*arrays, total)

    def _run_on_cpu(self, arrays: Sequence[Array]) -> None:
        program, first = self._program, arrays[0]
        if not program.instructions:
            return
        key = cpu_engine(), first.dtype
        if key not in self._engines:
            calls = any(n.operation in LIBRARY_CALLS for n in program.instructions)
            name, compute = "numpy" if calls else key[0], compute_dtype(first.dtype)
            engine = build_engine(program, name, (), compute)
            self._engines[key] = engine, engine.cast(compile_host(program)())
        engine, values = self._engines[key]
        if not self._vectors:
            run_packed(engine, arrays, values, 1)
            return
        # Some rows together, and the vectors as often: one flat pass.
        is_vector = [symbol.name in self._vectors for symbol in program.inputs]
        rows = max(1, min(len(first), REPEATED // max(1, first.shape[1])))
        repeated = [
            np.broadcast_to(array, (rows, *array.shape)).reshape(-1) if vector else None
            for array, vector in zip(arrays, is_vector, strict=True)
        ]
        for start in range(0, len(first), rows):
            count = first[start : start + rows].size
            parts = [
                array[start : start + rows].reshape(-1)
                if vector is None
                else vector[:count]
                for array, vector in zip(arrays, repeated, strict=True)
            ]
            run_packed(engine, parts, values, 1)

    def _launch(self, first: Array, *, summed: bool) -> Callable[..., None]:
        """Return what launches the kernel for matrices of a shape and dtype."""
        from gdopt.kernels.cuda.matrix import matrix_launch  # noqa: PLC0415

        return matrix_launch(self._program, first, self._vectors, summed=summed)


def _same(x: Any) -> Any:
    return x


column_sums = MatrixKernel(_same)


class RowKernel:
    """A loss: a formula that works on each row of a matrix.

    Args:
        function: of ``gradient, loss, outputs, label, column, *, examples``; returns
            the gradient (m, n) and each row's loss (m, 1). `column` numbers the
            columns from 0.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._kernel = Kernel(function)
        self._launches: dict[Any, Callable[..., None]] = {}

    def __call__(self, outputs: Array, label: Array) -> tuple[Array, Array]:
        """Return the sum of the rows' losses, 0-d, and the gradient, a new array.

        Args:
            outputs: (m, n), C-contiguous, floating.
            label: (m,), or (m, n) of the dtype of the outputs.
        """
        if isinstance(outputs, np.ndarray):
            label = label.reshape(len(outputs), -1)
            column, dtype = np.arange(outputs.shape[1]), outputs.dtype
            with np.errstate(all="ignore"), _flushed(dtype):
                gradient, losses = self._function(
                    None, None, outputs, label, column, examples=len(outputs)
                )
                return lane_sums(losses)[0], gradient
        key = outputs.shape, outputs.dtype, label.dtype, label.ndim
        if key not in self._launches:
            from gdopt.kernels.cuda.matrix import row_launch  # noqa: PLC0415

            program = self._kernel.program()
            self._launches[key] = row_launch(program, outputs, label)
        launch, xp = self._launches[key], backend_of(outputs).xp
        with outputs.device:
            gradient = xp.empty(outputs.shape, outputs.dtype)
            losses = xp.empty((len(outputs), 1), outputs.dtype)
            loss = xp.empty((), outputs.dtype)
            launch(gradient, losses, outputs, label)
            column_sums(losses, total=loss)
        return loss, gradient
