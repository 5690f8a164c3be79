"""Puts what the course's notes claim of mini-batches to the test, on the CPU."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import descent
import numpy as np
from adapters import Contender
from claims import HEAD, TARGET, about, claim_rows, judge, plain, target_rows
from interleave import Effort, Side, Workers, interleave
from machine import describe

import gdopt
from gdopt.nn import Network
from gdopt.planner import NetworkStep

FULL = Effort(makes=25, rounds=1, seconds=0.08)
QUICK = Effort(makes=2, rounds=1, seconds=0.001)
SIZES = (784, 256, 10)  # of the network whose steps are timed
POWERS = (64, 128, 256, 512, 1024)
EXAMPLES = 8 * 1025  # of the largest size, a whole number of batches
IN_BETWEEN = "in between is fastest"
SMALL = "up to 2,000 examples, take all of them"
HELP = """\
examples:
  python bench/notes.py                   four minutes; leave the machine alone
  python bench/notes.py --json notes.json
  python bench/notes.py --quick           tries everything, and judges nothing
"""
Say = Callable[[str], object]


def make(sizes: tuple[int, ...], size: int) -> Contender:
    """Make what gathers a batch and trains a network on it; all batches are full.

    Args:
        sizes: of the input and of every layer.
        size: of the batches.
    """
    network = Network(sizes, seed=0, backend="numpy")
    step = NetworkStep(network, gdopt.Adam(network.params), validate=False)
    data = _examples(sizes[0], sizes[-1])
    batches = gdopt.minibatches(*data, batch_size=size, seed=0, drop_last=True)
    endless = itertools.chain.from_iterable(itertools.repeat(batches))
    return Contender(
        lambda: step(*next(endless)), lambda: list(network.params.values())
    )


@functools.lru_cache(maxsize=1)
def _examples(width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((EXAMPLES, width), dtype=np.float32)
    return X, rng.integers(0, classes, EXAMPLES)


def pairs() -> list[tuple[str, int, int]]:
    """List claims with the size that they call slower and the one called faster."""
    neighbours = [
        ("a power of two runs faster", neighbour, power)
        for power in POWERS
        for neighbour in (power - 1, power + 1)
    ]
    return [("1,024 rather than 1,000", 1000, 1024), *neighbours]


def compare(
    claim: str,
    sizes: tuple[int, ...],
    pair: tuple[int, int],
    effort: Effort,
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Measure the time of an example in batches of one size over another's."""
    one, other = pair
    sides = (
        Side("one", "notes.make", (sizes, one)),
        Side("other", "notes.make", (sizes, other)),
    )
    times = np.array(interleave(sides, effort, workers)) / pair
    seconds = np.median(times, axis=0).tolist()
    figures = judge((times[:, 0] / times[:, 1]).tolist(), quick=effort == QUICK)
    return {
        "claim": claim,
        "one": one,
        "other": other,
        "of": "example",
        "seconds": {"one": seconds[0], "other": seconds[1]},
        "examples_per_second": {"one": 1 / seconds[0], "other": 1 / seconds[1]},
        **figures,
    }


def to_target(
    race: descent.Race, *, quick: bool, say: Say
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measure the time to a target loss; give the figures and the claims."""
    rates = {}
    for size in race.batches:
        say(f"the best rate for batches of {size:,}")
        rates[size] = descent.choose_rate(race, size)
    between = descent.best_between(race, rates)
    say(f"time to a loss of {race.loss:g}")
    runs = descent.run_rounds(race, rates)
    rows = {n: descent.summarize(race, n, rates[n], runs[n]) for n in race.batches}
    target = {
        "data": "scikit-learn's digits",
        "examples": len(race.examples),
        "sizes": list(race.sizes),
        "optimizer": "SGD",
        "loss": race.loss,
        "rates": list(race.rates),
        "allowed": race.allowed,
        "rounds": len(race.seeds),
        "runs": list(rows.values()),
    }
    return target, target_claims(race, between, runs, rows, quick=quick)


def target_claims(
    race: descent.Race,
    between: int,
    runs: dict[int, list[descent.Run]],
    rows: dict[int, dict[str, Any]],
    *,
    quick: bool,
) -> list[dict[str, Any]]:
    """Judge the claims of the time to a target loss.

    The last is the notes' own exception, under which the digits fall.
    """
    whole = len(race.examples)
    found = []
    for claim, one, other in (
        (IN_BETWEEN, 1, between),
        (IN_BETWEEN, whole, between),
        (SMALL, between, whole),
    ):
        row = {"claim": claim, "one": one, "other": other, "of": "target"}
        times = {"one": rows[one]["seconds"], "other": rows[other]["seconds"]}
        if all(math.isinf(s) for n in (one, other) for _, s in runs[n]):
            found.append(row | {"left_out": "neither reached the loss"})
            continue
        figures = judge(descent.ratios(runs[one], runs[other]), quick=quick)
        found.append(row | {"seconds": times} | figures)
    return found


def left_out() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Name what is missing for the time to a target loss."""
    why = {"left_out": "not installed: scikit-learn"}
    return why, [{"claim": claim} | why for claim in (IN_BETWEEN, SMALL)]


def run(*, quick: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """Measure all claims."""
    sizes = (20, 8, 10) if quick else SIZES
    effort = QUICK if quick else FULL
    claims = []
    with Workers() as workers:
        for claim, *pair in pairs():
            say("{}: {:,} and {:,}".format(claim, *pair))
            claims.append(compare(claim, sizes, tuple(pair), effort, workers))
    race = descent.digits()
    if race is None:
        target, more = left_out()
    else:
        race = descent.shrink(race) if quick else race
        target, more = to_target(race, quick=quick, say=say)
    speed = {"sizes": list(sizes), "optimizer": "Adam", "examples": EXAMPLES}
    return {
        "machine": describe(),
        "quick": quick,
        "throughput": speed,
        "target": target,
        "claims": claims + more,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="try it on small sizes")
    options = parser.parse_args(arguments)
    found = run(quick=options.quick, say=lambda what: sys.stderr.write(f"{what}\n"))
    if found["quick"]:
        sys.stdout.write("Tried on small sizes: no figures to quote.\n")
    sys.stdout.write(f"{about(found)}\n\n{plain(HEAD, claim_rows(found))}\n")
    if rows := target_rows(found["target"]):
        sys.stdout.write(f"\n{plain(TARGET, rows)}\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
