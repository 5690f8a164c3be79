"""The bench beside scikit-learn runs, and writes what it measured."""

import importlib
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Give the script as a module; it finds others beside it."""
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.setitem(sys.modules, "estimators", None)
    del sys.modules["estimators"]
    return importlib.import_module("estimators")


def test_a_quick_run_writes_every_case(
    bench, tmp_path, capsys, monkeypatch, numpy_engine
):
    monkeypatch.setattr(bench, "REST", 0)
    file = tmp_path / "deeper" / "estimators.json"
    assert bench.main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["quick"]
    cases = [(row["data"], row["dtype"]) for row in found["rows"]]
    assert len(set(cases)) == 4
    for row in found["rows"]:
        low, high = row["quartiles"]
        assert 0 < low <= row["ratio"] <= high
        for side in ("gdopt", "scikit-learn"):
            assert row["sides"][side]["epochs"] == 2
            assert 0 < row["sides"][side]["accuracy"] < 1
    shown = capsys.readouterr()
    assert "no figures to quote" in shown.out
    assert len(shown.out.splitlines()) == 2 + 2 * 4


def test_accuracy_is_averaged_over_seeds_and_time_over_all_rounds(bench):
    fits = [[(1.0, 0.9, 10), (3.0, 0.9, 10)], [(5.0, 0.8, 20), (7.0, 0.8, 20)]]
    found = bench.summarize(fits)
    assert found["accuracy"] == pytest.approx(0.85)
    assert found["accuracies"] == [0.9, 0.8]
    assert (found["epochs"], found["seconds"]) == (15, 4.0)


def test_without_scikit_learn_it_is_left_out(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda _: None)
    assert bench.main([]) == 0
    assert "not installed: scikit-learn" in capsys.readouterr().err
