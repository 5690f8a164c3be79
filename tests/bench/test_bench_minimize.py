"""Evaluations are counted, which no clock decides: they are SciPy's, or close to it."""

import functools
import json

import minimize
import numpy as np
import pytest


@functools.cache
def counted(method, *, bounded):
    return [
        minimize.compare(case, method, bounded=bounded, rounds=1)
        for case in [*minimize.cases(large=False), minimize.valley(minimize.LARGE)]
    ]


KINDS = [("l-bfgs", False, 1.5), ("cg", False, 1.5), ("l-bfgs", True, 2.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "bounded", "most"), KINDS)
def test_no_function_takes_many_more_evaluations_than_scipy(method, bounded, most):
    rows = counted(method, bounded=bounded)
    assert {row["function"]: row["ratio"] for row in rows if row["ratio"] > most} == {}
    assert minimize.mean_ratio(rows) <= 1.1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "bounded", "most"), KINDS)
def test_both_end_in_the_same_minimum(method, bounded, most):
    for row in counted(method, bounded=bounded):
        one, other = row["gdopt"], row["scipy"]
        assert one["norm"] <= minimize.GTOL, row["function"]
        assert other["norm"] <= minimize.GTOL, row["function"]
        # Gradients of 1e-5 leave values of 1e-7 and less where the curvature is small.
        assert one["fun"] == pytest.approx(other["fun"], rel=1e-6, abs=5e-7)


@pytest.mark.parametrize(
    "case", minimize.cases(large=False), ids=lambda case: case.name
)
def test_gradients_are_those_of_the_values(case):
    rng = np.random.default_rng(1)
    x = case.start + 0.1
    d = rng.standard_normal(x.size)
    d /= np.linalg.norm(d)
    step = 1e-5
    ahead, behind = (case.function(x + side * d)[0] for side in (step, -step))
    # Differences of second order, of values that are rounded to 16 digits.
    slope = case.function(x)[1] @ d
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_quick_figures_are_written(tmp_path, monkeypatch, capsys):
    few = minimize.cases(large=False)[:2]
    monkeypatch.setattr(minimize, "cases", lambda **_: few)
    assert minimize.main(["--quick", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert len(found["rows"]) == 6
    assert "l-bfgs, bounds: " in capsys.readouterr().out
