"""How ranks are started: rightly, wrongly, and what only looks like it."""

import subprocess
import sys
import threading
from hashlib import sha256

import numpy as np
import pytest
import threadpoolctl
from parallel.ranks import run
from parallel.threads import on_ranks

import gdopt
from gdopt.kernels.cpu.blas import THREADS, describe_blas
from gdopt.parallel import Ranks, launch

NAMES = [*launch.LAUNCHERS, "PMIX_RANK", "WORLD_SIZE", "RANK", "LOCAL_RANK", *THREADS]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Take away what a launcher of these tests has set."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # in an allocation, without srun
        {"OMPI_COMM_WORLD_SIZE": "1", "SLURM_STEP_NUM_TASKS": "2"},  # daemons of mpirun
        {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
        {"WORLD_SIZE": "4"},  # left by somebody: there is no rank
        {"PMIX_RANK": "0"},
    ],
)
def test_one_process_is_one_rank(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with gdopt.parallel.world(timeout=5) as ranks:
        assert (ranks.rank, ranks.size, ranks.is_main) == (0, 1, True)
    assert "mpi4py" not in sys.modules


def test_torchrun_is_refused_with_what_to_start(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "2")
    block = gdopt.parallel.world()
    with pytest.raises(gdopt.ParallelError, match=r"torchrun has .* mpirun -n 4 pyt"):
        block.__enter__()


def test_without_mpi4py_a_launch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(gdopt.MissingExtraError, match=r"several ranks.*\.\[mpi\]"):
        gdopt.parallel.world().__enter__()


@pytest.mark.parametrize(
    ("name", "count", "launcher"),
    [
        ("PMI_SIZE", 4, "mpiexec of MPICH or Intel MPI has started 4 "),
        ("SLURM_STEP_NUM_TASKS", 3, "srun has started 3 "),
        ("PMIX_RANK", 2, "a launcher with PMIx has started 3 "),
    ],
)
def test_the_launcher_of_another_mpi_is_refused(name, count, launcher, monkeypatch):
    other = type("Mpi", (), {"size": 1})
    mpi = type("Module", (), {"Get_library_version": lambda: "Open MPI v5, of\nmine"})
    mpi.COMM_WORLD = other
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", mpi)
    monkeypatch.setattr(launch, "Mpi", lambda _: other)
    monkeypatch.setenv(name, str(count))
    with pytest.raises(
        gdopt.ParallelError, match=f"{launcher}.*which is Open MPI v5: "
    ):
        gdopt.parallel.world().__enter__()


def test_ranks_on_the_cpu_need_no_cupy_where_there_is_a_driver(monkeypatch):
    def missing(_):
        message = "CuPy is missing"
        raise gdopt.BackendError(message)

    monkeypatch.setattr(launch, "cuda_extra", lambda: "cuda13x")
    monkeypatch.setattr(launch, "get_backend", missing)
    launch.choose_device(None)


def test_each_process_of_another_launcher_is_refused_by_its_own_mpi():
    job = run(1, "moves.py", "numpy", SLURM_STEP_NUM_TASKS="2")
    assert job.code != 0
    assert job.finds("srun has started 2 processes, but each is alone for"), job.text


def test_ranks_with_another_version_are_refused_by_name():
    job = run(2, "another_version.py")
    assert job.code != 0
    message = (
        "the version of gdopt must be the same on all ranks, got .* on rank 0 and "
    )
    assert job.finds(f"{message}0.0.1 on rank 1"), job.text
    assert job.text.count("Traceback (most recent") == 1


def described(array):
    text = f"{array.dtype.str} (3,) ".encode() + array.tobytes()
    return f"{array.dtype} of shape (3,) with SHA-256 {sha256(text).hexdigest()[:16]}"


X = np.arange(3.0)
SAME = "must be the same on all ranks, got"
REFUSED = [
    f"lr {SAME} 0.1 on rank 0 and 0.2 on rank 1",
    f"option b {SAME} 2 on rank 0 and none on rank 2",
    f"X {SAME} {described(X)} on rank 0 and {described(X.astype('f4'))} on rank 1",
]


def refusals(ranks, compare):
    """Return what ranks say where they compare what differs."""
    texts = []
    for what, value in compare:
        with pytest.raises(gdopt.ParallelError) as caught:
            ranks.agree(what, value)
        texts.append(str(caught.value))
    return texts


def test_ranks_agree_or_all_say_what_differs():
    def compare(ranks):
        rank = ranks.rank
        ranks.agree("W", {"a": X, "b": "text", "c": None})
        differ = [
            ("lr", 0.2 if rank == 1 else 0.1),
            ("option", {"a": 1} if rank == 2 else {"a": 1, "b": 2}),
            ("X", X.astype("f4") if rank == 1 else X),
        ]
        return refusals(ranks, differ)

    assert on_ranks(3, compare) == [REFUSED] * 3


def test_arithmetic_that_differs_is_refused_unless_the_order_is_any(monkeypatch):
    own = threading.local()
    monkeypatch.setattr(launch, "describe_blas", lambda: f"that of rank {own.rank}")

    def compare(ranks):
        own.rank = ranks.rank
        ranks.communicator("numpy", order="any")
        ranks.communicator("numpy")

    message = (
        'order="tree", BLAS must .* that of rank 0 on rank 0 and that of rank 1 on'
    )
    with pytest.raises(gdopt.ParallelError, match=message):
        on_ranks(2, compare, Ranks)


@pytest.mark.parametrize(("variable", "threads"), [(None, 1), ("OMP_NUM_THREADS", 2)])
def test_blas_has_one_thread_in_the_block_unless_set(variable, threads, monkeypatch):
    if variable:
        monkeypatch.setenv(variable, "2")
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with gdopt.parallel.world():
            assert describe_blas().endswith(f"threads: {threads}")
        assert describe_blas().endswith("threads: 2")


def test_importing_gdopt_and_its_ranks_imports_no_mpi():
    code = "import gdopt, gdopt.parallel, sys; print('mpi4py' in sys.modules)"
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"False\n"
