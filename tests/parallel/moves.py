"""What an engine moves, compared with what NumPy makes: moves.py BACKEND [HOW]."""

import sys
import time

import numpy as np

import gdopt
from gdopt import parallel
from gdopt.parallel import mpi


def on_cpu(devices=1):
    """Show devices that run on the CPU."""
    import cuda_on_cpu

    cuda_on_cpu.prepare()
    cuda_on_cpu.get_device().show(devices)


def arrays_of(rank):
    """Return what a rank holds: also nothing, and halves."""
    rng = np.random.default_rng(rank)
    return [
        rng.standard_normal(1000 + rank),
        np.zeros(0),
        np.arange(7, dtype="f2") + rank,
    ]


def check_swap(engine, backend):
    """Send each array to all other ranks."""
    others = [rank for rank in range(engine.size) if rank != engine.rank]
    for place in range(3):
        own = backend.from_host(arrays_of(engine.rank)[place])
        homes = {rank: backend.from_host(arrays_of(rank)[place] * 0) for rank in others}
        engine.swap([(rank, own) for rank in others], [*homes.items()])
        for rank, home in homes.items():
            np.testing.assert_array_equal(backend.to_host(home), arrays_of(rank)[place])


def check_gather(engine, backend):
    """Let each rank write its part of a buffer, one of which is empty."""
    bounds = [0, *np.cumsum([5 * rank for rank in range(engine.size)])]
    whole = np.arange(bounds[-1], dtype="f4")
    buffer = backend.from_host(np.full_like(whole, -1))
    low, high = bounds[engine.rank : engine.rank + 2]
    buffer[low:high] = backend.from_host(whole[low:high])
    engine.gather(buffer, bounds)
    np.testing.assert_array_equal(backend.to_host(buffer), whole)


def check_share(engine, backend):
    """Stack numbers of all ranks, which may lie on the device."""
    for shape in ((), (2, 3), (0,)):
        own = np.full(shape, engine.rank + 0.5)
        expected = np.stack([own - engine.rank + rank for rank in range(engine.size)])
        for values in (own, backend.from_host(own)):
            found = engine.share(values)
            assert type(found) is np.ndarray
            np.testing.assert_array_equal(found, expected)


def check_allreduce(engine, backend):
    """Add up whole numbers, whose sum has the same bits in any order."""
    for dtype in ("f4", "f8"):
        buffer = backend.from_host(np.arange(50, dtype=dtype) * (engine.rank + 1))
        engine.allreduce(buffer)
        total = np.arange(50, dtype=dtype) * sum(range(engine.size + 1))
        np.testing.assert_array_equal(backend.to_host(buffer), total)


def main(name, how=None):
    two = how == "two GPUs of this process"
    if name == "cupy":
        on_cpu(2 if two else 1)
    mpi.LONGEST = 1000  # arrays are cut
    stops = how == "rank 1 stops"
    with parallel.world(timeout=60) as ranks:
        ranks.timeout = 0.5 if stops else 60
        backend = gdopt.get_backend(name)
        engine = ranks.communicator(name, order="any" if two else "tree")
        if stops and ranks.rank == 1:
            time.sleep(60)
        for check in (check_swap, check_gather, check_share, check_allreduce):
            before = engine.sent
            check(engine, backend)
            sent = ranks.share(np.array([engine.sent - before]))[:, 0]
            if ranks.is_main:
                sys.stdout.write(f"{check.__name__} sent {[*map(int, sent)]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
