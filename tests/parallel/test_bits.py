"""Any number of ranks on any number of hosts has the bits of one process."""

import functools

import pytest
from parallel.hosts import two_hosts
from parallel.ranks import is_open_mpi, run


def bits(job):
    """Return the bits that the ranks print, each as often as it was printed."""
    assert job.code == 0, job.text
    return job.lines("BITS")


@functools.cache
def alone(engine="numpy"):
    """Return the bits of one process: of parameters, state and norms."""
    (found,) = bits(run(1, "bits.py", GDOPT_CPU_ENGINE=engine))
    clipped = int(found.split()[3])
    assert 0 < clipped < 12  # of 12 steps
    return found


@pytest.mark.newest
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_ranks_of_mpi_have_the_bits_of_one_process(ranks):
    assert bits(run(ranks, "bits.py")) == [alone()] * ranks


def test_so_have_those_that_compile():
    pytest.importorskip("numba", exc_type=ImportError)
    job = run(2, "bits.py", GDOPT_CPU_ENGINE="numba")
    assert bits(job) == [alone("numba")] * 2


@pytest.mark.gpu
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_of_nccl_have_the_bits_of_one_process(ranks, cuda):
    job = run(ranks, "bits.py", "cupy", gpus=True)
    assert bits(job) == [alone("numba")] * ranks


@pytest.mark.newest
def test_two_hosts_with_two_ranks_each_have_the_bits_of_one_process(tmp_path):
    if not is_open_mpi():
        pytest.skip("the hosts are started by Open MPI's mpirun")
    with two_hosts(tmp_path) as launch:
        job = run(4, "bits.py", launch=launch)
    assert bits(job) == [alone()] * 4
