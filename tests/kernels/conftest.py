"""What the tests of kernels need of the machine."""

import importlib
import os
import shutil

import pytest


@pytest.fixture(scope="session")
def cuda_text():
    """Compile the text of CUDA kernels; in CI its absence is a failure."""
    try:
        module = importlib.import_module("cuda_text")
        missing = "" if shutil.which("g++") else "g++ is not installed"
    except ImportError as error:
        missing = str(error)
    if not missing:
        return module
    if os.environ.get("CI"):
        pytest.fail(f"the text of CUDA kernels must be checked in CI: {missing}")
    return pytest.skip(missing)
