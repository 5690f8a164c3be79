"""Kernel(rule): picks the engine for its arrays and keeps what was built."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from gdopt.arrays.backend import Backend, byte_bounds, common_backend, is_on_device
from gdopt.arrays.dtypes import as_dtype, compute_dtype, is_float
from gdopt.checks import as_number, as_scalar, check_mapping, has_axes, listed
from gdopt.copies import pickled
from gdopt.errors import (
    ArgumentError,
    ArgumentTypeError,
    MissingExtraError,
    RuleError,
)
from gdopt.imports import install
from gdopt.interrupt import Uninterrupted
from gdopt.kernels.packing import (
    Rounding,
    Scratch,
    flat_view,
    run_packed,
    run_whole,
)
from gdopt.kernels.passes import ReducingProgram, plan_passes
from gdopt.kernels.symbol import ELEMENT, reduced_shape
from gdopt.kernels.trace import (
    BaseProgram,
    Formula,
    Program,
    Signature,
    compile_host,
    trace,
)

CPU_ENGINES = ("numpy", "numba")
ENGINES = {  # for programs without and with reductions
    "numpy": (("cpu.blocks", "Blocks"), ("cpu.block_passes", "BlockPasses")),
    "numba": (("cpu.loops", "Loop"), ("cpu.loop_passes", "LoopPasses")),
    "cuda": (("cuda.engine", "Cuda"), ("cuda.passes", "CudaPasses")),
}


@functools.cache
def numba_installed() -> bool:
    """Return whether Numba can be imported, without importing it."""
    return importlib.util.find_spec("numba") is not None


def cpu_engine() -> str:
    """Name the engine of NumPy arrays: ``GDOPT_CPU_ENGINE``, or Numba if installed."""
    name = os.environ.get("GDOPT_CPU_ENGINE")
    if name is None:
        return "numba" if numba_installed() else "numpy"
    if name not in CPU_ENGINES:
        raise ArgumentError(f"GDOPT_CPU_ENGINE must be numpy or numba, got {name!r}")
    if name == "numba" and not numba_installed():
        message = f"GDOPT_CPU_ENGINE=numba needs Numba: {install('numba')}"
        raise MissingExtraError(message, name="numba")
    return name


class Step:
    """A kernel bound to kinds of arguments and an engine: runs without checks."""

    def __init__(self, program: BaseProgram, engine: Any, *, on_cpu: bool) -> None:
        self.program = program
        self.engine = engine
        self.on_cpu = on_cpu
        self._host = compile_host(program)

    def values(self, scalars: Mapping[str, Any]) -> Any:
        """Compute the hoisted values from the scalars, once a step.

        A 0-d array on a GPU is not waited for: the device computes the values then.
        """
        ordered = [scalars[name] for name in self.program.scalars]
        if not self.on_cpu and any(map(is_on_device, ordered)):
            return self.engine.fill({n: scalars[n] for n in self.program.scalars})
        return self.engine.cast(self._host(*ordered))

    def bind(
        self,
        before: Sequence[Any],
        after: Sequence[Any],
        copy: Any = None,
        scratch: Scratch | None = None,
    ) -> Callable[..., None]:
        """Fix all inputs but one; return a function of that one, values and rounding.

        On the CPU, contiguous arrays are made flat views here, once. The first array
        may have a copy in half precision.
        """
        views: list[Any] = [*before, *after]
        if isinstance(self.program, ReducingProgram) or copy is not None:
            views = [None]
        elif self.on_cpu:
            dtype = self.engine.dtype
            views = [flat_view(array, dtype) for array in views]
        if not self.on_cpu or any(view is None for view in views):
            return lambda one, values, rounding=None: self.run(
                [*before, one, *after], values, rounding, copy, scratch
            )
        first, last, run = views[: len(before)], views[len(before) :], self.engine.run

        def call(one: Any, values: Any, rounding: Rounding | None = None) -> None:
            view = flat_view(one, dtype)
            if view is None:
                self.run([*before, one, *after], values, rounding, None, scratch)
            else:
                run([*first, view, *last], values)

        return call

    def run(
        self,
        arrays: Sequence[Any],
        values: Any,
        rounding: Rounding | None = None,
        copy: Any = None,
        scratch: Scratch | None = None,
    ) -> None:
        """Update arrays of one shape in place; the inputs in the program's order."""
        if not self.on_cpu:
            self.engine.run(arrays, values)
            return
        how = {"copy": copy, "scratch": scratch}
        if isinstance(self.program, ReducingProgram):
            run_whole(self.engine, self.program, arrays, values, rounding, **how)
        else:
            written = len(self.program.results)
            run_packed(self.engine, arrays, values, written, rounding, **how)

    def reserve(
        self, arrays: Sequence[Any], scratch: Scratch, copy: Any = None
    ) -> None:
        """Take the scratch that `run` takes for such arrays on the CPU."""
        engine, inputs = self.engine, self.program.inputs
        whole = isinstance(self.program, ReducingProgram)
        dtypes = [engine.dtype if s.element else np.dtype(np.float64) for s in inputs]
        flat = list(map(flat_view, arrays, dtypes))
        packs = copy is not None or any(view is None for view in flat)
        for k, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True)):
            if flat[k] is None if whole else packs:
                size = array.size if whole else min(engine.size, array.size)
                scratch.take(k, size, dtype)
        if hasattr(engine, "reserve"):
            engine.reserve(arrays[0].shape)


