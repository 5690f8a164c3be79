"""Arrays of other libraries, taken as NumPy's or CuPy's own without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, get_backend, is_on_device
from gdopt.errors import ArgumentTypeError, BackendError

HOST, CUDA = 1, 2  # kinds of device in DLPack


def as_array(array: Any) -> Array:
    """View an array of torch, JAX or another library in place, as NumPy's or CuPy's.

    What an optimizer does to the view, it does to the array. Arrays that must not be
    written to, as JAX's, give views that are read-only: gradients may be such,
    parameters not. NumPy 2.1 itself makes every view through DLPack read-only.

    Args:
        array: has ``__dlpack__``, on the CPU or a GPU, or ``__cuda_array_interface__``.

    Raises:
        ArgumentTypeError: it is no such array, or its library does not hand it out; a
            torch tensor that requires a gradient has to be detached.
        BackendError: it is on a GPU that CuPy cannot use.

    >>> import numpy as np
    >>> class Other:
    ...     def __init__(self):
    ...         self.kept = np.zeros(3)
    ...         self.__dlpack__ = self.kept.__dlpack__
    ...         self.__dlpack_device__ = self.kept.__dlpack_device__
    >>> other = Other()
    >>> view = as_array(other)
    >>> other.kept[...] = 1
    >>> view
    array([1., 1., 1.])
    """
    if isinstance(array, np.ndarray):
        return array
    try:
        if is_on_device(array):
            return _adopt(array)
        if hasattr(array, "__dlpack__"):
            kind = array.__dlpack_device__()[0]
            if kind == HOST:
                return np.from_dlpack(array)
            if kind == CUDA:
                return _adopt(array)
    except BackendError:
        raise
    except (RuntimeError, BufferError, TypeError, ValueError, AttributeError) as error:
        message = (
            f"array could not be exported by its library, got a {_kind(array)}: {error}"
        )
        raise ArgumentTypeError(message) from error
    message = (
        "array must have __dlpack__ or __cuda_array_interface__, on the CPU or a CUDA "
        f"device, got a {_kind(array)}"
    )
    raise ArgumentTypeError(message)


def _adopt(array: Any) -> Array:
    backend: Any = get_backend("cupy")
    if backend.is_array(array):
        return array
    interface = getattr(array, "__cuda_array_interface__", {"data": (0, False)})
    immutable = _kind(array).startswith(("jax", "jaxlib"))
    read_only = immutable or bool(interface["data"][1])
    return backend.adopt(array, read_only=read_only)


def _kind(array: Any) -> str:
    return f"{type(array).__module__}.{type(array).__name__}"
