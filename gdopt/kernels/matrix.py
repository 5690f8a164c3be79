"""Formulas over a matrix of examples, which are its rows, in one pass on any engine.

Nothing is checked: callers have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, backend_of
from gdopt.arrays.dtypes import compute_dtype
from gdopt.kernels.cpu.flush import flushing
from gdopt.kernels.kernel import Kernel, build_engine, cpu_engine
from gdopt.kernels.ops import lane_sums
from gdopt.kernels.packing import run_packed
from gdopt.kernels.trace import Program, compile_host

# NumPy computes several at once, a loop of Numba one after the other.
LIBRARY_CALLS = {"exp", "log", "log1p", "tanh", "power"}
COMPILED_COLUMNS = 64  # up to which a loop is faster nevertheless, as for a loss


class MatrixKernel:
    """A formula that updates a matrix in place; its vectors are (n,), not (m, n)."""

    def __init__(
        self, function: Callable[..., Any], vectors: Sequence[str] = ()
    ) -> None:
        self._kernel, self._vectors = Kernel(function), vectors
        self._engines: dict[Any, tuple[Any, Any]] = {}
        self._launches: dict[Any, Callable[..., None]] = {}

    @functools.cached_property
    def _program(self) -> Program:
        return self._kernel.element_program()

    def __call__(self, *arrays: Array, total: Array | None = None) -> None:
        """Update the first array in place, and write its sums over rows to a total."""
        first = arrays[0]
        if not isinstance(first, np.ndarray):
            key = first.shape, first.dtype, total is None
            if key not in self._launches:
                from gdopt.kernels.cuda.matrix import matrix_launch  # noqa: PLC0415

                self._launches[key] = matrix_launch(
                    self._program, first, self._vectors, summed=total is not None
                )
            self._launches[key](*arrays, total)
        elif self._vectors or total is not None:
            self.bind(*arrays, total=total)(0, first.shape[1])
        elif self._program.instructions:
            engine, values = self._engine(first.dtype, summed=None)
            run_packed(engine, arrays, values, 1)

    def bind(
        self, *arrays: Array, total: Array | None = None
    ) -> Callable[[int, int], None]:
        """Return what updates, and sums, columns from one up to another, on the CPU."""
        first = arrays[0]
        if not isinstance(first, np.ndarray):
            return lambda *_: self(*arrays, total=total)
        engine, values = self._engine(first.dtype, summed=total is not None)
        run = engine.run_rows
        return lambda low, high: run(arrays, values, total, low, high)

    def _engine(self, dtype: Any, *, summed: bool | None) -> tuple[Any, Any]:
        """Return an engine of the CPU and its hoisted values; None: for flat arrays."""
        key = cpu_engine(), dtype, summed
        if key not in self._engines:
            program, compute = self._program, compute_dtype(dtype)
            calls = any(n.operation in LIBRARY_CALLS for n in program.instructions)
            name = "numpy" if calls else key[0]
            if summed is None or name == "numpy":
                engine = build_engine(program, name, (), compute)
            else:
                from gdopt.kernels.cpu.loops import Loop  # noqa: PLC0415
                from gdopt.kernels.cpu.rows import print_matrix  # noqa: PLC0415

                how: dict[str, Any] = {"vectors": self._vectors, "summed": summed}
                printer = functools.partial(print_matrix, **how)
                engine = Loop(program, compute, printer)
            self._engines[key] = engine, engine.cast(compile_host(program)())
        return self._engines[key]


def _same(x: Any) -> Any:
    return x


column_sums = MatrixKernel(_same)


class RowKernel:
    """A loss: the mean of a formula that works on each row of a matrix.

    The function, of ``outputs, label, column``, returns the gradient (m, n) and the
    loss (m, 1) of each row; `column` numbers the columns from 0.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        def mean(
            gradient: Any,  # noqa: ARG001
            loss: Any,  # noqa: ARG001
            outputs: Any,
            label: Any,
            column: Any,
            *,
            examples: Any,
        ) -> Any:
            slope, row_loss = function(outputs, label, column)
            return slope / examples, row_loss / examples

        mean.__name__ = function.__name__
        self._function, self._kernel = mean, Kernel(mean)
        self._launches: dict[Any, Callable[..., None]] = {}
        self._loops: dict[Any, tuple[Any, Any]] = {}

    def __call__(
        self, outputs: Array, label: Array, weights: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the sum of the rows' losses, 0-d, and the gradient, a new array.

        Weights (m,) multiply each row's loss and gradient.
        """
        losses, loss, gradient = self._rows(outputs, label)
        if weights is not None:
            weights = weights.reshape(-1, 1)
            gradient *= weights
            losses *= weights
            total = backend_of(outputs).xp.empty(1, outputs.dtype)
            column_sums(losses, total=total)
            loss = total[0]
        return loss, gradient

    def _rows(self, outputs: Array, label: Array) -> tuple[Array, Array, Array]:
        """Return the rows' losses, (m, 1), their sum, and the gradient."""
        if isinstance(outputs, np.ndarray):
            if cpu_engine() == "numba" and outputs.shape[1] <= COMPILED_COLUMNS:
                return self._compiled(outputs, label)
            label = label.reshape(len(outputs), -1)
            column, dtype = np.arange(outputs.shape[1]), outputs.dtype
            with flushing(dtype):
                gradient, losses = self._function(
                    None, None, outputs, label, column, examples=len(outputs)
                )
                return losses, lane_sums(losses)[0], gradient
        key = outputs.shape, outputs.dtype, label.dtype, label.ndim
        if key not in self._launches:
            from gdopt.kernels.cuda.matrix import row_launch  # noqa: PLC0415

            program = self._kernel.element_program()
            self._launches[key] = row_launch(program, outputs, label)
        launch, home = self._launches[key], backend_of(outputs)
        xp = home.xp
        with home.on(home.device(outputs)):
            gradient = xp.empty(outputs.shape, outputs.dtype)
            losses = xp.empty((len(outputs), 1), outputs.dtype)
            loss = xp.empty((), outputs.dtype)
            launch(gradient, losses, outputs, label)
            column_sums(losses, total=loss)
        return losses, loss, gradient

    def _compiled(self, outputs: Array, label: Array) -> tuple[Array, Array, Array]:
        """Compute it with a loop of Numba."""
        rows, dtype = len(outputs), outputs.dtype
        loop, values = self._bound(dtype, label.ndim, rows)
        gradient = np.empty(outputs.shape, dtype)
        loss, total = np.empty(rows, dtype), np.empty(1, dtype)
        loop.run_rows((gradient, loss, outputs, label), values, total)
        return loss.reshape(-1, 1), total[0], gradient

    @functools.lru_cache(maxsize=64)  # noqa: B019 - the kernels are of the module
    def _bound(self, dtype: Any, label_axes: int, rows: int) -> tuple[Any, Any]:
        """Return a loop, and its hoisted values for a number of rows."""
        key = dtype, label_axes
        if key not in self._loops:
            from gdopt.kernels.cpu.loops import Loop  # noqa: PLC0415
            from gdopt.kernels.cpu.rows import print_rows  # noqa: PLC0415

            program = self._kernel.element_program()
            vectors = ("loss", "label") if label_axes == 1 else ("loss",)
            printer = functools.partial(print_rows, vectors=vectors)
            self._loops[key] = Loop(program, dtype, printer), compile_host(program)
        loop, host = self._loops[key]
        return loop, loop.cast(host(rows))
