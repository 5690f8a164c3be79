"""Measures the time of a step of every contender in every case.

    python bench/speed.py [--only WORDS] [--json FILE] [--huge] [--quick]

Contenders take turns, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
from adapters import ADAPTERS, Contender
from cases import CASES, HUGE, MILLION, Case, Training
from interleave import Effort, Side, SideError, Times, Workers, take_turns
from load import exit_on_sigterm
from machine import describe
from table import speed_section

PEERS_HOLD = {"array", "arena"}  # what else there is differs in gdopt alone
MODEL = CASES["300 arrays of 256, in an arena"]
FIRST_STEP = Case("first step, 300 arrays of 256", MODEL.shapes, memory=MODEL.memory)
FULL = Effort(makes=2, rounds=3)
QUICK = Effort(makes=1, rounds=1, seconds=0.001)


def pairs(*, huge: bool) -> list[tuple[Case | Training, str]]:
    """List cases and their contenders."""
    found = []
    for case in (*CASES.values(), Training(), MILLION, FIRST_STEP):
        small = isinstance(case, Training) or case.elements < HUGE
        peers = isinstance(case, Training) or case.memory in PEERS_HOLD
        if small or huge:
            names = [n for n in ADAPTERS if peers or n.startswith("gdopt")]
            found += [(case, name) for name in names]
    return found


def make_first_step(name: str, case: Case) -> Contender:
    """Make what copies the arrays, makes the optimizer and takes its first step."""
    adapter = adapters.find(name)
    one = adapter.make(case)
    return replace(one, step=lambda: adapter.make(case).step())


def _side(case: Case | Training, name: str) -> Side:
    function = "speed.make_first_step" if case is FIRST_STEP else "adapters.make"
    return Side(name, function, (name, case), check="adapters.verify")


def measure(
    case: Case | Training, names: list[str], effort: Effort, workers: Workers
) -> list[dict[str, Any]]:
    """Measure the contenders that have something of the kind, alternately.

    Of huge arrays only one contender's fit into memory, which is measured alone.
    """
    sides = []
    for name in names:
        side = _side(case, name)
        try:
            workers.of(side).request("call", "adapters.verify", side.arguments)
        except SideError as error:
            if error.kind != adapters.UnsupportedError.__name__:
                raise
            continue
        sides.append(replace(side, check=None))
    turns = take_turns(sides, effort, workers) if sides else []
    return [
        _entry(case.name, side.key, [turn.times[k] for turn in turns])
        for k, side in enumerate(sides)
    ]


def _entry(case: str, contender: str, times: list[Times]) -> dict[str, Any]:
    """Return what `table.speed_table` reads."""
    stats = {stat: statistics.median(one[stat] for one in times) for stat in times[0]}
    stats |= {"min": min(one["min"] for one in times), "rounds": len(times)}
    return {"params": {"case": case, "contender": contender}, "stats": stats}


def run(
    *,
    quick: bool = False,
    only: str | None = None,
    huge: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Measure all pairs, or those that have some words in them."""
    words = (only or ("1e3" if quick else "")).split(" or ")
    wanted: dict[Case | Training, list[str]] = {}
    for case, name in pairs(huge=huge):
        if any(word in f"{case.name}: {name}" for word in words):
            wanted.setdefault(case, []).append(name)
    found, effort = [], QUICK if quick else FULL
    with Workers() as workers:
        for name, adapter in ADAPTERS.items():
            if adapter.missing:
                say(f"{name}: not installed: {', '.join(adapter.missing)}")
        for case, names in wanted.items():
            say(case.name)
            alone = isinstance(case, Case) and case.elements >= HUGE
            there = [name for name in names if not ADAPTERS[name].missing]
            for group in [[name] for name in there] if alone else [there]:
                if alone:
                    workers.close()
                found += measure(case, group, effort, workers)
    return {"machine_info": describe(), "quick": quick, "benchmarks": found}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    text = "cases and contenders with these words; several are separated by ' or '"
    parser.add_argument("--only", metavar="WORDS", help=text)
    parser.add_argument("--huge", action="store_true", help="arrays of 1e8, too")
    text = "try the cases of 1e3 elements, or those of --only, in a hurry"
    parser.add_argument("--quick", action="store_true", help=text)
    options = parser.parse_args(arguments)
    found = run(
        quick=options.quick,
        only=options.only,
        huge=options.huge,
        say=lambda what: sys.stderr.write(f"{what}\n"),
    )
    sys.stdout.write("\n\n".join(speed_section(found)[1:]) + "\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