class Kernel:
    """A formula that updates arrays in place, in one pass, on any engine.

    Positional parameters of the function are arrays, and those it returns come first;
    keyword-only parameters are scalars, or arrays of the same shape. Calling it takes
    arrays of one shape, float dtype and device, whatever their strides: also blocks of
    larger ones. Complex64 arrays are taken with those of float32, complex128 with
    float64; an array whose result is complex must be complex. The scalars that have a
    default need not be given. Printing it shows the formula, its costs, and the text
    that each engine compiles.

    Args:
        function: the formula.
        per: names of the arrays that hold one float64 value for each ``"row"``,
            ``"column"`` or ``"array"``, and not for each element: of the shape that
            NumPy's reductions with ``keepdims=True`` give, or ``()`` for an array.

    >>> import numpy as np
    >>> def axpy(y, x, *, a):
    ...     return y + a * x
    >>> y, x = np.zeros(3), np.arange(3.0)
    >>> Kernel(axpy)(y, x, a=2.0)
    >>> y
    array([0., 2., 4.])
    >>> y = np.zeros((2, 4))
    >>> Kernel(axpy)(y[:, 1:3], np.ones((2, 2)), a=2.0)
    >>> y
    array([[0., 2., 2., 0.],
           [0., 2., 2., 0.]])
    >>> z = np.array([3 + 4j, 1j])
    >>> Kernel(lambda z, *, phase: phase * np.conj(z) / np.abs(z))(z, phase=1j)
    >>> z
    array([0.8+0.6j, 1. +0.j ])
    """

    def __init__(
        self, function: Callable[..., Any], per: Mapping[str, str] | None = None
    ) -> None:
        self.function = function
        self.per = dict(check_mapping("per", {} if per is None else per))
        self.signature = Signature.of(function)
        self._by_shape = True  # until it is traced
        self._formulas: dict[Any, Formula] = {}
        self._programs: dict[Any, BaseProgram] = {}
        self._steps: dict[Any, Step] = {}
        self._on_parts: dict[frozenset[str], Kernel] = {}

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        return pickled(self, self.function, self.per)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", "rule")
        return f"Kernel({name}{self.signature})"

    def __str__(self) -> str:
        from gdopt.kernels.describe import describe  # noqa: PLC0415 - has all printers

        return f"{self!r}\n\n{describe(self.function, self.program())}"

    @functools.cached_property
    def by_shape(self) -> bool:
        """Whether the formula reduces, or depends on an array's shape."""
        return self._traced(frozenset(), None).by_shape

    def _traced(self, elements: frozenset[str], axes: int | None) -> Formula:
        """Trace the function for arrays of some axes, or of any that it takes."""
        if axes is None:
            errors = []
            for axes in (2, 1, 3, 4):  # noqa: PLR1704
                try:
                    return self._traced(elements, axes)
                except RuleError as error:
                    errors.append(error)
            raise errors[0]
        key = elements, axes if self._by_shape else 0
        if key not in self._formulas:
            formula = trace(
                self.function, self.signature, elements, kinds=self.per, axes=axes
            )
            self._by_shape = formula.by_shape
            self._formulas[elements, axes if formula.by_shape else 0] = formula
            return formula
        return self._formulas[key]

    def program(
        self,
        elements: Collection[str] = (),
        axes: int | None = None,
        *,
        early: bool = True,
    ) -> BaseProgram:
        """Trace the function.

        `elements` are names of scalars that are given as arrays. `axes` matter where
        the function asks for them, or reduces; see `plan_passes` for `early`.
        """
        formula = self._traced(frozenset(elements), axes)
        key = formula, early
        if key not in self._programs:
            self._programs[key] = (
                plan_passes(formula, early=early)
                if formula.by_shape
                else formula.element_wise()
            )
        return self._programs[key]

    def element_program(self, elements: Collection[str] = ()) -> Program:
        """Trace a function that works element by element, as one pass."""
        program = self.program(elements)
        assert isinstance(program, Program)  # noqa: S101 - `by_shape` tells
        return program

    def step(
        self,
        backend: Backend,
        dtypes: Sequence[Any],
        elements: Collection[str] = (),
        axes: int | None = None,
    ) -> Step:
        """Build, or find, what runs on arrays of those dtypes on that backend."""
        on_cpu = backend.name == "numpy"
        engine = cpu_engine() if on_cpu else "cuda"
        stored = tuple(map(as_dtype, dtypes))
        program = self.program(elements, axes)
        of_elements = [
            compute_dtype(dtype)
            for symbol, dtype in zip(program.inputs, stored, strict=True)
            if symbol.element
        ]
        compute = max(of_elements, key=lambda dtype: dtype.itemsize)
        if not on_cpu and any(
            dtype != compute
            for symbol, dtype in zip(program.inputs, stored, strict=True)
            if symbol.element
        ):  # the CPU's engines store what they write early in full
            program = self.program(elements, axes, early=False)
        key = (engine, compute if on_cpu else (compute, stored), program)
        if key not in self._steps:
            built = build_engine(program, engine, stored, compute)
            self._steps[key] = Step(program, built, on_cpu=on_cpu)
        return self._steps[key]

    def __call__(self, *arrays: Any, **scalars: Any) -> None:
        """Update the first arrays in place.

        Raises:
            ArgumentError: a number of arrays, names or shapes do not fit.
            ArgumentTypeError: dtypes differ, or an array is read-only.
            BackendError: the arrays are on several devices.
        """
        names = self.signature.arrays
        if len(arrays) != len(names):
            wanted = f"{len(names)} ({listed(names)})"
            message = f"arrays must be {wanted}, got {len(arrays)}"
            if places := [k for k, name in enumerate(names) if name in scalars]:
                line = self.signature.starred(places[0])
                message += f"; put scalars after a *: {line}"
            raise ArgumentError(message)
        scalars = {
            name: value if is_on_device(value) else as_scalar(value)
            for name, value in {**self.signature.defaults, **scalars}.items()
        }
        if set(scalars) != set(self.signature.scalars):
            wanted, got = listed(self.signature.scalars), listed(scalars)
            message = f"scalars must be {wanted or 'none'}, got {got or 'none'}"
            raise ArgumentError(message)
        elements = [n for n, v in scalars.items() if has_axes(v)]
        for name in scalars.keys() - elements:
            if not (isinstance(scalars[name], complex) or is_on_device(scalars[name])):
                as_number(name, scalars[name])
        named = dict(zip(names, arrays, strict=True))
        named |= {name: scalars[name] for name in elements}
        backend = common_backend(named.items())
        every = {**named, **scalars}
        if pairs := [name for name, value in every.items() if _is_complex(value)]:
            self._run_on_parts(every, pairs)
            return
        first = named[names[0]]
        program = self.program(elements, first.ndim)
        kinds = {symbol.name: symbol.kind for symbol in program.inputs}
        _check_alike(named, kinds)
        for place, name in enumerate(names):
            if program.writes(place) and not backend.writeable(named[name]):
                message = f"{name} must be writeable, got a read-only array"
                raise ArgumentTypeError(message)
        ordered = [named[symbol.name] for symbol in program.inputs]
        _check_apart(named, program, backend)
        dtypes = [array.dtype for array in ordered]
        step = self.step(backend, dtypes, elements, first.ndim)
        values = step.values(scalars)
        with Uninterrupted():
            step.run(ordered, values)

    def _run_on_parts(self, given: dict[str, Any], names: Sequence[str]) -> None:
        """Update arrays of which some, or some scalars, are complex."""
        from gdopt.kernels.complex import on_parts  # noqa: PLC0415 - as few need it

        imag, key = {name: f"imag_of_{name}" for name in names}, frozenset(names)
        if key not in self._on_parts:
            formula = on_parts(self.function, self.signature, imag, _refuse_real)
            per = self.per | {imag[n]: self.per[n] for n in key & self.per.keys()}
            self._on_parts[key] = Kernel(formula, per)
        kernel = self._on_parts[key]
        given |= {imag[name]: given[name].imag for name in names}
        given |= {name: given[name].real for name in names}
        scalars = {name: given[name] for name in kernel.signature.scalars}
        kernel(*(given[name] for name in kernel.signature.arrays), **scalars)


