"""How this process was started: by which launcher, and as one of how many ranks."""

from __future__ import annotations

import os
import sys
from typing import Any

from gdopt.errors import ParallelError
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
    host = Mpi(timeout)
    if host.size == 1:
        library = sys.modules["mpi4py.MPI"].Get_library_version().split(",")[0]
        message = (
            f"{launcher} has started {count} processes, but each is alone for the MPI "
            f"of mpi4py, which is {library.splitlines()[0].strip()}: start them with "
            "its mpiexec, or install mpi4py for the MPI of this launcher"
        )
        raise ParallelError(message)
    return host


def launched() -> tuple[int, str]:
    """Return how many processes a launcher of MPI has started, and its name."""
    for name, launcher in LAUNCHERS.items():
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name]), launcher
    if int(os.environ.get("PMIX_RANK", "0")) > 0:  # all that PMIx itself sets
        return int(os.environ["PMIX_RANK"]) + 1, "a launcher with PMIx"
    return 1, ""


def _refuse_torchrun() -> None:
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1" and {"RANK", "LOCAL_RANK"} & os.environ.keys():
        message = (
            f"torchrun has started {count} processes, which only torch would let meet: "
            f"start them with mpirun -n {count} python ..."
        )
        raise ParallelError(message)
