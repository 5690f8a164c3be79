"""Logistic regression on mini-batches, with the rate reduced and the best kept."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import gdopt
from gdopt.training import EarlyStopping, ReduceOnPlateau


def make_data() -> tuple[Any, Any]:
    """Return examples (3000, 10) and labels (3000,), of which some are wrong."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 10))
    z = X @ np.linspace(-2, 2, 10) + 0.5
    return X, (z + rng.logistic(size=3000) > 0).astype(float)


def loss_and_grads(params: Mapping[str, Any], X: Any, y: Any) -> Any:
    """Return the mean cross-entropy of examples (m, 10), and its gradients."""
    z = X @ params["w"] + params["b"]
    error = (1 / (1 + np.exp(-z)) - y) / len(y)
    loss = np.mean(np.logaddexp(0, z) - y * z)
    return loss, {"w": X.T @ error, "b": error.sum()}


def main(folder: Path) -> tuple[dict[str, Any], float, int]:
    """Train; return the parameters, their accuracy on the dev part, and the updates."""
    parts = gdopt.split(*make_data(), seed=0)
    params = {"w": np.zeros(10), "b": np.zeros(())}
    result = gdopt.minimize(
        loss_and_grads,
        params,
        data=gdopt.minibatches(*parts.train, batch_size=50),
        method="momentum",
        lr=1.0,
        epochs=100,
        dev=parts.dev,
        callback=[ReduceOnPlateau(0.3, patience=1), EarlyStopping(6)],
        checkpoint=folder / "run",
    )
    X, y = parts.dev
    accuracy = np.mean((X @ params["w"] + params["b"] > 0) == y)
    return params, float(accuracy), result.nit


if __name__ == "__main__":
    print(main(Path(sys.argv[1]))[1:])
