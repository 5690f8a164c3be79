"""Measures the ratios that gdopt promises: both sides in turns, in one run.

    python bench/ratios.py [--json FILE] [--quick]

Exits with 10 where a ratio misses its target. ``--quick`` tries everything on small
arrays and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from adapters import ADAPTERS, Adapter, check
from cases import CASES, DTYPE, Case, Training, one_array
from interleave import MISSED, Effort, Side, after_zeros, interleave, steady
from machine import describe
from table import print_ratios

FULL = Effort(makes=6, rounds=3, seconds=0.05)
QUICK = Effort(makes=2, rounds=1, seconds=0.001)
ENGINES = ("NumPy", "Numba")


@dataclass(frozen=True)
class Pair:
    """One side's time over the other's, and what it may be.

    Attributes:
        what: is measured.
        case: in which.
        one: the contender above the line.
        other: the contender below the line; the same where zero gradients are compared
            with ordinary ones.
        target: bound of the ratio, if there is one.
        speed: whether it is a ratio of speeds, which has to be large, not of times.
    """

    what: str
    case: Case | Training
    one: str
    other: str
    target: float | None = None
    speed: bool = False


def pairs() -> list[Pair]:
    """List the pairs, targets as gdopt promises them."""
    arena = CASES["300 arrays of 256, in an arena"]
    apart = CASES["300 arrays of 256, apart, fresh gradients"]
    large, million = one_array(10**7), one_array(10**6)
    found = []
    for case, what, targets in (
        (arena, "300 arrays of 256 in an arena", (0.15, 0.05)),
        (large, "one array of 1e7", (2.6, 0.95)),
        (apart, "plain dict of 300 arrays, fresh gradients", (None, 0.6)),
    ):
        for engine, target in zip(ENGINES, targets, strict=True):
            found.append(Pair(what, case, f"gdopt {engine}", "torch fused", target))
    for engine, target in zip(ENGINES, (0.87, 1.05), strict=True):
        training = Training()
        what = f"{training.name}, batch {training.batch}, samples/s"
        one = f"gdopt {engine}"
        found.append(Pair(what, training, one, "torch fused", target, speed=True))
    for case in (arena, million, large):
        what = (
            f"a user's own Adam over the built-in, {case.name.removeprefix('adam, ')}"
        )
        for engine in ENGINES:
            one, other = f"gdopt {engine}, own rule", f"gdopt {engine}"
            found.append(Pair(what, case, one, other, 1.05))
    for name, target in (
        ("gdopt NumPy", 1.5),
        ("gdopt Numba", 1.5),
        ("torch fused", None),
    ):
        what = "last 100 of 1,000 steps with zero gradients over ordinary ones, 1e6"
        found.append(Pair(what, million, name, name, target))
    return found


def shrink(pair: Pair) -> Pair:
    """Make a pair small enough to try whether it works."""
    if isinstance(pair.case, Training):
        small: Case | Training = replace(pair.case, sizes=(20, 8, 4), batches=2)
    else:
        shapes = tuple(
            (4,) if shape == (256,) else (1000,) for shape in pair.case.shapes
        )
        small = replace(pair.case, shapes=shapes[:3])
    return replace(pair, case=small, target=None)


def measure(pair: Pair, effort: Effort) -> dict[str, Any]:
    """Measure a pair, or say what is missing."""
    row = {"what": pair.what, "one": pair.one, "other": pair.other}
    row |= {"speed": pair.speed, "target": pair.target}
    adapters = ADAPTERS[pair.one], ADAPTERS[pair.other]
    missing = sorted({name for adapter in adapters for name in adapter.missing})
    if missing:
        return row | {"left_out": f"not installed: {', '.join(missing)}"}
    for adapter in set(adapters):
        check(adapter.make(pair.case), pair.case)
    times = np.array(interleave(_makers(pair, adapters, effort.seconds), effort))
    ratios = times[:, 0] / times[:, 1] if not pair.speed else times[:, 1] / times[:, 0]
    low, ratio, high = (float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    seconds = np.median(times, axis=0).tolist()
    return (
        row
        | _size(pair.case)
        | {
            "ratio": ratio,
            "quartiles": [low, high],
            "rounds": len(times),
            "seconds": {"one": seconds[0], "other": seconds[1]},
            "ok": _judge(pair, ratio),
        }
    )


def _makers(
    pair: Pair, adapters: tuple[Adapter, Adapter], seconds: float
) -> tuple[Callable[[], Side], Callable[[], Side]]:
    first, second = (partial(steady, a, pair.case, seconds) for a in adapters)
    if pair.one == pair.other:
        first = partial(after_zeros, adapters[0], pair.case)
    return first, second


def _judge(pair: Pair, ratio: float) -> bool | None:
    if pair.target is None:
        return None
    return ratio >= pair.target if pair.speed else ratio <= pair.target


def _size(case: Case | Training) -> dict[str, Any]:
    size: dict[str, Any] = {"case": case.name, "dtype": np.dtype(DTYPE).name}
    if isinstance(case, Training):
        return size | {"sizes": list(case.sizes), "batch": case.batch}
    return size | {"arrays": len(case.shapes), "elements": case.elements}


def run(
    *, quick: bool = False, say: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Measure all pairs."""
    rows = []
    for pair in pairs():
        say(f"{pair.what}: {pair.one}")
        measured = shrink(pair) if quick else pair
        rows.append(measure(measured, QUICK if quick else FULL))
    return {"machine": describe(), "quick": quick, "ratios": rows}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="try it on small arrays")
    options = parser.parse_args(arguments)
    found = run(quick=options.quick, say=lambda what: sys.stderr.write(f"{what}\n"))
    print_ratios(found)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    missed = any(row.get("ok") is False for row in found["ratios"])
    return MISSED if missed else 0


if __name__ == "__main__":
    sys.exit(main())
