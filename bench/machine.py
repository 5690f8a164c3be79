"""What a figure depends on: the processor, the versions, the commit and the date."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from gdopt.cli.info import collect, processor

HERE = Path(__file__).parent
PACKAGES = ("gdopt", "numpy", "numba", "cupy", "cupy-cuda12x", "cupy-cuda13x", "torch")
PACKAGES += ("jax", "jaxlib", "optax", "pandas", "scikit-learn")
UNKNOWN = "unknown"  # where there is no repository, or no git


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


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
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
