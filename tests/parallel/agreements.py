"""What three ranks agree on, and what is said where they do not."""

import contextlib
import os
import sys

import numpy as np

import gdopt
from gdopt import parallel
from gdopt.parallel import launch


@contextlib.contextmanager
def refused(ranks):
    """Print the error that all ranks raise, and go on."""
    try:
        yield
    except gdopt.ParallelError as error:
        sys.stdout.write(f"rank {ranks.rank}: {error}\n")
    else:
        message = "nothing was refused"
        raise AssertionError(message)


def agree(ranks):
    rank, array = ranks.rank, np.arange(3.0)
    ranks.agree("W", {"a": array, "b": "text", "c": None})
    with refused(ranks):
        ranks.agree("lr", 0.2 if rank == 1 else 0.1)
    with refused(ranks):
        ranks.agree("option", {"a": 1} if rank == 2 else {"a": 1, "b": 2})
    with refused(ranks):
        ranks.agree("X", array.astype("f4") if rank == 1 else array)
    launch.describe_blas = lambda: "that of rank 2" if rank == 2 else "mine"
    ranks.communicator("numpy", order="any")
    with refused(ranks):
        ranks.communicator("numpy")


def main(unlike=""):
    own = os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK"))
    if unlike and own == "2":
        launch.__version__ = "0.0.1"
    with parallel.world(timeout=60) as ranks:
        agree(ranks)


if __name__ == "__main__":
    main(*sys.argv[1:])
