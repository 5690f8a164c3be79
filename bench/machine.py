"""What a figure depends on: the processor, the versions, the commit and the date."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import gdopt
from gdopt.cli.info import collect, processor

HERE = Path(__file__).parent
PACKAGES = ("gdopt", "numpy", "numba", "cupy", "cupy-cuda12x", "cupy-cuda13x", "torch")
PACKAGES += ("jax", "jaxlib", "optax", "pandas", "scikit-learn", "scipy")
UNKNOWN = "unknown"  # where there is no repository, or no git
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # slow down products where they lie


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def folder() -> Path:
    """Return the folder of this machine's results."""
    name = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*", " ", processor().lower())
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return HERE / "results" / f"{slug}-{cores()}-cores"


def environment(checkout: Path | None = None) -> dict[str, str]:
    """Return the variables of a process that is measured.

    It imports gdopt from the checkout, or as this process does. OpenBLAS chooses its
    kernel by the processor, whatever the machine says.
    """
    variables = {k: v for k, v in os.environ.items() if k not in FORCED}
    source = checkout or Path(gdopt.__file__).parents[1]
    before = [variables["PYTHONPATH"]] if variables.get("PYTHONPATH") else []
    return variables | {"PYTHONPATH": os.pathsep.join([str(source), *before])}


def blas_kernel() -> str:
    """Name the kernel by which NumPy multiplies in this process."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return f"{UNKNOWN}: threadpoolctl is not installed"
    from threadpoolctl import threadpool_info  # noqa: PLC0415 - may be missing

    found = [row for row in threadpool_info() if row["user_api"] == "blas"]
    kernels = (f"{row['internal_api']} {row.get('architecture')}" for row in found)
    return ", ".join(dict.fromkeys(kernels)) or UNKNOWN


def commit_of(checkout: Path) -> str:
    """Name the commit of a checkout."""
    return _git("rev-parse", "HEAD", folder=checkout)


def _git(*arguments: str, folder: Path = HERE) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Name the commit: an image that holds no repository has a variable for it."""
    return os.environ.get("GDOPT_BENCH_COMMIT") or _git("rev-parse", "HEAD")


@cache
def _info() -> dict[str, Any]:
    """Return what ``gdopt info --json`` prints, which a process does not change."""
    return collect()


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge a figure, and to measure it again."""
    changes = _git("status", "--porcelain", "--", "../gdopt")
    return {
        "cpu": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "commit": _commit(),
        "changed_since": None if changes == UNKNOWN else changes != "",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "info": _info(),
    }
