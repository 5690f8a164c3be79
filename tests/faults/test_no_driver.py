"""With CuPy but without a driver, every way to a GPU says what is missing."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network


@pytest.fixture(autouse=True)
def _no_gpu():
    cupy = pytest.importorskip("cupy")
    if cupy.is_available():
        pytest.skip("there is a GPU")
    gdopt.arrays.backend._cupy.cache_clear()


class OnAGpu:
    """An array of another library, whose memory is on a device."""

    def __init__(self):
        where = {"data": (4096, False), "shape": (3,), "typestr": "<f4", "version": 3}
        self.__cuda_array_interface__ = where


ENTRIES = {
    "use": lambda: gdopt.use("cupy"),
    "get_backend": lambda: gdopt.get_backend("cupy"),
    "Network": lambda: Network((2, 2), seed=0, backend="cupy"),
    "prefetch": lambda: gdopt.prefetch([np.ones(2)], backend="cupy"),
    "as_array": lambda: gdopt.as_array(OnAGpu()),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_point_names_the_driver(name):
    before = gdopt.get_backend("numpy")
    with pytest.raises(gdopt.BackendError, match=r"(driver|device) is missing"):
        ENTRIES[name]()
    assert gdopt.get_backend("numpy") is before


def test_the_variable_asks_for_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setenv("GDOPT_BACKEND", "cupy")
    monkeypatch.setattr("gdopt.arrays.backend._chosen", None)
    with pytest.raises(gdopt.BackendError, match="is missing"):
        Network((2, 2), seed=0)


@pytest.mark.parametrize("module", ["executor", "group", "values"])
def test_what_runs_on_a_gpu_is_imported_without_one(module):
    importlib.import_module(f"gdopt.optim.gpu.{module}")


def test_importing_what_runs_on_a_gpu_imports_no_cupy():
    program = "import sys, gdopt.optim.gpu.executor, gdopt.kernels.cuda, gdopt.training"
    program += "; sys.exit('cupy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_capturing_on_the_cpu_is_refused_and_nothing_is_trained():
    network = Network((2, 2), seed=0, backend="numpy")
    before = network.params.flat.copy()
    batches = gdopt.minibatches(
        np.ones((4, 2), np.float32), np.array([0, 1, 0, 1]), batch_size=2, seed=0
    )
    optimizer = gdopt.Adam(network.params)
    with pytest.raises(gdopt.BackendError, match="a graph needs a network on a GPU"):
        gdopt.fit(network, optimizer, batches, epochs=1, cuda_graph=True)
    assert np.array_equal(network.params.flat, before)
