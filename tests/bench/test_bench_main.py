"""``python bench`` measures, then renews README.md, and stops where something fails."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import interleave
import pytest
import ratios
import speed
from cases import HUGE, Case
from machine import HERE

RUN = runpy.run_path(str(HERE / "__main__.py"))
ROOT = Path(__file__).parents[2]


def outcome(codes, monkeypatch, tmp_path):
    """Run with commands that end so; give the status, and how many were run."""
    codes = iter(codes)
    ran = []

    def run(command, **_):
        ran.append(command)
        return SimpleNamespace(returncode=next(codes))

    monkeypatch.setitem(RUN["main"].__globals__, "folder", lambda: tmp_path / "results")
    monkeypatch.setattr(subprocess, "run", run)
    return RUN["main"](), len(ran)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((0,) * 6, (0, 6)),
        ((ratios.MISSED, *(0,) * 5), (ratios.MISSED, 6)),
        ((1,), (1, 1)),
        ((0, 4), (4, 2)),
        ((ratios.MISSED, 4), (4, 2)),
    ],
)
def test_a_missed_target_is_reported_and_an_error_stops_it(
    codes, expected, monkeypatch, tmp_path
):
    assert outcome(codes, monkeypatch, tmp_path) == expected


@pytest.mark.slow
def test_the_time_of_a_step_is_measured_by_its_command(tmp_path):
    _, speed, *_ = RUN["commands"](tmp_path, quick=True)
    only = ["--only", "1e3: textbook or 1e3: gdopt NumPy"]
    command = [sys.executable, *speed, *only]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    pairs = [tuple(entry["params"].values()) for entry in found["benchmarks"]]
    names = ["textbook NumPy", "gdopt NumPy", "gdopt NumPy, own rule"]
    assert pairs == [("adam, one array of 1e3", name) for name in names]
    for entry in found["benchmarks"]:
        assert 0 < entry["stats"]["min"] <= entry["stats"]["median"]
    assert "| adam, one array of 1e3 |" in done.stdout


def test_a_contender_that_has_nothing_of_the_kind_has_no_entry():
    case = Case("tiny", ((33,),), "sgd")
    names = ["textbook NumPy", "gdopt NumPy, own rule"]
    with interleave.Workers() as workers:
        entries = speed.measure(case, names, speed.QUICK, workers)
    assert [entry["params"]["contender"] for entry in entries] == names[:1]


def test_arrays_of_1e8_are_measured_only_if_asked_for():
    for huge in (False, True):
        elements = {
            case.elements
            for case, _ in speed.pairs(huge=huge)
            if isinstance(case, Case)
        }
        assert (HUGE in elements) is huge
