"""CuPy on the GPU: one of the two modules that import cupy."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.arrays.backend import Backend, cuda_extra
from gdopt.arrays.cublas import Cublas
from gdopt.checks import shows
from gdopt.errors import ArgumentError, BackendError
from gdopt.imports import import_module, install

LIBRARIES = {"cupy", "cupy_backends"}  # whose errors are CUDA's, cuBLAS's, NVRTC's


def _load() -> Any:
    """Import CuPy, or say which of CuPy, the driver and the device is missing."""
    try:
        cupy = import_module("cupy")  # optional, and takes half a second
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        reason = "is missing" if absent else f"cannot be imported ({error})"
        extra = cuda_extra() or "cuda13x"
        raise BackendError(f"CuPy {reason}: {install(extra)}") from error
    if cupy.is_available():
        return cupy
    if cuda_extra() is None:
        raise BackendError(
            "the NVIDIA driver is missing: CuPy is installed, but libcuda is not on "
            "this machine; in a container, run it with --gpus all"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
    raise BackendError(
        f"a CUDA device is missing{hint}: the driver is installed, but shows none that "
        f"CuPy {cupy.__version__} can use; `nvidia-smi` lists them"
    )


def raise_if_cuda_error(error: Exception, where: str) -> None:
    """Raise a BackendError from an error of CUDA or its libraries; leave others alone.

    Running out of device memory is a MemoryError as on the host, and stays one.
    """
    library = type(error).__module__.partition(".")[0]
    if library in LIBRARIES and not isinstance(error, MemoryError | Warning):
        raise BackendError(f"CUDA failed {where}: {error}") from error


class OnDevice:
    """A device that is current for a block; CUDA's errors in the block are gdopt's."""

    __slots__ = ("_device", "_where")

    def __init__(self, device: Any, name: str) -> None:
        self._device = device
        self._where = f"on {name}, in this call or in work before it"

    def __enter__(self) -> Any:
        try:
            return self._device.__enter__()
        except Exception as error:
            raise_if_cuda_error(error, self._where)
            raise

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            self._device.__exit__(None, None, None)
        except Exception as fault:
            raise_if_cuda_error(fault, self._where)
            raise
        if isinstance(error, Exception):
            raise_if_cuda_error(error, self._where)


class ReadOnly:
    """Owns memory that must not be written to, as CuPy has no flag for it."""

    def __init__(self, holder: object) -> None:
        self.holder = holder


@shows("name")
class CupyBackend(Backend):
    """Arrays in the memory of CUDA devices; each stays on its own device."""

    name = "cupy"

    def __init__(self) -> None:
        self.xp = _load()
        self._unowned = self.xp.cuda.UnownedMemory
        self._cublas: dict[int, Cublas] = {}
        self._devices: dict[str, OnDevice] = {}

    def is_array(self, value: object) -> bool:
        return isinstance(value, self.xp.ndarray)

    def device(self, array: Any) -> str:
        return f"cuda:{array.data.device_id}"  # for many arrays at every step

    def on(self, device: str | None) -> OnDevice:
        if device is None:
            device = f"cuda:{self.xp.cuda.Device().id}"
        if device not in self._devices:
            number = int(device.removeprefix("cuda:"))
            self._devices[device] = OnDevice(self.xp.cuda.Device(number), device)
        return self._devices[device]

    def zeros(self, shape: Any, dtype: Any, device: str | None = None) -> Any:
        # The pool of CuPy starts blocks on 512 bytes.
        with self.on(device):
            return self.xp.zeros(shape, dtype)

    def from_host(self, array: Any, device: str | None = None) -> Any:
        with self.on(device):
            return self.xp.asarray(array)

    def to_host(self, array: Any) -> np.ndarray:
        with self.on(self.device(array)):
            return np.asarray(self.xp.asnumpy(array))

    def fetch(self, array: Any) -> Callable[[], float]:
        """See `Backend.fetch`."""
        cupy = self.xp
        with array.device:
            pinned = cupy.cuda.alloc_pinned_memory(array.nbytes)
            host = np.ndarray(array.shape, array.dtype, pinned)
            array.get(out=host, blocking=False)
            there = cupy.cuda.get_current_stream().record()

        def wait() -> float:
            there.synchronize()
            return float(host)

        return wait

    def address(self, array: Any) -> int:
        address: int = array.data.ptr
        return address

    def owner(self, array: Any) -> object | None:
        memory = array.data.mem
        return None if isinstance(memory, self._unowned) else memory

    def writeable(self, array: Any) -> bool:
        # CuPy itself knows no such flag.
        return not isinstance(getattr(array.data.mem, "_owner", None), ReadOnly)

    def adopt(self, array: Any, *, read_only: bool) -> Any:
        """View a device array of another library; DLPack hands over its stream, too."""
        cupy = self.xp
        take = cupy.from_dlpack if hasattr(array, "__dlpack__") else cupy.asarray
        view = take(array)
        if not read_only:
            return view
        owner = ReadOnly(view)
        device = view.device.id  # which an empty array has no address to find by
        memory = cupy.cuda.UnownedMemory(view.data.ptr, view.nbytes, owner, device)
        start = cupy.cuda.MemoryPointer(memory, 0)
        return cupy.ndarray(view.shape, view.dtype, memptr=start, strides=view.strides)

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        # The handle, its workspace and the result belong on the arrays' device.
        with self.on(self.device(a)) as device:
            if device.id not in self._cublas:
                self._cublas[device.id] = Cublas(self.xp)
            if a.ndim != 2 or b.ndim != 2:
                return self.xp.matmul(a, b, out=out)
            shape = a.shape[0], b.shape[1]
            if out is None:
                out = self.xp.empty(shape, a.dtype)
            elif out.shape != shape:  # CuPy would fill it in any other shape
                raise ArgumentError(f"out must have shape {shape}, got {out.shape}")
            if not self._cublas[device.id].multiply(a, b, out):
                return self.xp.matmul(a, b, out=out)
        return out

    def synchronize(self) -> None:
        with self.on(None):
            self.xp.cuda.get_current_stream().synchronize()

    def describe(self) -> str:
        properties = self.xp.cuda.runtime.getDeviceProperties(self.xp.cuda.Device().id)
        return f"the GPU ({properties['name'].decode()}), with CuPy"
