"""``gdopt info``: engines, devices, versions, and the environment that matters."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import metadata
from typing import Any

from gdopt import __version__
from gdopt.arrays import get_backend
from gdopt.errors import GdoptError
from gdopt.kernels.kernel import cpu_engine

EXAMPLES = """\
examples:
  gdopt info
  gdopt info --json
"""
PACKAGES = {
    "numpy": ("numpy",),
    "numba": ("numba",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "scikit-learn": ("scikit-learn",),
    "matplotlib": ("matplotlib",),
    "rich": ("rich",),
}
# The number of threads decides the order of sums in a matrix product, and so its bits.
VARIABLES = (
    "GDOPT_BACKEND",
    "GDOPT_CPU_ENGINE",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="tell engines, devices and versions",
        description="Tell engines, devices, versions and the environment that matters.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="for programs to read")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what `collect` found, as lines or as JSON."""
    found = collect()
    text = json.dumps(found, indent=2) if arguments.json else _lines(found)
    sys.stdout.write(text + "\n")
    return 0


def collect() -> dict[str, Any]:
    """Gather what `surroundings` does, and the GPU, for which CuPy is imported."""
    gpu = _asked(lambda: get_backend("cupy").describe())
    return {**surroundings(), "gpu": gpu}


def surroundings() -> dict[str, Any]:
    """Gather what the bits of a result may depend on; nothing is imported for it."""
    return {
        "gdopt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(options) for name, options in PACKAGES.items()},
        "cpu_engine": _asked(cpu_engine),
        "environment": {name: os.environ.get(name) for name in VARIABLES},
    }


def _version(distributions: tuple[str, ...]) -> str | None:
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _asked(question: Any) -> str:
    """Give the answer, or the error that says why there is none."""
    try:
        return str(question())
    except GdoptError as error:
        return f"none: {error}"


def _lines(found: dict[str, Any]) -> str:
    rows = [
        ("gdopt", found["gdopt"]),
        ("Python", f"{found['python']} on {found['platform']} {found['machine']}"),
        ("CPUs", found["cpus"]),
        ("CPU engine", found["cpu_engine"]),
        ("GPU", found["gpu"]),
        *((name, version or "-") for name, version in found["packages"].items()),
        *((name, value) for name, value in found["environment"].items() if value),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)
