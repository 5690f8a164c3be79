"""What printed Numba loops call: the flush-to-zero mode of a thread, and bfloat16."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gdopt.kernels.cpu.flush import FLUSH

WORD = ir.IntType(32)


def _call(builder: Any, instruction: str, pointer: Any) -> None:
    """Emit stmxcsr or ldmxcsr on a word in memory."""
    kind = ir.FunctionType(ir.VoidType(), [pointer.type])
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.x86.sse.{instruction}"
    )
    builder.call(function, [pointer])


def _pointer(builder: Any) -> tuple[Any, Any]:
    slot = cgutils.alloca_once(builder, WORD)  # type: ignore[no-untyped-call]
    return slot, builder.bitcast(slot, ir.IntType(8).as_pointer())


@intrinsic
def enter(_: Any) -> Any:
    """Flush denormals from here on in this thread; return the mode as it was."""

    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        slot, pointer = _pointer(builder)
        _call(builder, "stmxcsr", pointer)
        before = builder.load(slot)
        builder.store(builder.or_(before, WORD(FLUSH)), slot)
        _call(builder, "ldmxcsr", pointer)
        return before

    return types.uint32(), generate


@intrinsic
def leave(_: Any, before: Any) -> Any:
    """Restore the mode that `enter` returned."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        slot, pointer = _pointer(builder)
        builder.store(arguments[0], slot)
        _call(builder, "ldmxcsr", pointer)
        return None

    return types.void(before), generate


@intrinsic
def copy_bytes(_: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy bytes from one address to another."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        *addresses, size = arguments
        kind = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(address, kind) for address in addresses)
        copy: Any = cgutils.raw_memcpy
        copy(builder, target, source, size, 1)
        return None

    return types.void(target, source, count), generate


@numba.njit
def widen(half: Any) -> Any:
    """Return the float32 of the bits of a bfloat16."""
    return np.uint32(np.uint32(half) << np.uint32(16)).view(np.float32)


@numba.njit
def narrow(value: Any) -> Any:
    """Return the bits of the nearest bfloat16, or of the even one of the two."""
    bits = np.float32(value).view(np.uint32)
    upper = bits >> np.uint32(16)
    if value != value:  # noqa: PLR0124 - NaN
        return np.uint16(upper | np.uint32(0x40))
    rounded = bits + np.uint32(0x7FFF) + (upper & np.uint32(1))
    return np.uint16(rounded >> np.uint32(16))
