"""The device, and what the results say about it and about its machine."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]


def is_there() -> bool:
    """Return whether there is a device."""
    try:
        import cupy  # noqa: PLC0415 - a rehearsal does without
    except ImportError:
        return False
    return bool(cupy.is_available())


DEVICE = is_there()
if os.environ.get("GDOPT_BENCH_REHEARSE") and not DEVICE:
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    import fake_cupy

    STAND_IN = fake_cupy.installed()
    STAND_IN.__enter__()
    atexit.register(STAND_IN.__exit__, None, None, None)

import cupy  # noqa: E402 - behind its stand-in
from machine import describe  # noqa: E402


def driver() -> str:
    """Return the version of the driver, as nvidia-smi shows it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return "unknown"
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"


def describe_gpu() -> dict[str, Any]:
    """Return the device, its driver and CUDA, the versions, the commit and the date."""
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "device": properties["name"].decode(),
        "driver": driver(),
        "cuda": str(cupy.cuda.runtime.runtimeGetVersion()),
        "gpu_memory": cupy.cuda.runtime.memGetInfo()[1],
        **describe(),
    }


if __name__ == "__main__":  # says which tests can be run
    sys.stdout.write("gpu" if DEVICE else "not gpu")
