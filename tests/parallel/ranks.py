"""Starts ranks: as root, more than there are cores, and for a limited time."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

import gdopt

HERE = Path(__file__).parent
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # ranks share cores
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OPENBLAS_NUM_THREADS": "1",
    "GDOPT_CPU_ENGINE": "numpy",  # starts in half the time
    "PYTHONDONTWRITEBYTECODE": "1",
}
MARK = "GDOPT_TEST_JOB"  # in the environment of all processes of a launch


@dataclass(frozen=True)
class Job:
    """How a launch has ended."""

    code: int
    text: str  # of all ranks, and of the launcher
    ended: float  # when the last process had, as time.time() says it

    def lines(self, start):
        """Return the rest of the lines that start so, sorted."""
        found = [line for line in self.text.splitlines() if line.startswith(start)]
        return sorted(line.removeprefix(start).strip() for line in found)

    def finds(self, pattern):
        """Return whether a pattern is in what was printed."""
        return re.search(pattern, self.text) is not None


def launcher():
    """Return the path of mpirun, or skip the test; its absence in CI is a failure."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if not found or not importlib.util.find_spec("mpi4py"):
        always = os.environ.get("CI") and sys.platform == "linux"
        stop = pytest.fail if always else pytest.skip
        stop("needs mpi4py and an MPI: the extra test brings them")
    return found


def is_open_mpi():
    """Return whether the launcher is Open MPI's."""
    return Path(launcher()).with_name("ompi_info").exists()


def run(
    ranks,
    script,
    *arguments,
    launch=(),
    limit=60,
    stuck=False,
    gpus=False,
    **environment,
):
    """Run a script of this folder on that many ranks.

    Args:
        ranks: how many; one is started without a launcher.
        script: a file of this folder, and its arguments.
        launch: the words that start a launcher, with options; `launcher()` by default.
        limit: seconds after which all is killed, and the test fails.
        stuck: whether the launcher does not end by itself: it is killed when no rank
            is left.
        gpus: whether each rank has a GPU of its own.
        environment: variables.
    """
    job = uuid.uuid4().hex
    words = [sys.executable, HERE / script, *arguments]
    if gpus:
        number = "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}"
        words = ["sh", "-c", f'CUDA_VISIBLE_DEVICES={number} exec "$0" "$@"', *words]
    if ranks > 1:
        words = [*(launch or [launcher()]), "-n", ranks, *words]
    paths = [HERE.parent, Path(gdopt.__file__).parents[1]]
    known = {"PYTHONPATH": os.pathsep.join(map(str, paths)), MARK: job}
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [*map(str, words)],
            env=os.environ | ENVIRONMENT | known | environment,
            cwd=folder,  # into which NCCL on the CPU writes its messages
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        if stuck:
            threading.Thread(target=kill_launcher_without_ranks, args=[job]).start()
        try:
            text, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            hung = kill_processes_of(
                job
            )  # a launcher gives its ranks groups of their own
            text, _ = process.communicate()
            pytest.fail(f"{script} on {ranks} ranks hung for {limit} s: {hung}\n{text}")
        while processes_of(job) and time.time() < start + limit:
            time.sleep(0.05)  # a launcher may end before the last of its ranks
        ended = time.time()
        left = kill_processes_of(job)
    assert not left, f"processes were left: {left}\n{text}"
    return Job(process.returncode, text, ended)


def processes_of(job):
    """Find the processes of a launch by their environment: numbers and commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={job}".encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def kill_processes_of(job):
    """Kill what is left of a launch, and return the commands."""
    found = processes_of(job)
    for number in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return [*found.values()]


def kill_launcher_without_ranks(job):
    """Wait until all ranks have ended, and kill what is left."""
    seen = False
    while found := processes_of(job):
        ranks = [c for c in found.values() if c.startswith(sys.executable.encode())]
        if seen and not ranks:
            kill_processes_of(job)
        seen = seen or bool(ranks)
        time.sleep(0.1)
