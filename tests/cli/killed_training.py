"""A program that runs gdopt train, and may kill itself at a number of calls.

    killed_training.py MOMENT ARGUMENT...

A moment is a number of calls, of Python or C, since the run's settings were written;
0 prints how many there are.
"""

import itertools
import os
import signal
import sys
from types import SimpleNamespace

from gdopt.cli import main, train
from gdopt.training import checkpoints

calls = itertools.count(1)


def run(at, arguments):
    """Run the command, and return its exit code."""
    # Seconds pass at each look, whatever the time: checkpoints are written on the way.
    looks = itertools.count(step=9)
    checkpoints.time = SimpleNamespace(monotonic=looks.__next__)

    def watch(frame, event, arg):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_settings(path, content, write=train.write_json):
        write(path, content)
        sys.setprofile(watch)

    train.write_json = write_settings
    code = main(arguments)
    sys.setprofile(None)
    return code


if __name__ == "__main__":
    moment, *given = sys.argv[1:]
    ended = run(int(moment), given)
    if ended == 0 and int(moment) == 0:
        sys.stdout.write(f"calls {next(calls)}\n")
    sys.exit(ended)
