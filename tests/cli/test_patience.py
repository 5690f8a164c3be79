import json

import numpy as np
import pytest

from gdopt.training import load
from gdopt.training.objectives import NetworkLoss

pytest.importorskip("rich")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture
def scripted(monkeypatch):
    """Return ``scripted(accuracies)``: dev accuracies of the epochs, and the biases."""

    def prepare(*accuracies):
        biases = []
        script = iter(accuracies)
        measure = NetworkLoss.measure

        def scripted(self, dev):
            assert measure(self, dev).keys() == {"dev_loss", "dev_accuracy"}
            biases.append(self.model.params["b2"].copy())
            return {"dev_accuracy": next(script)}

        monkeypatch.setattr(NetworkLoss, "measure", scripted)
        return biases

    return prepare


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_patience_stops_and_keeps_the_best_weights(quick, scripted, tmp_path, metrics):
    biases = scripted(0.5, 0.8, 0.7, 0.8, 0.9)
    found = quick("--epochs", 9, "--patience", 2, "--batch-norm", "--out", "run")
    assert found.code == 0
    said = (
        "best dev accuracy 0.800 after epoch 2, 4 epochs in all; its weights are kept"
    )
    assert said in found.out
    assert "adam, at most 9 epochs, 306 steps\n" in found.out
    assert metrics(tmp_path / "run")[-1]["epoch"] == 4
    kept = load(tmp_path / "run" / "model.npz")["params"]["b2"]
    assert np.array_equal(kept, biases[1])
    assert not np.array_equal(kept, biases[3])
    summary = summary_of(tmp_path / "run")
    assert (summary["finished"], summary["best_epoch"], summary["epoch"]) == (
        True,
        2,
        4,
    )


def test_the_best_weights_are_kept_where_patience_lasts_to_the_end(
    quick, scripted, tmp_path
):
    biases = scripted(0.5, 0.8, 0.7)
    quick("--epochs", 3, "--patience", 5, "--out", "run")
    kept = load(tmp_path / "run" / "model.npz")["params"]["b2"]
    assert np.array_equal(kept, biases[1])


def test_without_patience_the_last_weights_are_kept(quick, scripted, tmp_path):
    biases = scripted(0.5, 0.8, 0.7)
    found = quick("--epochs", 3, "--out", "run")
    assert "best" not in found.out
    kept = load(tmp_path / "run" / "model.npz")["params"]["b2"]
    assert np.array_equal(kept, biases[2])
    assert summary_of(tmp_path / "run")["best_epoch"] is None
