"""The author's own loop: Adam, early stopping, a log and a checkpoint by hand."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.guide.recipes.heat_model import CELLS, misfit

RATE, MOST, PATIENCE, MIN_DELTA = 0.1, 1000, 20, 1e-5


def main(folder: Path) -> tuple[Any, float, int]:
    """Fit the rod; return the best parameters, their misfit, and the last step."""
    m = np.zeros(CELLS + 1)
    first, second = np.zeros_like(m), np.zeros_like(m)
    best, best_m, waited, step = np.inf, m.copy(), 0, 0
    checkpoint, log = folder / "heat.npz", folder / "heat.csv"
    if checkpoint.exists():
        with np.load(checkpoint) as saved:
            m, first, second = saved["m"], saved["first"], saved["second"]
            best, best_m = float(saved["best"]), saved["best_m"]
            waited, step = int(saved["waited"]), int(saved["step"])
    else:
        log.write_text("step,loss,grad_norm\n")
    while True:
        value, gradient = misfit(m)
        if not np.isfinite(value):
            message = f"the misfit is {value} at step {step}"
            raise FloatingPointError(message)
        with log.open("a") as file:
            file.write(f"{step},{value},{abs(gradient).max()}\n")
        if value < best - MIN_DELTA:
            best, best_m, waited = value, m.copy(), 0
        else:
            waited += 1
        if waited == PATIENCE or step == MOST:
            break
        step += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        size = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        m = m - RATE * first / (1 - 0.9**step) / size
        if step % 50 == 0:
            state = {"m": m, "first": first, "second": second, "step": step}
            partial = folder / "partial.npz"
            np.savez(partial, **state, best=best, best_m=best_m, waited=waited)
            partial.replace(checkpoint)
    return best_m, best, step


if __name__ == "__main__":
    print(main(Path(sys.argv[1]))[1:])
