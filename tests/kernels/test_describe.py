"""Printing a rule shows its formula, what it costs, and the text of every engine."""

import inspect
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import gdopt
from gdopt.arrays.backend import get_backend
from gdopt.kernels.describe import count_costs


@gdopt.rule(ranges={"lr": "[0, 1]"})
def forgetful(p, m, kept, g, *, lr):  # m is not read, and kept is not written
    return p - lr * g, g, kept


COSTS = {  # passes, loads, stores, operations
    "sgd": (gdopt.rules.sgd, (1, 2, 1, 2)),
    "lion": (gdopt.rules.lion, (1, 3, 2, 14)),
    "adam": (gdopt.rules.adam, (1, 4, 3, 12)),
    "amsgrad": (gdopt.rules.amsgrad, (1, 5, 4, 13)),
    "a rule that leaves arrays alone": (forgetful, (1, 2, 2, 3)),
}


@pytest.mark.parametrize("name", COSTS)
def test_costs_are_counted(name):
    rule, expected = COSTS[name]
    assert count_costs(rule.kernel.program()) == expected
    words = "passes {}, loads {}, stores {}, operations {}".format(*expected)
    assert f"Costs:\n    {words}\n" in str(rule)


@pytest.mark.parametrize("name", gdopt.rules.__all__)
def test_every_rule_is_printed_with_its_source(name):
    rule = getattr(gdopt.rules, name)
    text = str(rule)
    assert text.startswith(f"Rule({name}(p, ")
    source = inspect.getsource(inspect.unwrap(rule.function))
    assert textwrap.indent(source.strip(), "    ") in text


def test_the_text_that_numpy_runs_is_shown(numpy_engine):
    kernel = gdopt.rules.adam.kernel
    step = kernel.step(get_backend("numpy"), [np.float64] * 4)
    assert textwrap.indent(step.engine.source.strip(), "    ") in str(kernel)


def test_scalars_are_shown_as_the_host_computes_them():
    text = str(gdopt.rules.momentum)
    assert "    x0 = 1.0 - beta\n    s0 = beta\n    s1 = x0\n    s2 = lr\n" in text


def test_numba_and_cuda_texts_are_shown_with_every_operation():
    parts = str(gdopt.rules.adadelta).split("\n\nNumba:\n")[1]
    numba, cuda = parts.split("\n\nCUDA, for float32 in arenas:\n")
    operations = gdopt.rules.adadelta.kernel.program().instructions
    for place in range(len(operations)):
        assert f"        x{place} = " in numba
        assert f"float x{place} = " in cuda
    assert numba.count("sqrt(") == cuda.count("sqrt(") == 2
    assert "    // writes raw float32 p, raw float32 v, raw float32 u\n" in cuda


def test_the_loops_of_a_rule_that_reduces_are_shown():
    text = str(gdopt.rules.lamb).split("\n\nNumba, all passes:\n")[1]
    assert text.startswith("    def run(table, values, a_p, a_m, a_v, a_g):\n")
    for launch in (1, 2):
        assert (
            f"\n\nCUDA, launch {launch}, for float32:\n    // reads raw int64" in text
        )


def test_a_rule_with_options_shows_what_is_around_its_formula():
    rule = gdopt.AdamW(np.zeros(2), clip_norm=1.0).rule
    text = str(rule)
    assert text.startswith("Rule(adamw_clip_norm(")
    assert "clip_norm / norm" in text
    assert (
        text.index("def formula(")
        < text.index("def decayed(")
        < text.index("def adam(")
    )


def test_a_formula_that_is_not_in_a_file_is_printed_without_its_source():
    scope = {}
    exec("def typed(p, g, *, lr): return p - lr * g", scope)  # noqa: S102 - as typed
    text = str(gdopt.rule(scope["typed"]))
    assert "its source is not in a file" in text
    assert "operations 2" in text


def test_printing_imports_neither_numba_nor_cupy():
    program = """
        import sys, gdopt
        assert "CUDA" in str(gdopt.rules.adam)
        assert "Numba, all passes" in str(gdopt.rules.lamb)
        print({"numba", "cupy"} & set(sys.modules))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
