"""Sorts in the place of Thrust, which CuPy links with a CUDA runtime of its own."""

import ctypes

import numpy as np


def replace_thrust():
    """Have CuPy sort by NumPy, as work of the current stream."""
    from cupy.cuda import thrust

    thrust.sort, thrust.argsort, thrust.lexsort = _sort, _argsort, _lexsort


def _view(address, dtype, shape):
    """Return the array at an address, which is NumPy's as the device is the host."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(
        shape
    )


def _submit(work):
    import cupy

    cupy.cuda.get_current_stream().launch_host_func(lambda _: work(), None)


def _sort(dtype, data, _keys, shape):
    _submit(lambda: _view(data, dtype, shape).sort(axis=-1))


def _argsort(dtype, indices, data, _keys, shape):
    def work():
        array, order = _view(data, dtype, shape), _view(indices, np.int64, shape)
        order[...] = array.argsort(axis=-1, kind="stable")
        array.sort(axis=-1)

    _submit(work)


def _lexsort(dtype, indices, keys, count, size):
    def work():
        rows = _view(keys, dtype, (count, size))
        _view(indices, np.int64, (size,))[...] = np.lexsort(rows)

    _submit(work)
