"""Measures everything on this machine and renews README.md: ``python bench``."""

import subprocess
import sys
from pathlib import Path

from machine import HERE, folder
from ratios import MISSED


def commands(results: Path) -> list[list[str]]:
    """List what to run, each in a process of its own."""
    ratios, speed = results / "ratios.json", results / "speed.json"
    notes = results / "notes.json"
    suite = ["--benchmark-disable-gc", "--benchmark-max-time=0.5", "-q", "-rs"]
    return [
        [str(HERE / "ratios.py"), "--json", str(ratios)],
        ["-m", "pytest", str(HERE), f"--benchmark-json={speed}", *suite],
        [str(HERE / "notes.py"), "--json", str(notes)],
        [str(HERE / "table.py"), str(results), "--write"],
    ]


def main() -> int:
    """Stop where a measurement fails; a missed target is a measurement too."""
    results = folder()
    results.mkdir(parents=True, exist_ok=True)
    missed = 0
    for command in commands(results):
        done = subprocess.run([sys.executable, *command], check=False)  # noqa: S603 - its own scripts
        if done.returncode not in {0, MISSED}:
            return done.returncode
        missed = missed or done.returncode
    return missed


if __name__ == "__main__":
    sys.exit(main())
