"""The meters of memory, and work that may run out of it."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any

from gdopt.arrays.backend import get_backend
from gdopt.checks import shown
from gdopt.errors import ArgumentError
from gdopt.planner.memory.device import DeviceMemory
from gdopt.planner.memory.host import HostMemory

# What libraries say in errors other than MemoryError.
WORDS = re.compile(
    r"cudaErrorMemoryAllocation"  # the runtime: CuPy, cuda-python
    r"|CUDA_ERROR_OUT_OF_MEMORY"  # the driver: loading modules, graphs, Numba
    r"|CU\w+_ALLOC(ATION)?_FAILED"  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE, cuFFT, cuRAND
    r"|\bCUDA( error)?:? out of memory"  # torch
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"  # torch
    r"|\bRESOURCE_EXHAUSTED\b"  # XLA: JAX, TensorFlow
    r"|std::bad_alloc"  # libraries in C++: RMM
)
MODULES = re.compile(r"(cupy(_backends)?|cuda|numba|rmm)(\.|$)")
MEMORY_STATUS = 2  # cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY
# After these CUDA refuses everything until the process ends: illegal addresses and
# instructions, failed assertions and launches, hardware faults.
LOST = {214, 220, 700, *range(710, 720)}
LOST_WORDS = re.compile(
    r"cudaErrorIllegalAddress|CUDA_ERROR_ILLEGAL_|cudaErrorLaunchFailure"
    r"|CUDA_ERROR_LAUNCH_FAILED|cudaErrorAssert|CUDA_ERROR_ASSERT"
    r"|cudaErrorMisalignedAddress|CUDA_ERROR_MISALIGNED_ADDRESS"
    r"|cudaErrorECCUncorrectable|device-side assert"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, means "out of memory".

    An error after which CUDA can do nothing more in this process does not count.
    """
    chain = _chain(error)
    return any(map(_is_one, chain)) and not any(map(_is_lost, chain))


def _is_lost(error: BaseException) -> bool:
    lost = _of_cuda(error) and getattr(error, "status", None) in LOST
    return lost or bool(LOST_WORDS.search(str(error)))


def _of_cuda(error: BaseException) -> bool:
    return bool(MODULES.match(type(error).__module__))


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and those that it was raised from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__
    return found


def _is_one(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if not isinstance(error, Exception):
        return False
    if _of_cuda(error):
        status = getattr(error, "status", getattr(error, "code", None))
        if status == MEMORY_STATUS and "CUBLAS" not in type(error).__name__.upper():
            return True
    return bool(WORDS.search(str(error)))


Meter = HostMemory | DeviceMemory


def meter_of(device: Any) -> Meter:
    """Return the meter of a device's memory."""
    if device == "cpu":
        return HostMemory()
    if not re.fullmatch(r"cuda:\d+", str(device)):
        message = f"device must be 'cpu' or like 'cuda:0', got {shown(device)}"
        raise ArgumentError(message)
    return DeviceMemory(get_backend("cupy"), device)


def attempt(meter: Meter, size: int, work: Callable[[], Any]) -> tuple[Any, str | None]:
    """Do some work; return its result, and how it ran out of memory, or None."""
    result = failure = None
    try:
        result = work()
    except Exception as error:
        if not is_out_of_memory(error):
            error.add_note(f"raised by a trial step of batch size {size:,}")
            raise
        failure = f"{type(error).__name__}: {error}".partition("\n")[0]
    if failure is not None:  # out of the except block: its traceback holds arrays
        meter.tidy()
    return result, failure
