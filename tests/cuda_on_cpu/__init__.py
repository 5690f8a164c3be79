"""CuPy on the CPU: the real library over a CUDA runtime that works on host memory.

CuPy's wheel links the CUDA runtime into one extension, `RUNTIME`. That extension is
built again, from CuPy's source distribution of the same version, against the runtime in
``cpp``, and takes the wheel's place. cuBLAS, NCCL and the driver are libraries of their
own, which are loaded before CuPy looks for them. Kernels are compiled by g++ from what
CuPy generates. All else is CuPy as it is shipped: arrays, memory pools, streams,
graphs, errors.

What it does not show: races inside a kernel, a GPU's own arithmetic, the order of
NCCL's sums, CUB and Thrust (NumPy sorts in its place), and the time that anything
takes.

Environment:
    GDOPT_CUDA_SCHEDULE: when work is done: ``eager`` (the default), ``lazy``, which is
        as late as CUDA allows, or ``random:SEED``.
    GDOPT_CUDA_MEMORY: of each of the two devices, in bytes; 4 GiB by default.
    GDOPT_CUDA_POOL: ``off`` takes every array from the runtime, whose memory ends where
        it cannot be touched and is never used again.
    GDOPT_TEST_CACHE: the folder of what was built; ``~/.cache/gdopt-tests`` by default.
"""

import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import sys

from cuda_on_cpu.build import Unavailable, build_runtime
from cuda_on_cpu.device import Device

__all__ = ["Device", "Unavailable", "get_device", "has_gpu", "prepare"]

RUNTIME = "cupy_backends.cuda.api.runtime"


@functools.cache  # asked before the library in the place of the driver is loaded
def has_gpu():
    """Return whether a CUDA driver is there and finds a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return False
    return count.value > 0


def prepare():
    """Have the next import of CuPy take the runtime that works on the CPU.

    It is built when it is first imported. Where it cannot be, CuPy is imported as it is
    shipped, and `get_device` says why.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        os.environ.setdefault("CUPY_ACCELERATORS", "")  # CUB is not there
        sys.meta_path.insert(0, _Finder())


@functools.cache
def get_device():
    """Import CuPy over the runtime and return the `Device` that tests ask and set.

    It shows no devices at first.

    Raises:
        Unavailable: something that the build needs is missing; the message says what.
    """
    libraries = _libraries()
    import cupy

    if not sys.modules[RUNTIME].__file__.endswith("/runtime.so"):
        message = "CuPy was imported before its runtime could be replaced"
        raise Unavailable(message)
    _compile_with_gxx()
    from cuda_on_cpu import sorting

    sorting.replace_thrust()
    if os.environ.get("GDOPT_CUDA_POOL") == "off":
        cupy.cuda.set_allocator(None)
    return Device(libraries)


@functools.cache
def _libraries():
    """Load the libraries, for all of the process to find them."""
    paths = build_runtime()
    return [ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in paths.libraries]


class _Finder:
    """Finds the extension that was built, in the place of the wheel's."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != RUNTIME:
            return None
        try:
            _libraries()
        except Unavailable:
            return None
        place = str(build_runtime().extension)
        loader = importlib.machinery.ExtensionFileLoader(name, place)
        return importlib.util.spec_from_file_location(name, place, loader=loader)


def _compile_with_gxx():
    from cupy.cuda import compiler, function

    from cuda_on_cpu import kernels

    def compile_module(source, options, *_, name_expressions=None, **__):
        if name_expressions:
            message = "templates by name are not supported by CUDA on the CPU"
            raise NotImplementedError(message)
        try:
            image = kernels.compile_kernels(source, options)
        except kernels.CompileError as error:
            raise compiler.CompileException(
                str(error), source, "kernel.cu", options, "nvrtc"
            ) from None
        module = function.Module()
        module.load(image)
        return module

    compiler._compile_with_cache_cuda = compile_module
