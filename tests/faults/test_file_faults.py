"""Whatever fails while a file is written, the last good state is there, whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("file_faults.py")
FRESH = ("save", "settings and tune.json", "run")  # where nothing is there, too
SCENARIOS = [(name, False) for name in FRESH] + [
    (name, True) for name in (*FRESH, "history as CSV", "history as JSON", "plan")
]

pytestmark = [
    pytest.mark.newest,
    pytest.mark.skipif(os.name != "posix", reason="processes are killed"),
]


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """Let all calls of all scenarios fail, and return what was found."""
    environment = {
        **os.environ,
        "GDOPT_CPU_ENGINE": "numpy",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path_factory.mktemp("faults")],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(one["scenario"], one["old"]): one for one in found}


@pytest.mark.parametrize(("scenario", "old"), SCENARIOS)
def test_a_fault_at_any_call_leaves_the_last_good_state(tried, scenario, old):
    found = tried[scenario, old]
    assert found["wrong"] == []
    assert {"open", "write", "fsync", "replace", "unlink"} <= {*found["calls"]}
    assert found["tried"] > 20
