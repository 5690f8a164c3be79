"""Importing gdopt brings NumPy and nothing that is optional."""

import subprocess
import sys

import pytest

import gdopt

EXTRAS = {
    "cupy",
    "numba",
    "llvmlite",
    "matplotlib",
    "sklearn",
    "rich",
    "torch",
    "jax",
    "optax",
    "optuna",
    "pandas",
    "scipy",
    "pytest",
    "ml_dtypes",
}
PROGRAM = "import sys, gdopt; print(*{name.partition('.')[0] for name in sys.modules})"


def run(program):
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_importing_gdopt_imports_no_extra():
    loaded = set(run(PROGRAM).stdout.split())
    assert {"gdopt", "numpy"} <= loaded
    assert loaded & EXTRAS == set()


def test_what_training_does_not_need_is_imported_when_it_is_asked_for():
    program = "import sys, gdopt; print(*sys.modules)"
    rooms = {f"gdopt.{name}" for name in gdopt._LATER if name.islower()}
    rooms -= {"gdopt.plan_batch_size"}  # a function
    assert {"gdopt.planner", "gdopt.tune"} <= rooms
    assert set(run(program).stdout.split()) & rooms == set()
    asked = "import gdopt; print(*(getattr(gdopt, n).__name__ for n in gdopt._LATER))"
    pytest.importorskip("sklearn")
    found = [name.rpartition(".")[2] for name in run(asked).stdout.split()]
    assert found == list(gdopt._LATER)


def test_importing_gdopt_says_nothing():
    found = run("import gdopt")
    assert (found.stdout, found.stderr) == ("", "")


def test_everything_that_is_exported_is_there_once():
    missing = [name for name in gdopt.__all__ if not hasattr(gdopt, name)]
    assert missing == []
    assert len(set(gdopt.__all__)) == len(gdopt.__all__)
