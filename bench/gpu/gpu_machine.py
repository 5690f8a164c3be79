"""The device, and what the results say about it and about its machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]


if os.environ.get("GDOPT_BENCH_REHEARSE"):
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    import cuda_on_cpu

    if not cuda_on_cpu.has_gpu():
        cuda_on_cpu.prepare()
        cuda_on_cpu.get_device().show(1)

import cupy  # noqa: E402 - over the runtime of a rehearsal
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
