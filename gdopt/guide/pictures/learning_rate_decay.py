"""What a decaying rate does near a noisy minimum, and every schedule that there is.

Pictures: decay.png, schedules.png.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gdopt import schedules
from gdopt.guide.pictures import canvas
from gdopt.guide.pictures.canvas import Numbers, figure_grid, save
from gdopt.optim import SGD
from gdopt.plots.series import BLUE, INK, ORANGE, logarithmic
from gdopt.problems import bowl

RUNS, NOISY_STEPS, NOISE = 400, 400, 1.0
DECAYS = {
    "fixed at 0.2": (0.2, INK),
    "fixed at 0.01": (0.01, BLUE),
    "decaying, 0.2 / (1 + 0.05 t)": (schedules.inverse_time(0.2, rate=0.05), ORANGE),
}
STEPS = 100
SCHEDULES = (  # as they are written above each panel
    "constant(0.2)",
    "inverse_time(0.2, rate=0.05)",
    "per_epoch(inverse_time(0.2, 1),\nsteps=20, first=1)",
    "exponential(0.2, 0.95)",
    "exponential(0.2, 0.6, 20,\nstaircase=True)",
    "halving(0.2, every=25)",
    "inv_sqrt(0.2)",
    "piecewise([30, 70],\n[0.2, 0.1, 0.02])",
    "polynomial(0.2, 0, 80)",
    "cosine(0.2, 0, 80)",
    "warmup(cosine(0.2, 0, 80),\nsteps=20)",
    "join([polynomial(0.02, 0.2, 30),\nhalving(0.2, 20)], [30])",
    "cosine_restarts(0.2, 0, 14,\nt_mul=2, m_mul=0.7)",
    "cyclic(0.02, 0.2, 10, 15,\nform='triangular2')",
    "one_cycle(0.2, 100)[0]",
    "interpolate([0, 10, 60, 80],\n[0.1, 0.2, 0.2, 0])",
)


def compute_decay() -> Numbers:
    """Descend into a bowl with noise of deviation 1 in the gradients, in 400 runs.

    All rates see the same noise. 0.2 / (1 + 0.05 t) ends near 0.01: so a rate that is
    fixed there is drawn, too, which comes as near but takes longer. ``distances`` are
    the root mean squares over the runs, ``points`` the path of the first run.
    """
    problem = replace(bowl(2.0), box=((-4.6, 1.6), (-2, 2)))
    numbers: Numbers = {"problem": problem, "distances": {}, "points": {}}
    for name, (rate, _) in DECAYS.items():
        rng = np.random.default_rng(0)
        p = np.tile(np.array(problem.start), (RUNS, 1))
        optimizer = SGD(p, lr=rate)
        points = [p.copy()]
        for _ in range(NOISY_STEPS):
            noise = NOISE * rng.standard_normal(p.shape)
            optimizer.step(problem.gradient(p) + noise)
            points.append(p.copy())
        away = problem.distance(np.array(points))
        numbers["distances"][name] = np.sqrt(np.mean(away**2, axis=1))
        numbers["points"][name] = np.array(points)[:, 0]
    return numbers


def draw_decay(numbers: Numbers, path: Path) -> None:
    """Draw one run of each rate, and the distances from the minimum."""
    title = "A decaying rate is fast at first, and ends near a noisy minimum"
    figure, (left, right) = figure_grid(title, (12, 5.2), columns=2)
    canvas.draw_contours(left, numbers["problem"])
    for name, (_, colour) in DECAYS.items():
        style = {"color": colour, "linewidth": 1.4, "alpha": 0.85}
        left.plot(*numbers["points"][name].T, ".-", markersize=4, **style)
        distances = numbers["distances"][name]
        text = f"{name}: {distances[-1]:.2f} away at the end"
        right.plot(distances, color=colour, linewidth=2, label=text)
    canvas.mark_start(left, numbers["problem"].start)
    left.set(title="one run of each, with the same noise")
    left.set(xlabel="first parameter", ylabel="second parameter")
    text = "distance from the minimum"
    right.set(title=f"root mean square of {RUNS} runs", xlabel="step t", ylabel=text)
    logarithmic(right, "y")
    right.set_ylim(top=50)  # room for the legend
    right.legend()
    save(figure, path)


def draw_schedules(path: Path) -> None:
    """Draw a panel for each schedule: the rates at steps 0 to 99."""
    title = "Every schedule, and the code that makes it"
    figure, axes = figure_grid(title, (13, 10.5), 4, 4, sharex=True, sharey=True)
    for axis, code in zip(axes.flat, SCHEDULES, strict=True):
        schedule = eval(code, dict(vars(schedules)))  # noqa: S307 - the text above
        rates = [schedule(step) for step in range(STEPS)]
        axis.plot(rates, color=BLUE, linewidth=2.4, drawstyle="steps-post")
        axis.set_title(code, fontsize=10.5, family="monospace")
        axis.set(xlabel="step", ylabel="rate", ylim=(0, 0.21))
        axis.label_outer()
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = canvas.output_folder(arguments, __doc__)
    draw_decay(compute_decay(), folder / "decay.png")
    draw_schedules(folder / "schedules.png")


if __name__ == "__main__":
    main()
