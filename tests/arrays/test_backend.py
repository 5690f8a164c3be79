"""Where arrays live: chosen once, said once, and missing parts named."""

import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.arrays import backend, cupy_
from gdopt.arrays.backend import byte_bounds


@pytest.fixture(autouse=True)
def undecided(monkeypatch):
    """Let every test choose a backend as if it were the first."""
    monkeypatch.setattr(backend, "_chosen", None)
    monkeypatch.setattr(backend, "_reported", False)
    monkeypatch.delenv("GDOPT_BACKEND", raising=False)
    backend._cupy.cache_clear()
    yield
    backend._cupy.cache_clear()


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def no_gpu(stand_in_cupy, monkeypatch):
    """Return CuPy without a device; the test decides about the driver."""
    stand_in_cupy.is_available = lambda: False
    asked = []

    def find(missing):
        def load(name):
            asked.append(name)
            if missing:
                raise OSError(name)
            return SimpleNamespace(cuDriverGetVersion=lambda found: 0)

        monkeypatch.setattr(ctypes, "CDLL", load)
        return asked

    return find


def test_numpy_is_there():
    numpy = gdopt.get_backend("numpy")
    assert numpy.name == "numpy"
    assert numpy.xp is np
    assert numpy is gdopt.get_backend("numpy")


def test_cupy_that_is_not_installed_is_named_with_what_installs_it(
    no_cupy, monkeypatch
):
    monkeypatch.setattr(cupy_, "cuda_extra", lambda: None)
    with pytest.raises(gdopt.BackendError, match="CuPy is missing: pip install") as no:
        gdopt.get_backend("cupy")
    assert '".[cuda13x]"' in str(no.value)


def test_a_driver_that_is_missing_is_named(no_gpu):
    asked = no_gpu(missing=True)
    with pytest.raises(gdopt.BackendError, match="the NVIDIA driver is missing"):
        gdopt.get_backend("cupy")
    assert asked == ["libcuda.so.1"]


def test_a_device_that_is_missing_is_named(no_gpu, monkeypatch):
    no_gpu(missing=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(gdopt.BackendError, match=r"^a CUDA device is missing: ") as no:
        gdopt.get_backend("cupy")
    assert "CuPy 14.0.0" in str(no.value)


def test_devices_that_are_hidden_are_named(no_gpu, monkeypatch):
    no_gpu(missing=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    message = r"a CUDA device is missing \(CUDA_VISIBLE_DEVICES=''\)"
    with pytest.raises(gdopt.BackendError, match=message):
        gdopt.get_backend("cupy")


def test_a_gpu_that_was_missing_is_looked_for_again(stand_in_cupy, no_gpu):
    no_gpu(missing=True)
    with pytest.raises(gdopt.BackendError):
        gdopt.get_backend("cupy")
    stand_in_cupy.is_available = lambda: True
    assert gdopt.get_backend("cupy").name == "cupy"


def test_auto_says_nothing_of_cupy_where_there_is_no_driver(
    no_cupy, monkeypatch, capsys
):
    monkeypatch.setattr(backend, "cuda_extra", lambda: None)
    assert gdopt.get_backend("auto").name == "numpy"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("version", "extra"), [(12080, "cuda12x"), (13000, "cuda13x"), (14010, "cuda13x")]
)
def test_the_extra_is_the_one_of_the_driver(monkeypatch, version, extra):
    class Driver:
        def cuDriverGetVersion(self, found):  # noqa: N802 - CUDA's name
            found._obj.value = version
            return 0

    monkeypatch.setattr(backend.ctypes, "CDLL", lambda name: Driver())
    assert backend.cuda_extra() == extra


def test_auto_says_once_that_it_takes_the_cpu_and_why(no_cupy, monkeypatch, capsys):
    monkeypatch.setattr(backend, "cuda_extra", lambda: "cuda12x")
    assert gdopt.get_backend().name == "numpy"
    assert gdopt.get_backend().name == "numpy"
    assert gdopt.get_backend("auto").name == "numpy"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("gdopt: new arrays live on the CPU, with NumPy (CuPy is miss")


def test_auto_takes_the_gpu_where_there_is_one(stand_in_cupy, capsys):
    class Device:
        id = 0

    stand_in_cupy.cuda.Device = Device
    properties = {"name": b"Stand-In 100"}
    stand_in_cupy.cuda.runtime = type(
        "runtime", (), {"getDeviceProperties": staticmethod(lambda _: properties)}
    )
    assert gdopt.get_backend("auto").name == "cupy"
    assert gdopt.get_backend().name == "cupy"
    told = "gdopt: new arrays live on the GPU (Stand-In 100), with CuPy\n"
    assert capsys.readouterr().err == told


def test_a_backend_that_was_asked_for_is_not_announced(capsys):
    gdopt.use("numpy")
    gdopt.get_backend()
    gdopt.get_backend("numpy")
    assert capsys.readouterr() == ("", "")


def test_the_variable_chooses(monkeypatch, no_cupy):
    monkeypatch.setenv("GDOPT_BACKEND", "numpy")
    assert gdopt.get_backend().name == "numpy"
    monkeypatch.setenv("GDOPT_BACKEND", "cupy")
    with pytest.raises(gdopt.BackendError, match="CuPy is missing"):
        gdopt.get_backend()


def test_use_comes_before_the_variable(monkeypatch, no_cupy):
    monkeypatch.setenv("GDOPT_BACKEND", "cupy")
    gdopt.use("numpy")
    assert gdopt.get_backend().name == "numpy"


def test_a_choice_that_fails_leaves_the_one_before(no_cupy):
    gdopt.use("numpy")
    with pytest.raises(gdopt.BackendError, match="CuPy is missing"):
        gdopt.use("cupy")
    with pytest.raises(gdopt.ArgumentError, match="got 'torch'"):
        gdopt.use("torch")
    assert gdopt.get_backend().name == "numpy"


@pytest.mark.parametrize("wrong", ["torch", "", "NumPy", "gpu"])
def test_a_wrong_name_is_refused_with_where_it_came_from(wrong, monkeypatch):
    rule = f"must be one of auto, numpy, cupy, got {wrong!r}"
    with pytest.raises(gdopt.ArgumentError, match=f"^backend {rule}$"):
        gdopt.get_backend(wrong)
    monkeypatch.setenv("GDOPT_BACKEND", wrong)
    with pytest.raises(gdopt.ArgumentError, match=f"^GDOPT_BACKEND {rule}$"):
        gdopt.get_backend()


def test_existing_arrays_decide_for_themselves(stand_in_cupy):
    gdopt.use("numpy")
    assert gdopt.backend_of(stand_in_cupy.ndarray(np.ones(2))).name == "cupy"
    gdopt.use("cupy")
    assert gdopt.backend_of(np.ones(2), np.ones(3)).name == "numpy"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([1.0], "a NumPy or CuPy array, got list"),
        (None, "a NumPy or CuPy array, got NoneType"),
        (np.float64(1), "a NumPy or CuPy array, got float64"),
        (np.ma.ones(2), "a plain array, got MaskedArray, whose arithmetic differs"),
        (np.ones((2, 2)).view(np.matrix), "a plain array, got matrix"),
    ],
)
def test_what_is_no_array_has_no_backend(value, kind):
    with pytest.raises(gdopt.ArgumentTypeError, match=f"^array 1 must be {kind}"):
        gdopt.backend_of(np.ones(2), value)


