"""What a figure depends on: the processor, the versions, the commit and the date."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("gdopt", "numpy", "numba", "cupy", "cupy-cuda12x", "cupy-cuda13x", "torch")
PACKAGES += ("jax", "jaxlib", "optax")


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Name the model of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def folder() -> Path:
    """Give the folder of this machine's results."""
    name = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*", " ", processor().lower())
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return HERE / "results" / f"{slug}-{cores()}-cores"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, Any]:
    """Give what a reader needs to judge a figure, and to measure it again."""
    return {
        "cpu": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "changed_since": _git("status", "--porcelain", "--", "../gdopt") != "",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
