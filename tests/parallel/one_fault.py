"""Ranks, one of which does one thing wrong: one_fault.py FAULT TIMEOUT."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

import gdopt
from gdopt import parallel


def say(word, *more):
    sys.stdout.write(f"{word} {time.time():.3f} {' '.join(map(str, more))}\n")
    sys.stdout.flush()


def steps(ranks, fault):
    """Exchange as training does: a swap, a gather and a share in every step."""
    buffer = np.zeros(ranks.size * 1000)
    bounds = [1000 * rank for rank in range(ranks.size + 1)]
    engine = ranks.communicator("numpy")
    first = int(ranks.share(np.array([os.getpid()]))[0, 0])
    others = [rank for rank in range(ranks.size) if rank != ranks.rank]
    for step in range(10):
        victim = 3 if fault == "unplugged" else 1
        if ranks.rank == victim and step == 5:
            say("FAULT")
            if not go_wrong(engine, fault, first):
                return
        received = {rank: np.empty(1000) for rank in others}
        own = buffer[bounds[ranks.rank] : bounds[ranks.rank + 1]]
        own += ranks.rank + step
        engine.swap([(rank, own) for rank in others], [*received.items()])
        engine.gather(buffer, bounds)
        ranks.share(np.array([buffer.sum()]))


def go_wrong(engine, fault, first):
    """Do what is wrong; return whether to go on."""
    match fault:
        case "raises":
            message = "the user's own error"
            raise ValueError(message)
        case "exits":
            sys.exit(0)
        case "another is interrupted":  # while it waits
            time.sleep(0.5)
            os.kill(first, signal.SIGINT)
            time.sleep(60)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "unplugged":  # the link of its host goes down
            words = [shutil.which("ip"), "link", "set", "eth0", "down"]
            subprocess.run(words, check=True)
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "another call":
            engine.share(np.zeros(1))
        case "another shape":
            engine.swap([(0, np.empty(999))], [(0, np.empty(999))])
    return fault != "one call less"


def main(fault, timeout):
    if fault == "does not come":
        say("FAULT")
        if int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK"))) == 1:
            time.sleep(60)
    start = timeout if fault == "does not come" else 300.0
    with parallel.world(timeout=start) as ranks:
        ranks._host._timeout = timeout  # in which MPI need not start
        try:
            steps(ranks, fault)
        except gdopt.ParallelError as error:
            say("NOTICED", error)
            raise
    say("DONE")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(sys.argv[1], float(sys.argv[2]))
