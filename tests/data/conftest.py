"""Arrays on a device: CuPy's where there is one, and a stand-in as strict as CuPy."""

from types import SimpleNamespace

import numpy as np
import pytest

from gdopt.arrays import backend as shim


class DeviceArray(np.ndarray):
    """An array that, like CuPy's, mixes with no array of the host."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        result = getattr(ufunc, method)(*unwrap(inputs), **unwrap(options))
        return wrap(result)

    def __array_function__(self, function, types, args, kwargs):
        pytest.fail(f"{function.__name__} of NumPy was called on a device array")

    def __getitem__(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        found = self.view(np.ndarray)[tuple(unwrap(parts))]
        return wrap(
            np.asarray(found)
        )  # CuPy gives 0-d arrays where NumPy gives scalars

    def __setitem__(self, index, value):
        parts = index if isinstance(index, tuple) else (index,)
        self.view(np.ndarray)[tuple(unwrap(parts))] = unwrap([value])[0]


def unwrap(values):
    """Reach the memory of device arrays, and refuse arrays of the host."""
    if isinstance(values, dict):
        return dict(zip(values, unwrap(list(values.values())), strict=True))
    return [unwrap_one(value) for value in values]


def unwrap_one(value):
    if isinstance(value, DeviceArray):
        return value.view(np.ndarray)
    assert not isinstance(value, np.ndarray), "an array of the host on the device"
    return type(value)(unwrap(value)) if isinstance(value, list | tuple) else value


def wrap(value):
    if isinstance(value, tuple):
        return tuple(wrap(part) for part in value)
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


def take(a, indices, axis=None, out=None):  # no mode: CuPy has none
    assert out is None or isinstance(out, DeviceArray)
    return wrap(np.take(*unwrap([a, indices]), axis, *unwrap([out])))


class Functions:
    """The functions of NumPy, on device arrays alone."""

    take = staticmethod(take)

    def __getattr__(self, name):
        function = getattr(np, name)
        return lambda *args, **kw: wrap(function(*unwrap(args), **unwrap(kw)))


class StandIn:
    """A backend whose memory is the host's, and which nobody may notice."""

    name = "stand-in"
    xp = Functions()

    def __init__(self):
        self.moved = []

    def is_array(self, value):
        return isinstance(value, DeviceArray)

    def device(self, array):
        return "stand-in:0"

    def zeros(self, shape, dtype, device=None):
        return wrap(np.zeros(shape, dtype))

    def from_host(self, array, device=None):
        assert type(array) is np.ndarray
        self.moved.append(array)
        return wrap(array.copy())

    def to_host(self, array):
        assert isinstance(array, DeviceArray)
        return array.view(np.ndarray).copy()


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """A device: `put` moves arrays there, `get` moves them back."""
    if request.param == "cupy":
        cupy = pytest.importorskip("cupy")
        return SimpleNamespace(put=cupy.asarray, get=cupy.asnumpy, backend=None)
    backend, ordinary = StandIn(), shim._backend_of_one
    monkeypatch.setattr(
        shim,
        "_backend_of_one",
        lambda name, array: (
            backend if isinstance(array, DeviceArray) else ordinary(name, array)
        ),
    )
    return SimpleNamespace(
        put=lambda array: wrap(np.array(array)), get=backend.to_host, backend=backend
    )


@pytest.fixture
def write(tmp_path):
    """Write bytes or text to a file of a name, and give its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    return write
