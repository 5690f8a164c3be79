"""Makes faults many times, and prints how long the ends took: often.py TIMES [FAULT].

Run it from the checkout with PYTHONPATH=tests, by an interpreter that has the MPI.
"""

import re
import sys

from parallel.ranks import is_open_mpi, launcher, run
from parallel.test_faults import FAULTS, LONG


def seconds_until_the_end(fault, timeout, *options):
    """Make a fault; return the seconds until all has ended, and until others notice."""
    launch = [launcher(), *options]
    job = run(4, "one_fault.py", fault, timeout, launch=launch)
    assert job.code != 0, job.text
    assert options or job.finds(FAULTS[fault][1]), job.text
    times = {
        word: [float(seconds) for seconds in re.findall(rf"{word} ([\d.]+)", job.text)]
        for word in ("FAULT", "NOTICED")
    }
    began = min(times["FAULT"])
    return job.ended - began, max(times["NOTICED"], default=began) - began


def main(times, *faults):
    cases = [(fault, FAULTS[fault][0]) for fault in faults or FAULTS]
    if is_open_mpi() and not faults:
        cases.append(("killed", LONG, "--with-ft", "ulfm"))
    for case in cases:
        ends = [seconds_until_the_end(*case) for _ in range(times)]
        end, noticed = (sorted(column) for column in zip(*ends, strict=True))
        sys.stdout.write(
            f"{' '.join(map(str, case)):30} {times} times: all over after "
            f"{end[times // 2]:.2f} s, at most {end[-1]:.2f} s; noticed after at most "
            f"{noticed[-1]:.2f} s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
