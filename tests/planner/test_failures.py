import errno

import numpy as np
import pytest

from gdopt.planner.memory.meter import is_out_of_memory


def of_module(name, module, base=RuntimeError, **attributes):
    """Make an error as a library that is not there would raise it."""
    return type(name, (base,), {"__module__": module, **attributes})


CUDA = of_module("CUDARuntimeError", "cupy_backends.cuda.api.runtime", status=2)
DRIVER = of_module("CUDADriverError", "cupy_backends.cuda.api.driver", status=2)
CUBLAS = of_module("CUBLASError", "cupy_backends.cuda.libs.cublas", status=3)
TORCH = of_module("OutOfMemoryError", "torch")
JAX = of_module("JaxRuntimeError", "jax.errors")
OURS = of_module("BackendError", "gdopt.errors")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        of_module("OutOfMemoryError", "cupy.cuda.memory", MemoryError)(),
        CUDA("cudaErrorMemoryAllocation: out of memory"),
        CUDA("2"),
        DRIVER("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        CUBLAS("CUBLAS_STATUS_ALLOC_FAILED"),
        OURS("cuBLAS failed: cublasCreate_v2 gave CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("CUSOLVER_STATUS_ALLOC_FAILED"),
        RuntimeError("CUFFT_ALLOC_FAILED"),
        RuntimeError("CURAND_STATUS_ALLOCATION_FAILED"),
        TORCH("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 GB"),
        JAX("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes"),
        RuntimeError("std::bad_alloc: out_of_memory: CUDA error at: cuda_resource.hpp"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_out_of_memory_is_recognized_however_it_is_said(error):
    assert is_out_of_memory(error)


def test_numpy_running_out_of_memory_is_recognized():
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, np.uint8)
    assert is_out_of_memory(caught.value)


def test_an_error_raised_from_out_of_memory_is_recognized():
    error = OURS("CUDA could not capture the work as a graph")
    error.__cause__ = CUDA("cudaErrorMemoryAllocation: out of memory")
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the shop is out of memory cards"),
        RuntimeError("out of memory of the past"),
        of_module("CUDARuntimeError", "cupy_backends.cuda", status=700)("illegal"),
        of_module("CUBLASError", "cupy_backends.cuda", status=2)("not initialized"),
        of_module("ApiError", "requests", status=2)("two"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt("CUDA out of memory"),
        KeyError("x"),
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        of_module("CUDARuntimeError", "cupy_backends.cuda", status=700)("x"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("cudaErrorIllegalAddress: an illegal memory access"),
    ],
    ids=str,
)
def test_where_cuda_is_lost_nothing_goes_on(error):
    error.__cause__ = CUDA("cudaErrorMemoryAllocation: out of memory")
    assert not is_out_of_memory(error)
