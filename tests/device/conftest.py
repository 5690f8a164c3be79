"""The device under test: a GPU where there is one, and a stand-in everywhere."""

import importlib
import os
import shutil

import fake_cupy
import pytest


def stand_in():
    """Return the stand-in; in CI its absence is a failure."""
    if shutil.which("g++") is None:
        message = "the stand-in for a GPU compiles kernels with g++: not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return fake_cupy.installed()


@pytest.fixture(params=["stand-in", pytest.param("cuda", marks=pytest.mark.gpu)])
def cp(request, monkeypatch):
    """Run the test with CuPy on a GPU, and with what stands in its place."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    if request.param == "cuda":
        yield importlib.import_module("cupy")
        return
    with stand_in() as module:
        yield module


@pytest.fixture
def fake(monkeypatch):
    """Run the test with the stand-in alone, which tells what it was asked to do."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    with stand_in() as module:
        yield module
