"""Trainings with the planned and the default size are compared, and judged."""

import json

import auto_batch_size
import pytest

from gdopt.planner import throughput

pytest.importorskip("sklearn")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")


def test_a_quick_run_trains_both_ways(tmp_path, capsys, monkeypatch, numpy_engine):
    monkeypatch.setattr(throughput, "SECONDS", 1e-4)
    monkeypatch.setattr(throughput, "ATTEMPTS", 1)
    monkeypatch.setattr(auto_batch_size, "SEEDS", range(1))
    file = tmp_path / "auto.json"
    assert auto_batch_size.main(["--quick", "--json", str(file)]) == 0
    auto, usual = json.loads(file.read_text(encoding="utf-8"))
    assert (auto["data"], auto["sizes"]) == ("iris", [32])
    assert auto["accuracy"] == usual["accuracy"]
    assert "auto: 32" in capsys.readouterr().out


def test_auto_that_loses_on_any_data_is_reported(monkeypatch):
    def train(data, seed, *options):
        return 64, 0.9 if options and data == "wine" else 0.95

    monkeypatch.setattr(auto_batch_size, "train", train)
    assert auto_batch_size.main([]) == auto_batch_size.LOST
    monkeypatch.setattr(auto_batch_size, "train", lambda *_: (64, 0.9))
    assert auto_batch_size.main([]) == 0
