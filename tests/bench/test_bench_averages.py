"""The bench of averages compares like with like, in turns, and judges by its target."""

import json

import averages
import machine
import numpy as np
import pytest
from interleave import MISSED


@pytest.mark.peers("pandas")
def test_a_quick_run_writes_every_ratio_and_judges_nothing(tmp_path, capsys):
    import pandas as pd

    file = tmp_path / "deeper" / "averages.json"
    assert averages.main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["quick"] is True
    assert found["machine"]["versions"]["pandas"] == pd.__version__
    assert found["machine"] == machine.describe()
    assert [row["what"] for row in found["averages"]] == list(averages.KINDS)
    for row in found["averages"]:
        low, high = row["quartiles"]
        assert 0 < low <= row["ratio"] <= high
        assert row["values"] == averages.FEW
        assert row["ok"] is None
    shown = capsys.readouterr().out
    assert "no figures to quote" in shown
    assert "10,000 values, from the first value" in shown


@pytest.mark.parametrize(("theirs", "ok", "code"), [(3.0, True, 0), (1.9, False, 10)])
@pytest.mark.peers("pandas")
def test_a_ratio_of_two_is_asked_for(monkeypatch, capsys, theirs, ok, code):
    assert MISSED == 10
    monkeypatch.setattr(averages, "interleave", lambda *_: [(1.0, theirs)] * 4)
    assert averages.main(["--values", "1000"]) == code
    row = averages.compare("with bias correction", np.ones(10), averages.FULL)
    assert (row["ratio"], row["ok"]) == (theirs, ok)
    assert f"{theirs:.2f}" in capsys.readouterr().out


@pytest.mark.peers("pandas")
def test_sides_that_disagree_are_not_compared(monkeypatch):
    wrong = averages.Averager(lambda series: 1.001 * series)
    monkeypatch.setitem(averages.KINDS, "wrong", (wrong, wrong.__class__(np.copy)))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        averages.compare("wrong", np.ones(10), averages.QUICK)


def test_without_pandas_it_is_named(without, capsys):
    without("pandas")
    assert averages.main(["--quick"]) == 0
    assert "not installed: pandas" in capsys.readouterr().out
