"""Measures the ratios that gdopt promises: all sides alternate within one run.

    python bench/ratios.py [--before CHECKOUT] [--only WORDS] [--json FILE] [--quick]

Exits with 10 where a ratio misses its target. With ``--before`` an earlier checkout of
gdopt takes its turns, too. ``--only`` measures what has some words in it, "busy or
norm". ``--quick`` tries everything on small arrays and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
import numpy as np
from cases import DTYPE, Case, Training
from figures import NUMBA, ZERO_STEPS, Figure, figures, shrink
from interleave import MISSED, Side, SideError, Turn, Workers, take_turns
from load import exit_on_sigterm
from machine import commit_of, describe
from startup import SCRIPTS, Script
from table import print_ratios

QUIET = 0.06  # share of foreign processor time from which a turn is set aside
ENOUGH = 0.5  # share of the turns that has to be left, else none is set aside
ATTEMPTS = 2  # at a quiet measurement; what is not quiet is not judged


def measure(
    figure: Figure, workers: Workers, before: Path | None = None
) -> list[dict[str, Any]]:
    """Measure a figure, or say what is missing; a row for each of its statistics."""
    below = figure.others or (figure.one,)
    row: dict[str, Any] = {"what": figure.what, "one": figure.one}
    row |= {"other": " or ".join(below), "target": figure.target}
    missing = sorted({package for n in (figure.one, *below) for package in _lacks(n)})
    if missing:
        return [row | {"left_out": f"not installed: {', '.join(missing)}"}]
    if figure.earlier and before is None:
        return [row | {"left_out": "needs --before CHECKOUT"}]
    try:
        sides = _sides(figure, before)
        for _ in range(1 if figure.shared else ATTEMPTS):
            found = take_turns(list(sides.values()), figure.effort, workers)
            turns, shares = _quiet(found)
            if shares["quiet"]:
                break
    except SideError as error:
        if error.kind == adapters.UnsupportedError.__name__:
            return [row | {"left_out": str(error)}]
        raise
    times = {key: [turn.times[k] for turn in turns] for k, key in enumerate(sides)}
    row |= _size(figure.case) | {"turns": shares}
    compared = [_compare(figure, times, by) for by in figure.by]
    return [row | (one if shares["quiet"] else one | {"ok": None}) for one in compared]


def _lacks(name: str) -> list[str]:
    if name in SCRIPTS:  # of which the cached ones are Numba's
        return adapters.find(NUMBA).missing if "cached" in name else []
    return adapters.find(name).missing


def _sides(figure: Figure, before: Path | None) -> dict[Any, Any]:
    """Make the sides by (contender, place above or below the line, "now" or "before").

    What is gdopt's has another side with the earlier checkout.
    """
    sides = {}
    above = "one", figure.one, figure.case
    other_case = figure.other_case or figure.case
    below = [("other", name, other_case) for name in figure.others]
    for place, name, case in (above, *below):
        for time, checkout in (("now", None), ("before", before)):
            if time == "before" and (before is None or "gdopt" not in name):
                continue
            zeros = figure.zeros and place == "one"
            key = f"{name}, zeros" if zeros else name
            if place == "other" and name == figure.one:
                key = f"{name}, below the line"
            if name in SCRIPTS:
                sides[place, name, time] = Script(name, checkout)
                continue
            side = Side(
                key,
                "adapters.make",
                (name, case),
                check="adapters.verify",
                checkout=checkout,
                cores=adapters.find(name).cores,
                product=figure.product,
                process=_shared(name) if figure.shared else None,
            )
            sides[place, name, time] = _with_zeros(side) if zeros else side
    return sides


def _shared(name: str) -> str:
    """Name a process that contenders may share where they are only tried."""
    adapter = adapters.find(name)
    return f"{adapter.cores} cores, {'' if adapter.updates else 'not '}checked"


def _with_zeros(side: Side) -> Side:
    arguments = *side.arguments, ZERO_STEPS
    made = {"function": "adapters.make_with_zeros", "arguments": arguments}
    return replace(side, check=None, **made)


def _quiet(turns: list[Turn]) -> tuple[list[Turn], dict[str, Any]]:
    """Set aside the turns during which other processes were busy."""
    quiet = [turn for turn in turns if turn.foreign < QUIET]
    enough = len(quiet) >= ENOUGH * len(turns)
    used = quiet if enough else turns
    foreign = statistics.median(turn.foreign for turn in used)
    shares = {"used": len(used), "of": len(turns), "foreign": foreign}
    return used, shares | {"quiet": enough}


def _compare(figure: Figure, times: dict[Any, Any], by: str) -> dict[str, Any]:
    """Return the figures of a row, and of the earlier checkout where there is one."""
    rounds = {key: [one[by] for one in own] for key, own in times.items()}
    best = {key: _best(values, by) for key, values in rounds.items()}
    now = [key for key in rounds if key[0] == "other" and key[2] == "now"]
    if figure.earlier:
        now = [("one", figure.one, "before")]
    other = min(now, key=lambda key: best[key])
    one = "one", figure.one, "now"
    found = _ratio(figure, rounds, one, other, by)
    found["by"], found["other"] = by, other[1]
    found["sides"] = {
        ", ".join((name, time) if place == "one" else (name, time, "below")): {
            stat: _best([entry[stat] for entry in own], stat) for stat in own[0]
        }
        for (place, name, time), own in times.items()
    }
    found["ok"] = None if figure.target is None else found["ratio"] <= figure.target
    earlier = "one", figure.one, "before"
    if earlier in rounds and not figure.earlier:
        beside = (*other[:2], "before")
        beside = beside if beside in rounds else other
        found["before"] = _ratio(figure, rounds, earlier, beside, by)
    return found


def _best(values: Sequence[float], by: str) -> float:
    return min(values) if by == "min" else statistics.median(values)


def _ratio(
    figure: Figure, rounds: dict[Any, Any], one: Any, other: Any, by: str
) -> dict[str, Any]:
    """Compare two sides: the median over the turns of neighbours' ratio.

    Of minima it is the ratio, or the difference, of the least of all turns.
    """
    first, second = _best(rounds[one], by), _best(rounds[other], by)
    found: dict[str, Any] = {"seconds": {"one": first, "other": second}}
    if figure.difference:
        return found | {"ratio": first - second, "difference": True}
    if by == "min":
        return found | {"ratio": first / second}
    ratios = np.array(rounds[one]) / np.array(rounds[other])
    low, ratio, high = (float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    return found | {"ratio": ratio, "quartiles": [low, high]}


def _size(case: Case | Training | None) -> dict[str, Any]:
    size: dict[str, Any] = {"dtype": np.dtype(DTYPE).name}
    if case is None:
        return size
    size["case"] = case.name
    if isinstance(case, Training):
        return size | {"sizes": list(case.sizes), "batch": case.batch}
    return size | {"arrays": len(case.shapes), "elements": case.elements}


def run(
    *,
    quick: bool = False,
    only: str | None = None,
    before: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Measure all figures, or those that have some words in them."""
    rows = []
    words = only.split(" or ") if only else [""]
    with Workers() as workers:
        kernel = workers.of(Side("machine", "")).request(
            "call", "machine.blas_kernel", ()
        )
        for figure in figures():
            if not any(word in figure.what for word in words):
                continue
            say(f"{figure.what}: {figure.one}")
            if not quick:
                workers.close()  # no other process holds memory meanwhile
            rows += measure(shrink(figure) if quick else figure, workers, before)
    found = {"machine": describe(), "blas_kernel": kernel, "quick": quick}
    if before is not None:
        found["before"] = commit_of(before)
    return found | {"ratios": rows}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="try it on small arrays")
    text = "a checkout of an earlier gdopt, which is measured in the same turns"
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help=text)
    text = "figures with these words in them; several are separated by ' or '"
    parser.add_argument("--only", metavar="WORDS", help=text)
    options = parser.parse_args(arguments)
    found = run(
        quick=options.quick,
        only=options.only,
        before=options.before and options.before.resolve(),
        say=lambda what: sys.stderr.write(f"{what}\n"),
    )
    print_ratios(found)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    missed = any(row.get("ok") is False for row in found["ratios"])
    return MISSED if missed else 0


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
