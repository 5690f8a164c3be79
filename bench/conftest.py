"""Options of the suite, and what its results say about the machine."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # its scripts are no package

from machine import describe

collect_ignore_glob = ["adapters/*", "[!t]*.py", "table.py"]  # only cases to run


def pytest_addoption(parser):
    parser.addoption("--huge", action="store_true", help="arrays of 1e8 elements too")


def pytest_benchmark_generate_machine_info():
    return describe()


def pytest_benchmark_generate_commit_info():
    return {"id": describe()["commit"]}


def pytest_benchmark_update_json(output_json):
    """Keep the figures, not each of the thousands of rounds behind them."""
    for entry in output_json["benchmarks"]:
        entry["stats"].pop("data", None)
        entry["params"] = entry["extra_info"]
        del entry["options"]