def test_nothing_has_no_backend():
    with pytest.raises(gdopt.ArgumentError, match="arrays must not be empty"):
        gdopt.backend_of()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), 0, 1, 7, (3, 0, 2), (3, 5), (1000,)])
def test_zeros_start_on_64_bytes_and_are_zero(shape, dtype):
    numpy = gdopt.get_backend("numpy")
    arrays = [numpy.zeros(shape, dtype) for _ in range(5)]
    for array in arrays:
        assert array.size == 0 or numpy.address(array) % 64 == 0
        assert array.shape == np.zeros(shape).shape
        assert array.dtype == dtype
        assert not array.any()
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_numpy_arrays_are_not_copied_to_and_from_the_host():
    numpy, array = gdopt.get_backend("numpy"), np.ones(3)
    assert numpy.from_host(array) is array
    assert numpy.to_host(array) is array
    assert numpy.device(array) == "cpu"
    assert numpy.synchronize() is None


def test_the_owner_of_a_view_is_what_holds_the_memory():
    numpy, base = gdopt.get_backend("numpy"), np.arange(12.0)
    assert numpy.owner(base) is base
    assert numpy.owner(base[2:].reshape(5, 2)[::-1].T) is base
    assert numpy.owner(np.frombuffer(b"\0" * 16)) is None


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a[::-1],
        lambda a: a[1:3, ::-2],
        lambda a: a.T,
        lambda a: a[2:2],
        lambda a: a[1, 1, ...],
    ],
)
def test_byte_bounds_are_numpys(view):
    array = view(np.arange(20.0).reshape(4, 5))
    expected = np.lib.array_utils.byte_bounds(array)
    low, high = byte_bounds(gdopt.get_backend("numpy"), array)
    assert (low, high) == (expected if array.size else (expected[0], expected[0]))


def test_a_cupy_that_is_broken_is_not_called_missing(monkeypatch, tmp_path):
    broken = tmp_path / "cupy.py"
    broken.write_text(
        "raise ImportError('libcudart.so.13 is not there')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(gdopt.BackendError, match=r"cannot be imported \(libcudart"):
        cupy_._load()
