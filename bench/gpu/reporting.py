"""A pytest plugin: runs the tests of a share, and writes what becomes of each at once.

`run_tests.py` makes the share's folder, which holds the tests' names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FOLDER = Path(os.environ["GDOPT_TEST_SHARE"])
BROKEN = 70  # exit status: CUDA reports an error that lasts as long as the process
ABSENT = ("NoDevice", "InsufficientDriver")


def pytest_collection_modifyitems(items):
    named = set(json.loads((FOLDER / "names.json").read_text(encoding="utf-8")))
    items[:] = [item for item in items if item.nodeid in named]


def note(**row):
    with (FOLDER / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def pytest_runtest_logstart(nodeid):
    note(test=nodeid, event="begun")


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        text = report.longrepr
        text = text[2] if isinstance(text, tuple) else report.longreprtext
        row = {"outcome": report.outcome, "text": text, "seconds": report.duration}
        note(test=report.nodeid, event=report.when, **row)


def pytest_runtest_logfinish(nodeid):
    error = lasting_error()
    note(test=nodeid, event="ended", error=error)
    if error:
        os._exit(BROKEN)


def lasting_error():
    """Return what CUDA reports after a test: every later one would fail with it."""
    cupy = sys.modules.get("cupy")
    try:
        if cupy is not None:
            cupy.cuda.Device().synchronize()
    except RuntimeError as error:
        if not any(name in str(error) for name in ABSENT):
            return str(error)
    return None
