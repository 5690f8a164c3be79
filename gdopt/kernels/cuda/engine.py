"""Builds and launches CUDA kernels: one of the two modules that import cupy."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from gdopt.arrays.backend import get_backend
from gdopt.arrays.cupy_ import raise_if_cuda_error
from gdopt.arrays.dtypes import Storage
from gdopt.errors import BackendError
from gdopt.kernels.cuda.fused import ACCESS, KernelVariant, print_fused, print_kernel
from gdopt.kernels.cuda.prologue import PrologueOptions, print_prologue, split_hoisted
from gdopt.kernels.cuda.text import KernelText
from gdopt.kernels.packing import cast
from gdopt.kernels.trace import BaseProgram, Program, compile_host

HALF = 2  # bytes: of float16 and bfloat16 alone
WORTH_PACKS = 1 << 16  # elements: for fewer, looking at the addresses costs more


@functools.cache
def build(text: KernelText) -> Any:
    """Make a kernel of a text, once."""
    import cupy  # noqa: PLC0415 - optional, and takes half a second

    return text.build(cupy)


def as_bits(array: Any) -> Any:
    """View half precisions as the whole numbers that kernels take them for."""
    return array if array.dtype.itemsize != HALF else array.view(np.uint16)


class _Compiled(Exception):  # noqa: N818 - it reports no error
    """A kernel is compiled, and about to be launched."""


class _CompileOnly:
    """In place of a stream, which CuPy asks for once it has compiled a kernel."""

    @property
    def ptr(self) -> int:
        raise _Compiled


class Launch:
    """A kernel and those of its arguments that stay the same from launch to launch."""

    def __init__(self, text: KernelText, size: int, fixed: dict[str, Any]) -> None:
        self.text = text
        self.size = size
        self._kernel = build(text)
        names = text.arguments
        self._arguments = [fixed.get(name) for name in names]
        self._open = {name: k for k, name in enumerate(names) if name not in fixed}
        self._compiled = size == 0

    def compile(self, changing: Mapping[str, Any]) -> None:
        """Compile for such arguments, unless that is done, and launch nothing."""
        if not self._compiled:
            with suppress(_Compiled):
                self(changing, stream=_CompileOnly())
            self._compiled = True

    def __call__(self, changing: Mapping[str, Any], **options: Any) -> None:
        """Launch with the arguments that change; unused names are ignored."""
        arguments = list(self._arguments)
        for name, place in self._open.items():
            arguments[place] = changing[name]
        if self.size:
            launch(self._kernel, self.text, arguments, size=self.size, **options)


Call = tuple[Launch, Mapping[str, Any]]  # with the arguments that change


def launch_all(calls: Sequence[Call]) -> None:
    """Launch kernels one after the other, once all of them are compiled."""
    for one, changing in calls:
        one.compile(changing)
    for one, changing in calls:
        one(changing)


def launch(
    kernel: Any, text: KernelText, arguments: Sequence[Any], **options: Any
) -> None:
    """Launch a kernel; see `Launch`."""
    import cupy  # noqa: PLC0415 - optional, and takes half a second

    try:
        kernel(*arguments, block_size=text.block, **options)
    except cupy.cuda.compiler.CompileException as error:
        message = f"the CUDA compiler refused {text.name}: {error}\n{text.body}"
        raise BackendError(message) from error
    except Exception as error:
        raise_if_cuda_error(error, f"at {text.name} or at a kernel before it")
        raise


def strided_slot(start: int, arrays: Sequence[Any], axes: int) -> list[int]:
    """Return the row of an array in slots_, with strides: its own, its companions'."""
    shape = arrays[0].shape
    numbers = [start, arrays[0].size, *[1] * (axes - len(shape)), *shape]
    for array in arrays:
        steps = [step // array.dtype.itemsize for step in array.strides]
        numbers += [0] * (axes - len(steps)) + steps
    return numbers


class Cuda:
    """A program compiled for the GPU; runs on arrays of any strides."""

    def __init__(self, program: Program, dtypes: Sequence[Any], compute: Any) -> None:
        self._home = get_backend("cupy")
        self._cupy = self._home.xp
        self.dtype = np.dtype(compute)
        self._program = program
        self._read = [k for k in range(len(program.inputs)) if not program.writes(k)]
        self._written = [k for k in range(len(program.inputs)) if program.writes(k)]
        stored = tuple(Storage(np.dtype(dtype).name) for dtype in dtypes)
        self._variant = KernelVariant(stored, self.dtype.name)
        self._width = self._variant.width

    def cast(self, scalars: Sequence[float]) -> list[Any]:
        """Round the hoisted values once to the dtype of the arithmetic."""
        return list(cast(scalars, self.dtype))

    def run(self, arrays: Sequence[Any], values: Any) -> None:
        """Update the arrays in place with values by `cast` or a table from `fill`."""
        is_table = isinstance(values, self._cupy.ndarray)
        scalars = [values] if is_table else values
        packs = not is_table and self._fills_packs(arrays)
        text = self._text(table=is_table, packs=packs)
        options = {"size": arrays[0].size // self._width} if packs else {}
        if packs:
            arrays = [as_bits(array.reshape(-1)) for array in arrays]
        read = [arrays[k] for k in self._read]
        written = [arrays[k] for k in self._written]
        with self._home.on(self._home.device(arrays[0])):
            launch(build(text), text, [*read, *scalars, *written], **options)

    def _fills_packs(self, arrays: Sequence[Any]) -> bool:
        """Return whether threads may update packs of 16 bytes, all of them full."""
        count = arrays[0].size
        return (
            count >= WORTH_PACKS
            and count % self._width == 0
            and all(a.data.ptr % ACCESS == 0 and a.flags.c_contiguous for a in arrays)
        )

    @functools.cache  # noqa: B019 - engines are few, and live as long as the process
    def _text(self, *, table: bool, packs: bool) -> KernelText:
        if packs:
            return print_fused(self._program, self._variant)
        return print_kernel(self._program, replace(self._variant, table=table))

    def fill(self, scalars: dict[str, Any]) -> Any:
        """Compute the hoisted values on the device; see `fill_table`."""
        return fill_table(self._program, scalars, self.dtype)


def fill_table(program: BaseProgram, scalars: dict[str, Any], dtype: Any) -> Any:
    """Compute the hoisted values on the device, where some scalars live."""
    home = get_backend("cupy")
    on_device = [n for n, v in scalars.items() if home.is_array(v)]
    split = split_hoisted(program, on_device)
    options = PrologueOptions(by_value=True)
    text = print_prologue(program, split, np.dtype(dtype).name, options)
    host = compile_host(program, split.known)
    names = program.scalars  # what the host computes needs none on the device
    known = host(*(0.0 if n in on_device else scalars[n] for n in names))
    with home.on(home.device(scalars[on_device[0]])):
        given = home.xp.empty(max(1, len(split.given)), np.float64)
        for k, name in enumerate(split.given):
            given[k] = scalars[name]
        table = home.xp.empty(max(1, len(program.hoisted)), dtype)
        arguments = {"given_": given, "count_": np.int32(1), "scalars_": table}
        arguments |= {f"k{k}_": value for k, value in enumerate(known)}
        Launch(text, 1, arguments)({})
    return table
