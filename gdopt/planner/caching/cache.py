"""Plans on disk, by device, driver, versions and a hash of the step."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.files import cache_folder, write_whole
from gdopt.kernels.kernel import cpu_engine
from gdopt.planner.caching.fingerprint import UnknownCodeError, fingerprint
from gdopt.planner.plan import FORMAT, Plan


class Cache:
    """One plan's place in the cache.

    Args:
        used: whether there is a cache at all.
        name: of the device.
        parts: what the plan depends on: the step, shapes, arguments.
    """

    def __init__(self, name: str, parts: tuple[Any, ...], *, used: bool) -> None:
        self.notices: list[str] = []
        self.path: Path | None = None
        if not used:
            return
        try:
            key = fingerprint(FORMAT, surroundings(name), parts)
        except UnknownCodeError as error:
            self.notices.append(f"the plan is not cached: {error}")
            return
        self.path = cache_folder() / "plans" / f"{key[:32]}.json"

    def load(self) -> Plan | None:
        """Read the plan, if there is one; a damaged file is told of and left alone."""
        if self.path is None:
            return None
        try:
            plan = _read(self.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            self.notices.append(f"the cached plan {self.path} is ignored: {reason}")
            return None
        plan.cached = True
        return plan

    def store(self, plan: Plan) -> None:
        """Write the plan whole or not at all; where that is impossible, say so."""
        if self.path is None:
            return
        content = plan.to_dict()
        text = json.dumps({"sha256": _sum(content), "plan": content}, allow_nan=False)
        try:
            write_whole(self.path, text)
        except OSError as error:
            plan.notices.append(f"the plan could not be cached: {error}")


def _read(path: Path) -> Plan:
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["sha256"] != _sum(saved["plan"]):
        message = "its checksum is wrong"
        raise ValueError(message)
    return Plan.from_dict(saved["plan"])


def _sum(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def surroundings(device: str) -> dict[str, Any]:
    """Give what measurements depend on beside the step."""
    cupy: Any = None if device.startswith("cpu") else sys.modules.get("cupy")
    runtime = None if cupy is None else cupy.cuda.runtime
    return {
        "device": device,
        "driver": runtime.driverGetVersion() if runtime else None,
        "cuda": runtime.runtimeGetVersion() if runtime else None,
        "gdopt": sys.modules["gdopt"].__version__,
        "numpy": np.__version__,
        "cupy": None if cupy is None else cupy.__version__,
        "engine": cpu_engine(),
        "python": platform.python_version(),
        "machine": platform.node(),
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
