"""The same with `gdopt.steps`: the loop, and what is done at each record, is ours."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import gdopt
from gdopt.guide.recipes.heat_model import CELLS, misfit
from gdopt.training import EarlyStopping

RATE, MOST, PATIENCE, MIN_DELTA = 0.1, 1000, 20, 1e-5


def main(folder: Path) -> tuple[Any, float | None, int]:
    """Fit the rod; return the best parameters, their misfit, and the last step."""
    m = np.zeros(CELLS + 1)
    stopping = EarlyStopping(PATIENCE, min_delta=MIN_DELTA)
    log, step = folder / "heat.csv", 0
    if not log.exists():
        log.write_text("step,loss,grad_norm\n")
    for record in gdopt.steps(
        misfit, m, lr=RATE, max_iter=MOST, callback=stopping, checkpoint=folder / "run"
    ):
        step = record.step
        with log.open("a") as file:
            file.write(f"{step},{record.loss},{record.grad_norm}\n")
    return m, stopping.best, step


if __name__ == "__main__":
    print(main(Path(sys.argv[1]))[1:])
