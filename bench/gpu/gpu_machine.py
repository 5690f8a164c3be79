"""What the GPU suite runs with, and what its results say about the machine."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
if os.environ.get("GDOPT_BENCH_REHEARSE"):  # a stand-in for CuPy, on small arrays
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    import fake_cupy

    STAND_IN = fake_cupy.installed()
    STAND_IN.__enter__()
    atexit.register(STAND_IN.__exit__, None, None, None)

import cupy  # noqa: E402 - behind its stand-in
import pytest  # noqa: E402
from machine import describe  # noqa: E402


def driver():
    """Return the version of the driver, as nvidia-smi shows it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return "unknown"
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"


def device():
    """Name the device, its driver and what computes on it."""
    number = cupy.cuda.Device().id
    properties = cupy.cuda.runtime.getDeviceProperties(number)
    return {
        "device": properties["name"].decode(),
        "driver": driver(),
        "cuda": str(cupy.cuda.runtime.runtimeGetVersion()),
    }


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_machine_info():
    found = describe()
    found["commit"] = os.environ.get("GDOPT_BENCH_COMMIT", found["commit"])
    return device() | found
