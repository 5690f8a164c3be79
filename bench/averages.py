"""Measures how fast a long series is averaged: gdopt.ewa beside pandas' ewm."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from adapters import Contender
from claims import plain
from interleave import MISSED, Effort, Side, interleave
from machine import describe

import gdopt

FULL = Effort(makes=3, rounds=3, seconds=0.05)
QUICK = Effort(makes=2, rounds=1, seconds=0.001)
VALUES, FEW = 10**7, 10**4
BETA, TARGET = 0.9, 2.0
HEAD = ("average", "gdopt.ewa", "pandas ewm", "times as fast (quartiles)", "met")
HELP = """\
examples:
  python bench/averages.py                  half a minute; leave the machine alone
  python bench/averages.py --values 1000000 --json averages.json
  python bench/averages.py --quick          tries everything, and judges nothing

Both sides are given one series of float64 and beta = 0.9, and make a new array of it.
Exits with 10 where gdopt is not twice as fast.
"""


@dataclass(frozen=True)
class Averager:
    """Makes contenders that average a series by a function."""

    average: Callable[[np.ndarray], np.ndarray]

    def make(self, series: np.ndarray) -> Contender:
        """Make what averages the series anew at every step."""
        return Contender(lambda: self.average(series), lambda: [self.average(series)])


def _ewm(series: np.ndarray, *, adjust: bool) -> np.ndarray:
    import pandas as pd  # noqa: PLC0415 - a peer, which may be missing

    return pd.Series(series).ewm(alpha=1 - BETA, adjust=adjust).mean().to_numpy()


KINDS = {
    "with bias correction": (
        Averager(lambda series: gdopt.ewa(series, BETA)),
        Averager(partial(_ewm, adjust=True)),
    ),
    "from the first value": (
        Averager(lambda series: gdopt.ewa(series, BETA, initial="first")),
        Averager(partial(_ewm, adjust=False)),
    ),
}


def make(what: str, number: int, series: np.ndarray) -> Contender:
    """Make a side of a kind of average."""
    return KINDS[what][number].make(series)


def compare(what: str, series: np.ndarray, effort: Effort) -> dict[str, Any]:
    """Measure how many times as fast as pandas gdopt averages a series.

    Raises:
        AssertionError: the averages differ by more than rounding explains.
    """
    row = {"what": what, "values": series.size, "target": TARGET}
    if importlib.util.find_spec("pandas") is None:
        return row | {"left_out": "not installed: pandas"}
    one, other = (side.average(series) for side in KINDS[what])
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(series).max())
    del one, other
    sides = [
        Side(name, "averages.make", (what, number, series))
        for number, name in enumerate(("gdopt", "pandas"))
    ]
    times = np.array(interleave(sides, effort))
    ratios = times[:, 1] / times[:, 0]
    low, ratio, high = (float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    ours, theirs = np.median(times, axis=0).tolist()
    return row | {
        "ratio": ratio,
        "quartiles": [low, high],
        "rounds": len(times),
        "seconds": {"gdopt": ours, "pandas": theirs},
        "ok": None if effort == QUICK else ratio >= TARGET,
    }


def run(*, values: int = VALUES, quick: bool = False) -> dict[str, Any]:
    """Measure every kind of average."""
    series = np.random.default_rng(0).standard_normal(FEW if quick else values)
    effort = QUICK if quick else FULL
    rows = [compare(what, series, effort) for what in KINDS]
    return {"machine": describe(), "quick": quick, "averages": rows}


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    return [_cells(row) for row in found["averages"]]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a row of the table."""
    what = f"{row['values']:,} values, {row['what']}"
    if "left_out" in row:
        return (what, "", "", row["left_out"], "")
    ours, theirs = (f"{seconds * 1e3:,.2f} ms" for seconds in row["seconds"].values())
    low, high = row["quartiles"]
    figures = f"{row['ratio']:.2f} ({low:.2f}-{high:.2f})"
    return (
        what,
        ours,
        theirs,
        figures,
        {True: "yes", False: "no", None: ""}[row["ok"]],
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="try it on few values")
    text = "how many to average (%(default)s)"
    parser.add_argument("--values", type=int, default=VALUES, help=text)
    options = parser.parse_args(arguments)
    found = run(values=options.values, quick=options.quick)
    if found["quick"]:
        sys.stdout.write("Tried on few values: no figures to quote.\n")
    sys.stdout.write(plain(HEAD, rows(found)) + "\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    missed = any(row.get("ok") is False for row in found["averages"])
    return MISSED if missed else 0


if __name__ == "__main__":
    sys.exit(main())
