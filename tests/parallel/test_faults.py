"""A rank that fails ends all ranks, with one error that says why.

`often.py` does the same many times, and measures how long the ends take.
"""

import pytest
from parallel.hosts import two_hosts
from parallel.ranks import is_open_mpi, launcher, run

LONG = 300  # seconds: a launch that ends sooner was not ended by the timeout
CALL = r"(swap|share|the end), call 19"
BOTH = rf"rank \d has come to {CALL}, and rank \d to {CALL}"
FAULTS = {  # each with the timeout of the ranks, and with what is shown
    "raises": (LONG, "ValueError: the user's own error"),
    "exits": (LONG, r"rank 1 called sys.exit\(0\) inside the block of gdopt"),
    "another is interrupted": (LONG, "KeyboardInterrupt"),
    "killed": (LONG, "signal 9|SIGNALED: Killed|KILLED BY SIGNAL: 9"),
    "stopped": (1, r"swap, call 19 within 1 s, but rank 1 did not: see what"),
    "one call less": (LONG, BOTH),
    "another call": (LONG, BOTH),
    "does not come": (2, "in _wait_for_all_ranks_to_come_to_world"),
}


@pytest.mark.newest
@pytest.mark.parametrize("fault", FAULTS)
def test_all_ranks_end_and_one_says_why(fault):
    timeout, shown = FAULTS[fault]
    job = run(3, "one_fault.py", fault, timeout)
    assert job.code != 0
    assert job.finds(shown), job.text
    # Ranks that each find it by themselves may show it before they hear of another's.
    most = 3 if shown is BOTH else 1
    assert job.text.count("Traceback (most recent") <= most, job.text
    assert "DONE" not in job.text
    assert "FAULT" in job.text


def test_with_ulfm_all_others_hear_which_rank_died():
    if not is_open_mpi():
        pytest.skip("ULFM is Open MPI's")
    job = run(
        4, "one_fault.py", "killed", LONG, launch=[launcher(), "--with-ft", "ulfm"]
    )
    assert job.code != 0
    noticed = job.lines("NOTICED")
    assert len(noticed) == 3, job.text
    assert all("rank 1 died before" in line for line in noticed), noticed
    assert job.text.count("Traceback (most recent") <= 2, job.text  # MPI's, gdopt's


@pytest.mark.newest
def test_arrays_that_are_shorter_or_longer_are_refused_on_both_sides():
    noticed = run(3, "one_fault.py", "another shape", LONG).lines("NOTICED")
    assert any("rank 0 must get 8000 bytes from rank 1" in line for line in noticed)
    assert any("rank 1 must get 7992 bytes from rank 0" in line for line in noticed)


@pytest.mark.newest
def test_ranks_end_where_the_link_to_another_host_is_down(tmp_path):
    if not is_open_mpi():
        pytest.skip("the hosts are started by Open MPI's mpirun")
    with two_hosts(tmp_path) as launch:
        job = run(4, "one_fault.py", "unplugged", 1, launch=launch, stuck=True)
    noticed = job.lines("NOTICED")  # by those that can still be heard
    assert len(noticed) == 2, job.text
    named = [line for line in noticed if "within 1 s, but rank " in line]
    assert all("rank 3 did not" in line for line in named)
    assert named, noticed  # where one of them was first, the other one says so
