"""``python bench`` measures, then renews README.md, and stops where something fails."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ratios
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
def test_a_missed_target_is_told_and_an_error_stops_it(
    codes, expected, monkeypatch, tmp_path
):
    assert outcome(codes, monkeypatch, tmp_path) == expected


@pytest.mark.slow
@pytest.mark.peers("pytest_benchmark")
def test_the_suite_runs_by_its_command_and_leaves_no_thousands_of_rounds(tmp_path):
    _, suite, *_ = RUN["commands"](tmp_path)
    only = ["-k", "1e3 and (textbook or gdopt)", "--benchmark-max-time=0.01"]
    command = [sys.executable, *suite, *only, "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "speed.json").read_text(encoding="utf-8")
    assert '"contender": "gdopt NumPy"' in text
    assert '"data"' not in text
