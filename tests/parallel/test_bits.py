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
def alone():
    """Return the bits of one process: of parameters, state and norms."""
    (found,) = bits(run(1, "bits.py"))
    clipped = int(found.split()[3])
    assert 0 < clipped < 12  # of 12 steps
    return found


@pytest.mark.newest
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_ranks_of_mpi_have_the_bits_of_one_process(ranks):
    assert bits(run(ranks, "bits.py")) == [alone()] * ranks


@pytest.mark.gpu
def test_ranks_of_nccl_have_the_bits_of_one_process(cuda):
    (expected,) = bits(run(1, "bits.py", "cupy"))
    assert bits(run(4, "bits.py", "cupy", gpus=True)) == [expected] * 4


@pytest.mark.newest
def test_two_hosts_with_two_ranks_each_have_the_bits_of_one_process(tmp_path):
    if not is_open_mpi():
        pytest.skip("the hosts are started by Open MPI's mpirun")
    with two_hosts(tmp_path) as launch:
        job = run(4, "bits.py", launch=launch)
    assert bits(job) == [alone()] * 4
