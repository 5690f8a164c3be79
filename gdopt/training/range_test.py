"""The learning-rate range test, which suggests a rate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.checks import (
    Range,
    check_count,
    check_function,
    check_kind,
    check_number,
    check_positive,
)
from gdopt.errors import ArgumentError, DivergenceError
from gdopt.optim import Optimizer
from gdopt.training.loop import objective_of
from gdopt.training.methods import parameters_of
from gdopt.training.objectives import Objective
from gdopt.training.run import Run
from gdopt.training.sources import refuse_iterators
from gdopt.training.stops import Stops

FACTOR = Range.parse("(1, inf)")


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """What `lr_finder` has measured, one number for each update.

    Attributes:
        rates: the learning rates, growing.
        losses: what a run records with them: before the update in a run with data,
            after it without.
        smoothed: the losses' exponentially weighted average.
        suggestion: the rate from which `smoothed` falls most over the next tenth of the
            rates; the first tenth is left out, where few losses are averaged. None
            where it never falls.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None

    def __repr__(self) -> str:
        suggestion = "None" if self.suggestion is None else f"{self.suggestion:.3g}"
        count, ends = len(self.rates), self.rates[[0, -1]]
        span = "{:.3g} to {:.3g}".format(*ends)
        return f"RangeTest(suggestion={suggestion}, {count} rates from {span})"

    def plot(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Draw the losses and their average over the rates, and mark the suggestion.

        Args:
            path: of the picture; its suffix is the format, ``.png``, ``.svg`` or
                ``.pdf``.
            title: the heading.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from gdopt.plots import series  # noqa: PLC0415 - brings the planner

        figure, (axis,) = series.panels([4.0])
        style = {"color": series.BLUE, "marker": "o" if len(self.rates) == 1 else ""}
        axis.plot(self.rates, self.losses, label="loss", alpha=0.5, lw=1.0, **style)
        axis.plot(self.rates, self.smoothed, label="average", lw=2.2, **style)
        series.logarithmic(axis, "x")
        before = self.smoothed[: max(1, len(self.smoothed) - 1)]  # it ended the test
        margin = 0.1 * np.ptp(before) or 1.0
        axis.set_ylim(before.min() - margin, before.max() + margin)
        axis.set_xlabel("learning rate", **series.STYLE)
        axis.set_ylabel("loss", **series.STYLE)
        if self.suggestion is not None:
            dotted = {"color": series.INK, "linestyle": ":", "linewidth": 1.6}
            label = f"suggestion: {self.suggestion:.2g}"
            axis.axvline(self.suggestion, label=label, **dotted)
        above = {"bbox_to_anchor": (0, 1), "loc": "lower left", "borderaxespad": 0.2}
        axis.legend(frameon=False, fontsize=12, labelcolor=series.INK, ncols=3, **above)
        series.save(figure, path, title)


def lr_finder(
    objective: Any,
    optimizer: Optimizer,
    data: Any = None,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    factor: float = 4.0,
) -> RangeTest:
    """Measure the loss while the learning rate grows, and suggest a rate.

    Update k of K has the rate ``low * (high / low)**((k - 1) / (K - 1))``, for all
    arrays. The test ends after `steps` updates, or when the smoothed loss is above
    `factor` times its lowest value (further above it than ``factor - 1`` times its
    magnitude, for losses that may be negative), or not finite.

    However it ends, everything is restored to the bit: parameters, the optimizer's
    state, step count and settings, such as a schedule, the position of the batches, the
    network's own state, and the random generators of NumPy and Python. Other state of a
    model is restored if it has ``state_dict`` and ``load_state_dict``.

    Args:
        objective: a `gdopt.nn.Network`, any object with ``params`` and
            ``loss_and_grads(*batch)``, or a function as `gdopt.minimize` takes it,
            which is called with the optimizer's parameters as they were given.
        optimizer: of its parameters, with a learning rate.
        data: mini-batches; None for a function of the whole problem.
        low: first rate, above 0.
        high: last rate, above `low`.
        steps: updates, at least 2.
        smoothing: beta of the average of the losses, in [0, 1).
        factor: above 1.

    Returns:
        A `RangeTest`: ``suggestion``, the curves, and ``plot(path)``.

    Raises:
        ArgumentError: a number is out of its range; the optimizer has no learning rate,
            or another argument does not fit, as in `gdopt.fit` and `gdopt.minimize`.
        ArgumentTypeError: an argument is of the wrong kind.
        DivergenceError: the first loss is not finite, or the data are not.

    Source:
        Smith 2015, "Cyclical learning rates for training neural networks", section 3.3
        (arXiv 1506.01186), with rates that grow linearly.

    Other libraries: fastai's ``steep`` suggests the rate of the steepest fall from one
    update to the next, which noise of mini-batches often decides; it smooths with 0.98.

    >>> import gdopt
    >>> X = np.random.default_rng(0).standard_normal((512, 4))
    >>> y = X @ np.array([1.0, 2.0, 3.0, 4.0])
    >>> def fg(w, x, y):
    ...     error = x @ w - y
    ...     return np.mean(error**2), 2 * x.T @ error / len(x)
    >>> w = np.zeros(4)
    >>> optimizer = gdopt.SGD(w, lr=0.1)
    >>> batches = gdopt.minibatches(X, y, batch_size=32)
    >>> found = lr_finder(fg, optimizer, batches)
    >>> round(found.suggestion, 2), optimizer.lr, w
    (0.05, 0.1, array([0., 0., 0., 0.]))
    """
    from gdopt.planner.snapshot import Snapshot  # noqa: PLC0415 - brings the planner

    check_kind("optimizer", optimizer, Optimizer)
    low, high = check_positive("low", low), check_positive("high", high)
    factor = check_number("factor", factor, FACTOR)
    if high <= low:
        raise ArgumentError(f"high must be above low={low:g}, got {high:g}")
    if check_count("steps", steps) < 2:
        raise ArgumentError(f"steps must be at least 2, got {steps}")
    if "lr" not in optimizer.hyper:
        message = f"optimizer must have a learning rate, lr, got {optimizer!r}"
        raise ArgumentError(message)
    own = _objective(objective, optimizer, data)
    stops = Stops(max_iter=steps)
    run = Run(own, optimizer, stops, data=data, smoothing=smoothing)
    kept = [optimizer]
    kept += [one for one in (objective, data) if hasattr(one, "load_state_dict")]
    snapshot, first = Snapshot(kept), optimizer.t
    try:
        ratio, last = high / low, steps - 1
        optimizer.hyper["lr"] = lambda t: low * ratio ** ((t - first) / last)
        return _measured(run, factor)
    finally:
        snapshot.restore()


def _objective(objective: Any, optimizer: Optimizer, data: Any) -> Objective:
    if data is not None:
        refuse_iterators("data", data)
    if hasattr(objective, "loss_and_grads"):
        return objective_of(objective, optimizer, data)
    check_function("objective", objective)
    own = parameters_of(optimizer)
    given = own.arena if own.container is None else own.container.given
    lone = next(iter(own.given.values()))
    return Objective(objective, lone if given is None else given)


def _measured(run: Run, factor: float) -> RangeTest:
    """Run until the loss has grown, and return what was recorded."""
    rows: list[tuple[float, float, float]] = []
    best = np.inf
    try:
        with np.errstate(all="ignore"):
            for record in run.records():
                if record.step == 0:  # before any update
                    continue
                smoothed = record.smoothed_loss
                rows.append((record.lr or np.nan, record.loss, smoothed))
                best = min(best, smoothed)
                if smoothed > best + (factor - 1) * abs(best):
                    break
    except DivergenceError as error:
        if not rows or not error.by_rate:
            raise
    rates, losses, smoothed = np.array(rows).T
    return RangeTest(rates, losses, smoothed, suggest(rates, smoothed))


def suggest(rates: np.ndarray, smoothed: np.ndarray) -> float | None:
    """Return the rate from which a loss falls most over the next tenth of the rates.

    >>> suggest(np.array([0.01, 0.1, 1.0, 10.0]), np.array([5.0, 4.0, 2.0, 3.0]))
    0.1
    """
    tenth = len(rates) // 10
    width = max(1, tenth)
    rates, smoothed = rates[tenth:], smoothed[tenth:]
    falls = smoothed[:-width] - smoothed[width:]
    if falls.size == 0 or falls.max() <= 0:
        return None
    return float(rates[falls.argmax()])
