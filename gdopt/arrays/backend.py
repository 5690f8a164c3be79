"""Where arrays live: one small protocol, two libraries behind it.

Existing arrays decide for themselves (`backend_of`); only *new* arrays ask for a
default (`get_backend`), which `use` or the variable ``GDOPT_BACKEND`` sets.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np

from gdopt.checks import check_choice
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError

P = ParamSpec("P")
R = TypeVar("R")
Array = Any  # a numpy.ndarray or a cupy.ndarray: they share no static base
Arrays = Sequence[Array]
NAMES = ("auto", "numpy", "cupy")


@runtime_checkable
class Backend(Protocol):
    """What the rest of gdopt asks of an array library beyond its functions `xp`."""

    name: str
    xp: Any

    def is_array(self, value: object) -> bool:
        """Return whether `value` is an array of this library."""

    def device(self, array: Array) -> str:
        """Name the device that holds `array`: ``"cpu"`` or ``"cuda:0"``."""

    def on(self, device: str | None) -> AbstractContextManager[Any]:
        """Make `device` the current one for the length of a block.

        Raises:
            BackendError: at its end: CUDA or one of its libraries failed in it.
        """

    def zeros(self, shape: Any, dtype: Any, device: str | None = None) -> Array:
        """Make an array of zeros that starts on a 64-byte boundary."""

    def from_host(self, array: Any, device: str | None = None) -> Array:
        """Copy a NumPy array to the device; on the CPU, return it as it is."""

    def to_host(self, array: Array) -> np.ndarray:
        """Copy to a NumPy array; on the CPU, return the array itself."""

    def fetch(self, array: Array) -> Callable[[], float]:
        """Ask for an array of one element; return what waits for the number."""

    def address(self, array: Array) -> int:
        """Return the address of the first element, in bytes."""

    def owner(self, array: Array) -> object | None:
        """Return the object that owns the memory; None where only addresses show it."""

    def writeable(self, array: Array) -> bool:
        """Return whether the array may be written to."""

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """Multiply matrices; a CUDA graph can hold the product."""

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""

    def describe(self) -> str:
        """Say in a few words what new arrays would live on."""


@functools.cache
def _numpy() -> Backend:
    from gdopt.arrays.numpy_ import NumpyBackend  # noqa: PLC0415 - both import this

    return NumpyBackend()


@functools.cache
def _cupy() -> Backend:
    from gdopt.arrays.cupy_ import CupyBackend  # noqa: PLC0415 - CuPy is optional

    return CupyBackend()


_chosen: str | None = None
_reported = False


def use(name: str) -> None:
    """Choose where *new* arrays are made; existing arrays are not moved.

    Args:
        name: ``"numpy"``, ``"cupy"`` or ``"auto"`` (CuPy if there is a GPU).

    Raises:
        ArgumentError: the name is not one of the three.
        BackendError: ``"cupy"`` without CuPy, a driver or a device.

    >>> import gdopt
    >>> gdopt.use("numpy")
    >>> gdopt.get_backend().name
    'numpy'
    """
    global _chosen  # noqa: PLW0603 - the process-wide default is the feature
    get_backend(name)
    _chosen = name


def get_backend(name: str | None = None) -> Backend:
    """Return the backend of that name; without a name, the default.

    The default is what `use` set, else ``GDOPT_BACKEND``, else ``"auto"``. ``"auto"``
    reports once, on standard error, what it chose and why, if there is an NVIDIA
    driver.

    Raises:
        ArgumentError: the name is unknown.
        BackendError: a GPU was asked for and is not there; the message says whether
            CuPy, the driver or the device is missing.
    """
    origin = "backend"
    if name is None:
        name, origin = _chosen, "gdopt.use"
    if name is None:
        name, origin = os.environ.get("GDOPT_BACKEND", "auto"), "GDOPT_BACKEND"
    check_choice(origin, name, NAMES)
    if name == "auto":
        return _auto()
    return _numpy() if name == "numpy" else _cupy()


def _auto() -> Backend:
    try:
        backend, reason = _cupy(), ""
    except BackendError as error:
        backend, reason = _numpy(), f" ({error})"
    global _reported  # noqa: PLW0603 - reported once per process
    if not _reported and (not reason or cuda_extra()):
        _reported = True
        sys.stderr.write(f"gdopt: new arrays live on {backend.describe()}{reason}\n")
    return backend


def cuda_extra() -> str | None:
    """Return the extra for the NVIDIA driver here; None where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return None
    version = ctypes.c_int()
    if hasattr(driver, "cuDriverGetVersion"):  # a stand-in may lack it
        driver.cuDriverGetVersion(ctypes.byref(version))
    return "cuda13x" if version.value >= 13000 else "cuda12x"


def backend_of(*arrays: Array) -> Backend:
    """Return the backend that all `arrays` share.

    Raises:
        ArgumentTypeError: something is not a NumPy or CuPy array.
        BackendError: the arrays are of two libraries or on two devices.

    >>> import numpy as np
    >>> backend_of(np.zeros(3), np.ones(2)).name
    'numpy'
    """
    return common_backend((f"array {k}", array) for k, array in enumerate(arrays))


def common_backend(named: Iterable[tuple[str, Array]]) -> Backend:
    """Return the backend that named arrays share; errors call them by name."""
    first: tuple[str, Backend, str] | None = None
    for name, array in named:
        backend = _backend_of_one(name, array)
        device = backend.device(array)
        if first is None:
            first = name, backend, device
        elif first[2] != device:
            rule = "arrays must be on one device"
            message = f"{rule}: {first[0]} is on {first[2]}, {name} is on {device}"
            raise BackendError(message)
    if first is None:
        message = "arrays must not be empty: there is nothing to find the backend of"
        raise ArgumentError(message)
    return first[1]


def _backend_of_one(name: str, array: Array) -> Backend:
    if isinstance(array, np.ndarray):
        if isinstance(array, np.ma.MaskedArray | np.matrix):
            rule = f"{name} must be a plain array"
            message = f"{rule}, got {type(array).__name__}, whose arithmetic differs"
            raise ArgumentTypeError(message)
        return _numpy()
    if "cupy" in sys.modules and isinstance(array, sys.modules["cupy"].ndarray):
        return _cupy()
    message = f"{name} must be a NumPy or CuPy array, got {type(array).__name__}"
    raise ArgumentTypeError(message)


def is_on_device(value: Any) -> bool:
    """Return whether a value is an array on a GPU: the host must not wait for it."""
    return hasattr(value, "__cuda_array_interface__")


def on_their_device(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function compute on the device of its arrays; see `Backend.on`.

    Of what overflows or underflows on the way, NumPy says nothing.
    """

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> R:
        cupy = sys.modules.get("cupy")
        if cupy is not None:
            for value in (*arguments, *options.values()):
                if isinstance(value, cupy.ndarray):
                    home = _cupy()
                    with home.on(home.device(value)):
                        return function(*arguments, **options)
        with np.errstate(all="ignore"):
            return function(*arguments, **options)

    return wrapper


def byte_bounds(backend: Backend, array: Array) -> tuple[int, int]:
    """Return the first address an array touches and the one after its last."""
    low = high = backend.address(array)
    if array.size == 0:
        return low, low
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (length - 1) * stride
        else:
            high += (length - 1) * stride
    return low, high + array.dtype.itemsize
