"""Chooses a size from the measured rows, and says why and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gdopt.planner.noise import NoiseScale
from gdopt.planner.plan import Row
from gdopt.planner.throughput import is_noisy
from gdopt.tables import format_bytes

NEAR = 0.03  # a smaller size within 3 % is as good, and makes more updates
# Times as many epochs that a size may need to learn as much as the smallest one, where
# their number is fixed.
MOST_EPOCHS = 1.05


@dataclass(frozen=True)
class Decision:
    """The size of a step, and of an update, and the reason."""

    micro_batch_size: int
    batch_size: int
    decided_by: str
    reason: str

    @property
    def micro_batches(self) -> int:
        """Return how many steps' gradients make an update."""
        return -(-self.batch_size // self.micro_batch_size)


def add_goodput(rows: Sequence[Row], noise: NoiseScale | None) -> None:
    """Set ``goodput = examples per second / (1 + size / noise scale)`` of every row.

    To learn as much as one step without noise does takes 1 + B_noise / B steps of B
    examples, which are B + B_noise of them (McCandlish et al. 2018, equation 2.11).
    """
    for row in rows:
        rate = row.examples_per_second
        if noise is not None and rate is not None and noise.value > 0:
            row.goodput = rate / (1 + row.batch_size / noise.value)


def decide(
    rows: Sequence[Row],
    noise: NoiseScale | None,
    *,
    examples: int,
    wanted: int | None,
    fixed_epochs: bool,
) -> Decision | None:
    """Choose among the sizes that fit; None where none does."""
    fitting = [
        row for row in rows if row.fits and row.batch_size <= (wanted or examples)
    ]
    if not fitting:
        return None
    if wanted is None:
        found = _by_evidence(rows, fitting, noise, examples, fixed_epochs)
        return replace(found, reason=found.reason + _warning(fitting))
    why = f"{wanted:,} were asked for"
    if fitting[-1].batch_size == wanted:
        why += _cost(examples, noise, wanted, fitting[0].batch_size)
        return Decision(wanted, wanted, "asked", why)
    size = _best(fitting, noise).batch_size
    why += ", which do not fit the memory together"
    return Decision(size, wanted, "memory", why)


def _by_evidence(
    rows: Sequence[Row],
    fitting: Sequence[Row],
    noise: NoiseScale | None,
    examples: int,
    fixed_epochs: bool,  # noqa: FBT001
) -> Decision:
    """Choose by goodput, or by throughput where the noise scale is not known."""
    first, free = fitting[0].batch_size, _best(fitting, noise)
    low = 0.0 if noise is None else noise.low
    most = MOST_EPOCHS if fixed_epochs else math.inf
    kept = [row for row in fitting if _epochs(row.batch_size, first, low) <= most]
    chosen = _best(kept, noise)
    size, name = chosen.batch_size, "throughput" if noise is None else "goodput"
    if size != free.batch_size:
        why = f"their number is fixed; by {name} alone it would be {free.batch_size:,}"
        cost = _cost(examples, noise, free.batch_size, size)
        return Decision(size, size, "epochs", f"epochs: {why}{cost}")
    beyond = [row for row in rows if row.batch_size > size and not row.fits]
    best = max(kept, key=lambda row: _score(row, row.examples_per_second, noise))
    why = f"{_shown(chosen, name)} examples a second, the best of all sizes"
    if chosen.examples_per_second is None:
        name = "memory"
        why = "the largest that is predicted to fit; its speed was not measured"
    elif chosen is fitting[-1] and beyond:
        name = "memory"
        need = format_bytes(beyond[0].predicted_bytes + beyond[0].margin_bytes)
        why = f"the best that fits; {beyond[0].batch_size:,} would take {need} "
        why += "with the margin"
    elif best is not chosen:
        why = f"{_shown(chosen, name)} examples a second, the smallest that is not "
        why += f"certain to be {NEAR:.0%} below the best, {_shown(best, name)} at "
        why += f"{best.batch_size:,}"
    cost = _cost(examples, noise, size, first)
    return Decision(size, size, name, f"{name}: {why}{cost}")


def _best(rows: Sequence[Row], noise: NoiseScale | None) -> Row:
    """Return the smallest size that may be as good as the best, by its interval.

    It is the largest where no speed is known.
    """
    timed = [row for row in rows if row.examples_per_second is not None]
    if not timed:
        return rows[-1]
    least = max(_score(row, row.examples_per_second_low, noise) for row in timed)
    return next(
        row
        for row in timed
        if _score(row, row.examples_per_second_high, noise) >= (1 - NEAR) * least
    )


def _score(row: Row, rate: float | None, noise: NoiseScale | None) -> float:
    """Return what is learned per second, in proportion; 0 where it was not timed."""
    learned = rate or 0.0
    if noise is None or math.isinf(noise.value):
        return learned
    return learned / (noise.value + row.batch_size)


def _shown(row: Row, name: str) -> str:
    value = row.examples_per_second if name == "throughput" else row.goodput
    return f"{value or 0:,.0f}"


def _warning(rows: Sequence[Row]) -> str:
    """Say which interval is the widest, if it is too wide to trust."""
    intervals = [
        (high / low, low, high, row.batch_size)
        for row in rows
        if (low := row.examples_per_second_low)
        and (high := row.examples_per_second_high)
    ]
    _, low, high, size = max(intervals, default=(1.0, 1.0, 1.0, 0))
    if not is_noisy(low, high):
        return ""
    return (
        "; the timings are too noisy to trust, even after more rounds: "
        f"{low:,.0f} to {high:,.0f} examples a second with {size:,}"
    )


def _epochs(size: int, other: int, noise: float) -> float:
    """Return how many times as many epochs as with `other` learn as much."""
    return (size + noise) / (other + noise)


def _cost(examples: int, noise: NoiseScale | None, size: int, other: int) -> str:
    """Say what the larger of two sizes costs in updates, and in epochs if known."""
    if size <= other:
        return ""
    updates, more = -(-examples // size), -(-examples // other)
    cost = f"; updates in an epoch: {updates:,} with {size:,}, {more:,} with {other:,}"
    if noise is None:
        return f"{cost}; what this costs is not known without the noise scale"
    epochs = _epochs(size, other, noise.low)
    return f"{cost}; to learn as much takes up to {epochs:.2f} times as many epochs"
