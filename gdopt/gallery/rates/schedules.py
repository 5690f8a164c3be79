"""Every schedule of gdopt's, over 100 steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gdopt import schedules
from gdopt.gallery.parts.canvas import LETTERS, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, INK, save

STEPS = 100
DRAWN: dict[str, Callable[[int], float]] = {
    "constant(0.2)": schedules.constant(0.2),
    "inverse_time(0.2, rate=0.05)": schedules.inverse_time(0.2, rate=0.05),
    "per_epoch(inverse_time(0.2, 1),\nsteps=20, first=1)": schedules.per_epoch(
        schedules.inverse_time(0.2, rate=1), steps=20, first=1
    ),
    "exponential(0.2, 0.95)": schedules.exponential(0.2, 0.95),
    "exponential(0.2, 0.6, 20,\nstaircase=True)": schedules.exponential(
        0.2, 0.6, 20, staircase=True
    ),
    "halving(0.2, every=25)": schedules.halving(0.2, every=25),
    "inv_sqrt(0.2)": schedules.inv_sqrt(0.2),
    "piecewise([30, 70],\n[0.2, 0.1, 0.02])": schedules.piecewise(
        [30, 70], [0.2, 0.1, 0.02]
    ),
    "polynomial(0.2, 0, 80)": schedules.polynomial(0.2, 0.0, 80),
    "cosine(0.2, 0, 80)": schedules.cosine(0.2, 0.0, 80),
    "warmup(cosine(0.2, 0, 80),\nsteps=20)": schedules.warmup(
        schedules.cosine(0.2, 0.0, 80), steps=20
    ),
    "join([polynomial(0.02, 0.2, 30),\nhalving(0.2, 20)], [30])": schedules.join(
        [schedules.polynomial(0.02, 0.2, 30), schedules.halving(0.2, 20)], [30]
    ),
}


def _measure() -> Numbers:
    """Take the values at steps 0 to 99 of each schedule, by what one writes for it."""
    return {
        text: np.array([schedule(step) for step in range(STEPS)])
        for text, schedule in DRAWN.items()
    }


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(3, 4, size=(13, 8), sharex=True, sharey=True)
    for axis, (text, values) in zip(axes.flat, numbers.items(), strict=True):
        axis.plot(values, color=BLUE, linewidth=2.4, drawstyle="steps-post")
        axis.set_title(text, fontsize=10.5, color=INK, loc="left", family="monospace")
        axis.set_ylim(0, 0.21)
    for axis in axes[-1]:
        axis.set_xlabel("step", **LETTERS)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate", **LETTERS)
    save(figure, path, claim)


decay_schedules = Picture(
    "schedules",
    "Every schedule, and what one writes for it",
    _measure,
    _paint,
)
