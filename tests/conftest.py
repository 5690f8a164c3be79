"""What all tests share: the engines, a cache of their own, and "nothing changed"."""

import contextlib
import gc
import importlib
import importlib.metadata
import os
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cuda_on_cpu
import numpy as np
import pytest
import threadpoolctl
from cuda_on_cpu import cache
from peers import skip_without_peers

from gdopt.arrays import backend
from gdopt.errors import BackendError
from gdopt.kernels import cpu

collect_ignore = ["cuda_text.py"]  # imports CuPy, and holds no tests


def pytest_configure(config):
    """Let Ctrl-C through, compute on one thread, and leave the user's cache alone."""
    # A shell's jobs in the background, as those of scripts, are started deaf to it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("GDOPT_CACHE_DIR", str(loops_folder()))
    # The matrices are small, and a second thread spins while it waits. The variable is
    # for processes that tests start and for a BLAS that is loaded later, as SciPy's.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    threads = threadpoolctl.threadpool_limits(1, user_api="blas")
    config.add_cleanup(threads.restore_original_limits)
    if not cuda_on_cpu.has_gpu():
        cuda_on_cpu.prepare()


def loops_folder():
    """Return where Numba's loops are kept between runs of the tests.

    A loop is named by a hash of its text. What else decides what is compiled is in the
    folder's name: the versions, and the code that the texts import.
    """
    versions = [sys.version]
    for name in ("numba", "llvmlite", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(importlib.metadata.version(name))
    code = [
        path.read_bytes() for path in sorted(Path(cpu.__file__).parent.glob("*.py"))
    ]
    return cache.folder() / f"loops-{cache.key_of(versions, code)}"


def pytest_collection_finish():
    """Take the collected tests out of every later garbage collection."""
    freeze_objects()


@pytest.fixture(autouse=True, scope="module")
def frozen_objects():
    """Take what earlier modules left out of the collections during this one."""
    freeze_objects()


def freeze_objects():
    """Leave the objects that are alive out of later collections, which get faster."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def unfrozen_objects():
    """Let the collector see all objects, for a test that counts or frees any."""
    gc.unfreeze()


def pytest_runtest_setup(item):
    """Skip, visibly, what needs a peer that is not there; show a GPU to its tests."""
    skip_without_peers(item)
    if not item.get_closest_marker("gpu"):
        return
    if not cuda_on_cpu.has_gpu():
        cpu_device().show(2)
    try:
        backend.get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    """Hide the GPU; a fault of the device that no test asked for is a failure."""
    if not item.get_closest_marker("gpu") or cuda_on_cpu.has_gpu():
        return
    try:
        device = cuda_on_cpu.get_device()
    except cuda_on_cpu.Unavailable:
        return
    fault = device.recover()
    sys.modules["cupy"].get_default_memory_pool().free_all_blocks()
    device.reset()
    backend._cupy.cache_clear()
    if fault:
        pytest.fail(f"the device was left with {fault}")


def cpu_device():
    """Return the device that runs on the CPU; its absence is a failure in CI."""
    try:
        return cuda_on_cpu.get_device()
    except cuda_on_cpu.Unavailable as error:
        always = os.environ.get("CI") and sys.platform == "linux"
        stop = pytest.fail if always else pytest.skip
        stop(str(error))


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu)])
def cp(numpy_engine):
    """Return CuPy: on a GPU, or on the device that runs on the CPU."""
    return importlib.import_module("cupy")


@pytest.fixture
def cuda():
    """Return the device that runs on the CPU, which tests ask what it did."""
    if cuda_on_cpu.has_gpu():
        pytest.skip("a real GPU does not say what it was asked to do")
    return cpu_device()


@pytest.fixture
def torch():
    import torch

    before = torch.get_default_dtype()
    yield torch
    torch.set_default_dtype(before)


@pytest.fixture
def jax():
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def keras(jax, tmp_path_factory):
    """Let Keras, which reads its settings once, compute with JAX: NumPy rounds more."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))
    import keras

    assert keras.config.backend() == "jax"
    before = keras.config.floatx()
    yield keras
    keras.config.set_floatx(before)


@pytest.fixture(params=["numpy", "numba"])
def engine(request, monkeypatch):
    """Run the test on each engine of the CPU."""
    if request.param == "numba":
        pytest.importorskip("numba", exc_type=ImportError)  # as where NumPy is too new
    monkeypatch.setenv("GDOPT_CPU_ENGINE", request.param)
    return request.param


@pytest.fixture
def numpy_engine(monkeypatch):
    """Run the test on NumPy alone, where the engine does not matter."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")


@pytest.fixture
def unchanged():
    """Return ``unchanged(optimizer)``: a block that must change nothing of it."""
    return _unchanged


@contextlib.contextmanager
def _unchanged(*optimizers):
    before = [_snapshot(optimizer) for optimizer in optimizers]
    yield
    assert [_snapshot(optimizer) for optimizer in optimizers] == before


def _snapshot(optimizer):
    """Freeze all that a step, a setting or a load may change, padding included."""
    hyper = optimizer.hyper
    return {
        "params": {key: _freeze(array) for key, array in optimizer.params.items()},
        "buffers": _buffers(optimizer.params),
        "state": {key: _buffers(arena) for key, arena in optimizer._state.items()},
        "t": optimizer.t,
        "non_finite": optimizer.non_finite,
        "hyper": {key: _freeze(setting) for key, setting in hyper.settings.items()},
        "elements": {key: _buffers(arena) for key, arena in hyper.elements.items()},
    }


def _buffers(arena):
    buffers = getattr(arena, "buffers", {})
    return {group: _freeze(buffer) for group, buffer in buffers.items()}


def _freeze(value):
    value = getattr(value, "host", value)
    if isinstance(value, np.ndarray):
        place = value.__array_interface__["data"][0]
        return value.dtype.str, value.shape, value.strides, place, value.tobytes()
    if isinstance(value, dict):
        return {key: _freeze(part) for key, part in value.items()}
    return value


class StandIn:
    """What gdopt asks of a CuPy array, for machines that have no device, or one."""

    def __init__(self, host, device=0):
        self.host = np.array(host, np.float64)
        for name in ("shape", "dtype", "strides", "size", "ndim"):
            setattr(self, name, getattr(self.host, name))
        self.device = SimpleNamespace(id=device)
        place = self.host.__array_interface__["data"][0]
        self.data = SimpleNamespace(ptr=place, mem=self.host, device_id=device)
        self.__cuda_array_interface__ = {}


@pytest.fixture
def stand_in_cupy(monkeypatch):
    """Put a module in CuPy's place whose arrays claim to be on any device."""
    module = ModuleType("cupy")
    module.ndarray = StandIn
    module.__version__ = "14.0.0"
    module.is_available = lambda: True
    unowned = type("UnownedMemory", (), {})
    block = contextlib.nullcontext
    module.cuda = SimpleNamespace(UnownedMemory=unowned, Device=block)
    monkeypatch.setitem(sys.modules, "cupy", module)
    backend._cupy.cache_clear()
    yield module
    backend._cupy.cache_clear()
