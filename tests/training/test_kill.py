"""Runs that end in the middle are continued by the same call, with equal bits."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_runs.py")
KILLS = int(os.environ.get("GDOPT_KILLS", "5"))  # for each kind of run
SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM", "SIGHUP")
CASES = ("whole_problem", "minibatches", "network", "line_search")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="runs are forked")


def run(*given):
    environment = {
        **os.environ,
        "GDOPT_CPU_ENGINE": "numpy",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, given)],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.fixture(scope="module", params=SIGNALS)
def ended(request, tmp_path_factory):
    """Return a signal, and what became of the runs that it ended."""
    count = KILLS if request.param == "SIGKILL" else (KILLS + 1) // 2
    done = run(tmp_path_factory.mktemp("runs"), count, request.param)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["case"] for line in lines[:: count + 1]] == [*CASES]
    return signal.Signals[request.param], lines


def test_a_run_that_was_ended_at_any_moment_is_continued_with_equal_bits(ended):
    for line in ended[1]:
        assert line["differs"] == [], line


def test_it_ends_as_the_signal_ends_a_process(ended):
    number, lines = ended
    for line in lines:
        if line["at"]:
            interrupted = True if number == signal.SIGINT else None
            status = 0 if interrupted else -number
            assert (line["status"], line["interrupted"]) == (status, interrupted), line


def test_all_but_a_kill_save_at_the_step_where_they_came(ended):
    number, lines = ended
    for line in lines:
        if line["at"] and line["steps"] and number != signal.SIGKILL:
            apart = 2 if line["case"] == "minibatches" else 1  # as it accumulates 2
            assert line["steps"] <= line["saved"][-1] <= line["steps"] + apart, line


def test_no_file_of_a_killed_process_is_left_after_the_next_run(ended):
    number, lines = ended
    for line in lines:
        if line["at"]:
            files = line["then"]
            assert files[0] == ".lock"
            assert [name[:11] for name in files[1:]] == ["checkpoint-"] * len(files[1:])
            assert len(files) <= 3, line
    assert any(line.get("left") for line in lines) == (number == signal.SIGKILL)


@pytest.mark.parametrize("case", ["whole_problem", "network"])
def test_another_process_continues_what_was_killed(tmp_path, case):
    whole = run(tmp_path / "whole", case)
    calls = json.loads(whole.stdout).pop("calls")[0]
    killed = run(tmp_path / "run", case, calls // 2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(tmp_path / "run", case)
    found, expected = (json.loads(done.stdout) for done in (resumed, whole))
    assert found.pop("calls")[0] < expected.pop("calls")[0]
    assert found == expected
