"""Engines move what they are given, between any number of ranks."""

import pytest
from parallel.ranks import run
from parallel.threads import on_ranks

import gdopt

KINDS = ("swap", "gather", "share", "allreduce")


def sent(job):
    """Return what each rank has sent, by the kind of call."""
    assert job.code == 0, job.text
    found = {kind: job.lines(f"check_{kind} sent") for kind in KINDS}
    return {kind: eval(lines[0]) for kind, lines in found.items()}  # noqa: S307 - ours


def expected(ranks):
    """Return the bytes of what moves.py moves."""
    others = ranks - 1
    return {
        "swap": [others * (8 * (1000 + rank) + 14) for rank in range(ranks)],
        "gather": [others * 4 * 5 * rank for rank in range(ranks)],
        "share": [2 * others * 8 * 7] * ranks,
        "allreduce": [2 * others * 200 // ranks + 2 * others * 400 // ranks] * ranks,
    }


def test_mpi_moves_arrays_and_counts_bytes():
    assert sent(run(3, "moves.py", "numpy")) == expected(3)


@pytest.mark.gpu
@pytest.mark.parametrize("ranks", [1, 3])
def test_nccl_moves_arrays_and_counts_bytes(ranks, cuda):
    assert sent(run(ranks, "moves.py", "cupy", gpus=True)) == expected(ranks)


@pytest.mark.gpu
def test_a_rank_takes_the_gpu_with_its_number(cuda):
    job = run(2, "moves.py", "cupy", "two GPUs of this process")
    assert sent(job) == expected(2)


def test_two_ranks_on_one_gpu_are_refused():
    message = "a GPU of its own, but rank 1 and rank 2 have device 0: start as many"
    with pytest.raises(gdopt.ParallelError, match=message):
        on_ranks(3, lambda r: r._refuse_shared_device(0, 0, "01"[r.rank > 0]))


@pytest.mark.gpu
def test_work_of_nccl_that_never_ends_ends_all_ranks(cuda):
    eager = {"GDOPT_CUDA_SCHEDULE": "eager"}  # as NCCL moves bytes in this process
    job = run(2, "moves.py", "cupy", "rank 1 stops", gpus=True, **eager)
    assert job.code != 0
    assert job.finds(r"swap, call \d+, of NCCL is not done after 0.5 s"), job.text