def _refuse_real(name: str) -> NoReturn:
    """Refuse an array that a formula makes complex."""
    raise ArgumentTypeError(f"{name} must be a complex array, as its result is complex")


def _check_alike(named: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    first, array = next(iter(named.items()))
    for name, other in named.items():
        shape, dtype = reduced_shape(kinds[name], array.shape), array.dtype
        if other.shape != shape:
            rule = f"the shape of {first}, {array.shape}"
            if shape != array.shape:
                rule = f"shape {shape}, one value for each {kinds[name]} of {first}"
            raise ArgumentError(f"{name} must have {rule}, got {other.shape}")
        if kinds[name] != ELEMENT and other.dtype != np.float64:
            what = f"{name}, one value for each {kinds[name]}, must be float64"
            raise ArgumentTypeError(f"{what}, got {other.dtype}")
        if kinds[name] == ELEMENT and (other.dtype != dtype or not is_float(dtype)):
            message = f"{name} must be of the float dtype of {first}, {dtype}, got "
            raise ArgumentTypeError(message + str(other.dtype))


def _is_complex(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind == "c" or isinstance(value, complex)


def _check_apart(
    named: Mapping[str, Any], program: BaseProgram, backend: Backend
) -> None:
    """Refuse arrays that share memory with one that is written before they are read."""
    by_element = not isinstance(program, ReducingProgram)
    if by_element:  # a cheap look first: most arrays have memory of their own
        owners = list(map(backend.owner, named.values()))
        if len({id(owner) for owner in owners if owner is not None}) == len(owners):
            return
    written = [s.name for k, s in enumerate(program.inputs) if program.writes(k)]
    bounds = {name: byte_bounds(backend, array) for name, array in named.items()}
    for name, other in itertools.product(written, named):
        (low, high), (other_low, other_high) = bounds[name], bounds[other]
        near = name != other and low < other_high and other_low < high
        if near and by_element and other not in written:  # x may be its own result
            strides = named[name].strides == named[other].strides
            near = not (strides and bounds[name] == bounds[other])
        if near and backend.xp.shares_memory(named[name], named[other]):
            why = "a formula that reduces reads arrays again after it has written some"
            why = "other elements of it would be written" if by_element else why
            raise ArgumentError(f"{name} must not share memory with {other}: {why}")


def build_engine(
    program: BaseProgram, engine: str, stored: Sequence[Any], compute: np.dtype[Any]
) -> Any:
    """Print and compile a program; each engine is imported when first used."""
    module, name = ENGINES[engine][isinstance(program, ReducingProgram)]
    made = getattr(importlib.import_module(f"gdopt.kernels.{module}"), name)
    dtypes = (stored, compute) if engine == "cuda" else (compute,)
    return made(program, *dtypes)
