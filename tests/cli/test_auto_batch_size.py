"""Little data keep the default's size, and with it the default's accuracy."""

import json

import numpy as np
import pytest

from gdopt import plots
from gdopt.planner import throughput

pytest.importorskip("rich")
pytest.importorskip("matplotlib")
datasets = pytest.importorskip("sklearn.datasets")


@pytest.mark.newest
@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer"])
def test_little_data_are_planned_the_default_size(
    command, monkeypatch, numpy_engine, name, tmp_path
):
    monkeypatch.setattr(throughput, "SECONDS", 1e-4)
    monkeypatch.setattr(throughput, "ATTEMPTS", 1)
    monkeypatch.setattr(plots, "batch_sizes", lambda *_: None)
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    np.savez(tmp_path / "data.npz", X=X.astype(np.float32), y=y)
    data = "digits" if name == "digits" else tmp_path / "data.npz"
    for seed in range(5):
        options = ("--backend", "numpy", "--seed", seed, "--json", "plan.json")
        assert command("plan", data, *options).code == 0
        plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
        assert plan["micro_batch_size"] == 32  # bench/auto_batch_size.py compares them
