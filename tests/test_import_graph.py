"""Imports go in one direction: down this list, and never in a circle."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import gdopt

FOLDER = Path(gdopt.__file__).parent
# A module or package imports only from lines below its own.
LAYERS = """
    __main__
    cli
    estimators
    tune
    training
    plots
    planner
    gradient_check parallel rules
    nn optim
    data problems schedules averages
    kernels
    arrays
    tables
    checks copies files
    imports
    errors interrupt
"""


def name_of(path):
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def imported(path):
    """Yield the parts of gdopt that a file imports, in functions, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "gdopt":
            names = [f"gdopt.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name.split(".")[1] for name in names if name.startswith("gdopt."))


def graph():
    """Return what each part of gdopt imports of the others."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        name = name_of(path)
        if name not in {"__init__", "guide"}:
            parts = {part for part in imported(path) if not part.startswith("__")}
            found.setdefault(name, set()).update(parts - {name})
    return found


def test_no_part_imports_itself_by_way_of_others():
    assert list(TopologicalSorter(graph()).static_order())


def test_imports_go_down_the_layers():
    layers = [line.split() for line in LAYERS.strip().splitlines()]
    height = {name: -k for k, names in enumerate(layers) for name in names}
    found = graph()
    assert height.keys() == found.keys()
    upward = {
        (name, other)
        for name, others in found.items()
        for other in others
        if height[other] >= height[name]
    }
    assert upward == set()


def test_no_two_classes_have_one_name():
    names = Counter(
        node.name
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
