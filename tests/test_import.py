"""Importing gdopt brings NumPy and nothing that is optional."""

import importlib
import pydoc
import re
import rlcompleter
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

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
ROOT = Path(gdopt.__file__).parent
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT.parent).parts)
    for path in sorted(ROOT.rglob("__init__.py"))
    if "__all__" in path.read_text(encoding="utf-8")
]
PROGRAM = "import sys, gdopt; print(*{name.partition('.')[0] for name in sys.modules})"


def run(program):
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_importing_gdopt_imports_no_extra():
    loaded = set(run(PROGRAM).stdout.split())
    assert {"gdopt", "numpy"} <= loaded
    assert loaded & EXTRAS == set()


@pytest.mark.newest
def test_what_training_does_not_need_is_imported_when_it_is_asked_for():
    lazy = gdopt._LAZY["gdopt"].split()
    assert {"planner", "nn", "training"} <= set(lazy)
    costly = {"argparse", "concurrent.futures", "csv", "difflib", "hashlib", "zipfile"}
    before = set(run("import sys, numpy; print(*sys.modules)").stdout.split())
    loaded = set(run("import sys, gdopt; print(*sys.modules)").stdout.split())
    assert (loaded - before) & ({f"gdopt.{name}" for name in lazy} | costly) == set()
    pytest.importorskip("sklearn")
    asked = f"import gdopt; print(*(getattr(gdopt, name).__name__ for name in {lazy}))"
    assert run(asked).stdout.split() == [f"gdopt.{name}" for name in lazy]


def test_importing_gdopt_says_nothing():
    found = run("import gdopt")
    assert (found.stdout, found.stderr) == ("", "")


@pytest.fixture
def package(request):
    """Import the package that is named."""
    if request.param == "gdopt.estimators":
        pytest.importorskip("sklearn")
    return importlib.import_module(request.param)


def public(names):
    return {name for name in names if not name.startswith("__")}


@pytest.mark.parametrize("package", PACKAGES, indirect=True)
def test_everything_that_is_exported_is_there_once(package):
    missing = [name for name in package.__all__ if not hasattr(package, name)]
    assert missing == []
    assert len(set(package.__all__)) == len(package.__all__)


@pytest.mark.parametrize("package", PACKAGES, indirect=True)
def test_dir_shows_public_names_and_no_others(package):
    assert public(dir(package)) == public(package.__all__)
    assert {"__name__", "__doc__", "__file__", "__all__"} <= set(dir(package))


def test_every_package_is_a_public_name_but_for_the_commands():
    packages = {name.partition(".")[2] for name in PACKAGES[1:] if name.count(".") == 1}
    if find_spec("sklearn") is None:
        packages -= {"estimators"}
    assert packages - set(gdopt.__all__) == {"cli"}


@pytest.mark.parametrize("name", ["gdopt", "gdopt.data"])
def test_completion_offers_public_names_and_no_others(name):
    found = rlcompleter.Completer({"gdopt": gdopt}).attr_matches(f"{name}.")
    offered = {match.removeprefix(f"{name}.").partition("(")[0] for match in found}
    assert offered == public(importlib.import_module(name).__all__)


@pytest.mark.parametrize("package", ["gdopt", "gdopt.data"], indirect=True)
def test_help_lists_public_names_and_no_helpers(package):
    text = pydoc.render_doc(package, renderer=pydoc.plaintext)
    listed = set(re.findall(r"^    (?:class )?(\w+)", text, re.MULTILINE))
    assert public(package.__all__) - listed == set()
    helpers = {"TYPE_CHECKING", "find_spec", "lazy_getattr", "public_dir"}
    assert listed & helpers == set()


def test_without_scikit_learn_there_are_no_estimators_to_show():
    program = """
        import sys
        sys.modules["sklearn"] = None
        import gdopt, pydoc
        from gdopt import *
        names = {"MLPClassifier", "MLPRegressor", "estimators"}
        print(sorted(names & {*dir(gdopt), *gdopt.__all__}))
        print("MLPClassifier" in pydoc.render_doc(gdopt))
        try:
            gdopt.MLPClassifier
        except gdopt.MissingExtraError as error:
            print(error)
    """
    shown, documented, message = run(textwrap.dedent(program)).stdout.splitlines()
    assert (shown, documented) == ("[]", "False")
    assert "which is not installed" in message
