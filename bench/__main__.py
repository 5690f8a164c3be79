"""Measures everything on this machine, and renews README.md.

    python bench [--out FOLDER] [--only NAME] [--quick]

With ``--out`` the figures go there alone, and README.md stays as it is.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from interleave import MISSED
from machine import HERE, environment, folder

INTERRUPTED = 130  # as shells have it for Ctrl-C


def commands(
    results: Path,
    *,
    only: str | None = None,
    quick: bool = False,
    renew: bool = True,
) -> list[list[str]]:
    """List what to run, each in a process of its own.

    Args:
        results: the folder for the figures.
        only: words by which `speed.py` finds its cases: nothing but the time of a step
            is measured then.
        quick: try everything on small arrays.
        renew: write the tables into README.md.
    """
    ratios, speed, *others = (
        [str(HERE / f"{name}.py"), "--json", str(results / f"{name}.json")]
        + ["--quick"] * quick
        for name in ("ratios", "speed", "averages", "estimators", "notes")
    )
    if only:
        return [[*speed, "--only", only]]
    table = [[str(HERE / "table.py"), str(results), "--write"]] * renew
    return [ratios, speed, *others, *table]


def main(arguments: Sequence[str] = ()) -> int:
    """Stop where a measurement fails; a missed target is a measurement too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    text = "for the figures; README.md stays as it is then"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=text)
    text = "only the time of a step, in cases with these words in their names"
    parser.add_argument("--only", metavar="NAME", help=text)
    text = "try everything on small arrays; needs --out"
    parser.add_argument("--quick", action="store_true", help=text)
    options = parser.parse_args(arguments)
    if options.out is None and (options.only or options.quick):
        parser.error("--only and --quick need --out: README.md shows whole runs alone")
    results = folder() if options.out is None else options.out.resolve()
    results.mkdir(parents=True, exist_ok=True)
    missed = 0
    for command in commands(
        results, only=options.only, quick=options.quick, renew=options.out is None
    ):
        done = subprocess.run(  # noqa: S603 - its own scripts
            [sys.executable, *command], env=environment(), check=False
        )
        if done.returncode not in {0, MISSED}:
            return done.returncode
        missed = missed or done.returncode
    return missed


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # what it runs has been told, too
        sys.exit(INTERRUPTED)
