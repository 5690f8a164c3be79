"""How this process was started, and what of its surroundings its bits depend on."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.metadata
import os
import platform
import sys
from typing import Any

from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from gdopt import __version__
from gdopt.arrays.backend import cuda_extra, get_backend
from gdopt.errors import BackendError, ParallelError
from gdopt.kernels.cpu.blas import THREADS, can_limit_blas, describe_blas
from gdopt.kernels.kernel import cpu_engine
from gdopt.parallel.communicator import Single
from gdopt.parallel.mpi import Mpi

# Each launcher's variable with the number of processes. In an allocation of Slurm,
# SLURM_NTASKS says how many may be started: SLURM_STEP_NUM_TASKS, how many were. It
# comes last, as mpirun starts its own daemons by srun.
LAUNCHERS = {
    "OMPI_COMM_WORLD_SIZE": "mpirun of Open MPI",
    "MV2_COMM_WORLD_SIZE": "mpirun of MVAPICH",
    "PMI_SIZE": "mpiexec of MPICH or Intel MPI",
    "SLURM_STEP_NUM_TASKS": "srun",
}


def connect(timeout: float) -> Single | Mpi:
    """Meet the other ranks that the launcher has started, if any.

    Raises:
        ParallelError: the launcher has started several processes that would not meet.
        MissingExtraError: it has, and mpi4py is missing.
    """
    count, launcher = launched()
    mpi: Any = sys.modules.get("mpi4py.MPI")
    if count == 1 and (mpi is None or mpi.COMM_WORLD.size == 1):
        _refuse_torchrun()
        return Single()
    host = _wait_for_all_ranks_to_come_to_world(timeout)
    if host.size == 1:
        library = sys.modules["mpi4py.MPI"].Get_library_version().split(",")[0]
        raise ParallelError(
            f"{launcher} has started {count} processes, but each is alone for the MPI "
            f"of mpi4py, which is {library.splitlines()[0].strip()}: start them with "
            "its mpiexec, or install mpi4py for the MPI of this launcher"
        )
    return host


def _wait_for_all_ranks_to_come_to_world(timeout: float) -> Mpi:
    """Initialize MPI, whose waits have no end and hold the interpreter meanwhile."""
    shown = sys.__stderr__ or sys.stderr
    faulthandler.dump_traceback_later(timeout, exit=True, file=shown)
    try:
        return Mpi(timeout)
    finally:
        faulthandler.cancel_dump_traceback_later()


def launched() -> tuple[int, str]:
    """Return how many processes a launcher of MPI has started, and its name."""
    for name, launcher in LAUNCHERS.items():
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name]), launcher
    if os.environ.get("PMIX_RANK", "0") != "0":  # PMIx itself says no more
        return int(os.environ["PMIX_RANK"]) + 1, "a launcher with PMIx"
    return 1, ""


def _refuse_torchrun() -> None:
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1" and {"RANK", "LOCAL_RANK"} & os.environ.keys():
        raise ParallelError(
            f"torchrun has started {count} processes, which only torch would let meet: "
            f"start them with mpirun -n {count} python ..."
        )


def choose_device(host: Mpi) -> None:
    """Make the GPU with this rank's number on its machine the current one, if any."""
    if cuda_extra() is not None:
        with contextlib.suppress(BackendError):  # there may be a driver without CuPy
            cuda = get_backend("cupy").xp.cuda
            count = cuda.runtime.getDeviceCount()
            cuda.Device(host.node.index(host.rank) % count).use()


def versions() -> dict[str, str]:
    """Return the versions that must be the same on all ranks."""
    found = {"gdopt": __version__, "Python": platform.python_version()}
    names = ["numpy", *(["numba", "llvmlite"] if cpu_engine() == "numba" else [])]
    return found | {name: importlib.metadata.version(name) for name in names}


def device() -> tuple[int, str]:
    """Return the number of the current GPU, and which ones this process sees."""
    number = get_backend("cupy").xp.cuda.Device().id
    return number, os.environ.get("CUDA_VISIBLE_DEVICES", "all")


def arithmetic(backend: str) -> dict[str, str]:
    """Return what decides the bits of a backend's results."""
    if backend == "cupy":
        cupy = get_backend("cupy").xp
        properties = cupy.cuda.runtime.getDeviceProperties(device()[0])
        cuda = cupy.cuda.runtime.runtimeGetVersion()
        return {
            "the GPU": properties["name"].decode(),
            "the version of CuPy": cupy.__version__,
            "the version of CUDA": f"{cuda}",
        }
    if not can_limit_blas() and not any(name in os.environ for name in THREADS):
        raise ParallelError(
            f"the number of threads of BLAS must be set, as bits depend on it, but "
            f"{describe_blas()} is left to itself: mpirun -x OMP_NUM_THREADS=1 ..."
        )
    has = _multiarray_umath.__cpu_features__
    instructions = [n for n in _multiarray_umath.__cpu_dispatch__ if has[n]]
    return {
        "the engine of kernels": cpu_engine(),
        "BLAS": describe_blas(),
        "NumPy's instructions": ", ".join(instructions),
    }
