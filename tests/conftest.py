"""What all tests share: the engines, a cache of their own, and "nothing changed"."""

import contextlib
import os
import shutil
import tempfile

import numpy as np
import pytest

import gdopt


def pytest_configure(config):
    """Keep the loops that tests compile out of the user's cache."""
    if "GDOPT_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="gdopt-tests-")
        os.environ["GDOPT_CACHE_DIR"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_runtest_setup(item):
    """Skip, visibly, what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        try:
            gdopt.get_backend("cupy")
        except gdopt.BackendError as error:
            pytest.skip(str(error))


@pytest.fixture(params=["numpy", "numba"])
def engine(request, monkeypatch):
    """Run the test on each engine of the CPU."""
    if request.param == "numba":
        pytest.importorskip("numba")
    monkeypatch.setenv("GDOPT_CPU_ENGINE", request.param)
    return request.param


@pytest.fixture
def numpy_engine(monkeypatch):
    """Run the test on NumPy alone, where the engine does not matter."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")


@pytest.fixture
def unchanged():
    """Give ``unchanged(optimizer)``: a block that must change nothing of it."""
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
    if isinstance(value, np.ndarray):
        place = value.__array_interface__["data"][0]
        return value.dtype.str, value.shape, value.strides, place, value.tobytes()
    if isinstance(value, dict):
        return {key: _freeze(part) for key, part in value.items()}
    return value
