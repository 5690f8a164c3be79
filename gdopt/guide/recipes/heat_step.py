"""The author's loop with `opt.step` in place of Adam by hand, and `gdopt.save`."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import gdopt
from gdopt.guide.recipes.heat_model import CELLS, misfit

RATE, MOST, PATIENCE, MIN_DELTA = 0.1, 1000, 20, 1e-5


def main(folder: Path) -> tuple[Any, float, int]:
    """Fit the rod; return the best parameters, their misfit, and the last step."""
    m = np.zeros(CELLS + 1)
    opt = gdopt.Adam(m, RATE)
    best, best_m, waited = np.inf, m.copy(), 0
    checkpoint, log = folder / "heat.npz", folder / "heat.csv"
    if checkpoint.exists():
        saved = gdopt.load(checkpoint)
        m[...] = saved["m"]
        opt.load_state_dict(saved["opt"])
        best, best_m, waited = saved["best"], saved["best_m"], saved["waited"]
    else:
        log.write_text("step,loss,grad_norm\n")
    while True:
        value, gradient = misfit(m)
        if not np.isfinite(value):
            message = f"the misfit is {value} at step {opt.t}"
            raise FloatingPointError(message)
        with log.open("a") as file:
            file.write(f"{opt.t},{value},{abs(gradient).max()}\n")
        if value < best - MIN_DELTA:
            best, best_m, waited = value, m.copy(), 0
        else:
            waited += 1
        if waited == PATIENCE or opt.t == MOST:
            break
        opt.step(gradient)
        if opt.t % 50 == 0:
            state = {"m": m, "opt": opt.state_dict()}
            state |= {"best": best, "best_m": best_m, "waited": waited}
            gdopt.save(checkpoint, state)
    return best_m, best, opt.t


if __name__ == "__main__":
    print(main(Path(sys.argv[1]))[1:])
