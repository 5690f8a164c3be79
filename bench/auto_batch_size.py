"""Compares `gdopt train --batch-size auto` with the default size."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gdopt import cli
from gdopt.tables import aligned

DATA = ("digits", "iris", "wine", "breast_cancer")
SEEDS = range(5)
HEAD = ("data", "batch size", "mean", "test accuracy by seed")
LOST = 10  # the exit status if auto is less accurate than the default
HELP = """\
Test accuracy of `gdopt train` on scikit-learn's data, by seed, and the mean. Exits with
10 if auto loses to the default in the mean of any data.
"""


def train(data: str, seed: int, *options: str) -> tuple[str, float]:
    """Return the batch size that a training took, and its accuracy on the test part."""
    from sklearn import datasets  # noqa: PLC0415 - an extra

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
        np.savez(folder / "data.npz", X=X.astype(np.float32), y=y)
        source = data if data == "digits" else f"{folder}/data.npz"  # those are pixels
        usual = ("--seed", f"{seed}", "--backend", "numpy", "--out", f"{folder}/run")
        with (
            Path(os.devnull).open("w", encoding="utf-8") as null,
            contextlib.redirect_stdout(null),
            contextlib.redirect_stderr(null),
        ):
            code = cli.main(["train", source, *usual, *options])
        if code:
            message = f"gdopt train {data} ended with {code}"
            raise RuntimeError(message)
        settings, summary = (
            json.loads((folder / "run" / part).read_text(encoding="utf-8"))
            for part in ("settings.json", "summary.json")
        )
    return settings["batch_size"], summary["accuracy"]["test"]


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Train on all data, with auto and with the default, and say what came of it."""
    found = []
    few = ("--epochs", "2") if quick else ()
    for data in DATA[1:2] if quick else DATA:
        for name, options in {"auto": ("--batch-size", "auto"), "default": ()}.items():
            runs = [train(data, seed, *few, *options) for seed in SEEDS]
            sizes, accuracy = zip(*runs, strict=True)
            case = {"data": data, "batch_size": name, "sizes": sizes}
            found.append(case | {"accuracy": accuracy})
            sys.stderr.write(f"{data}, {name}\n")
    return found


def _cells(case: dict[str, Any]) -> tuple[str, ...]:
    sizes = ", ".join(map(str, sorted(set(case["sizes"]))))
    by_seed = ", ".join(f"{value:.4f}" for value in case["accuracy"])
    mean = f"{statistics.mean(case['accuracy']):.4f}"
    return case["data"], f"{case['batch_size']}: {sizes}", mean, by_seed


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 10 where auto loses."""
    parser = argparse.ArgumentParser(description=HELP)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="try it in two epochs")
    options = parser.parse_args(arguments)
    found = run(quick=options.quick)
    sys.stdout.write("\n".join(aligned([HEAD, *map(_cells, found)])) + "\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    pairs = zip(found[::2], found[1::2], strict=True)
    lost = any(sum(a["accuracy"]) < sum(b["accuracy"]) for a, b in pairs)
    return LOST if lost else 0


if __name__ == "__main__":
    sys.exit(main())
