"""The same with `gdopt.minimize`, which returns when it is done."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import gdopt
from gdopt.guide.recipes.heat_model import CELLS, misfit
from gdopt.training import EarlyStopping

RATE, MOST, PATIENCE, MIN_DELTA = 0.1, 1000, 20, 1e-5


def main(folder: Path) -> tuple[Any, float, int]:
    """Fit the rod; return the best parameters, their misfit, and the last step."""
    m = np.zeros(CELLS + 1)
    stopping = EarlyStopping(PATIENCE, min_delta=MIN_DELTA)
    result = gdopt.minimize(
        misfit, m, lr=RATE, max_iter=MOST, callback=stopping, checkpoint=folder / "run"
    )
    result.history.to_csv(folder / "heat.csv")
    return m, result.fun, result.nit


if __name__ == "__main__":
    print(main(Path(sys.argv[1]))[1:])
