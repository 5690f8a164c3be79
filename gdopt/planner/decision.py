"""Chooses a size from the measured rows, and says why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gdopt.planner.noise import NoiseScale
from gdopt.planner.plan import Row
from gdopt.planner.throughput import smallest_near_best
from gdopt.tables import format_bytes

NEAR = 0.03  # a smaller size within 3 % is as fast, and learns in more steps
SMALL_DATA = 2000  # examples up to which the course takes the whole batch


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
    small_data_rule: bool,
) -> Decision | None:
    """Choose among the sizes that fit; None where none does."""
    fitting = [row for row in rows if row.fits]
    if not fitting:
        return None
    by_evidence = _by_evidence(rows, fitting, noise)
    if wanted is not None:
        whole, name, why = wanted, "asked", f"{wanted:,} were asked for"
    elif small_data_rule and examples <= SMALL_DATA:
        whole, name = examples, "small data"
        why = f"there are {examples:,} examples; up to {SMALL_DATA:,} are one batch"
    else:
        return by_evidence
    if any(row.batch_size == whole for row in fitting):
        why += _cost(fitting, by_evidence.micro_batch_size, whole)
        return Decision(whole, whole, name, why)
    smaller = [row for row in fitting if row.batch_size < whole]
    if not smaller:
        return None
    size = _by_evidence(rows, smaller, noise).micro_batch_size
    why += ", which do not fit the memory together"
    return Decision(size, whole, "memory", why)


def _cost(fitting: Sequence[Row], fastest: int, wanted: int) -> str:
    """Say what a rule costs where measurements would choose otherwise."""
    rates = {row.batch_size: row.examples_per_second for row in fitting}
    own, other = rates.get(wanted), rates.get(fastest)
    if fastest == wanted or own is None or other is None:
        return ""
    steps = math.ceil(wanted / fastest)
    return (
        f"; by measurement it would be {fastest:,}: {other / own:.2f} times as many "
        f"examples a second, and {steps} updates where the whole batch has one"
    )


def _by_evidence(
    rows: Sequence[Row], fitting: Sequence[Row], noise: NoiseScale | None
) -> Decision:
    rates = {
        row.batch_size: row.examples_per_second
        for row in fitting
        if row.examples_per_second is not None
    }
    if not rates:
        size = fitting[-1].batch_size
        reason = "the largest that is predicted to fit; its speed was not measured"
        return Decision(size, size, "memory", reason)
    fast = smallest_near_best(rates, NEAR)
    frugal = fast if noise is None else _by_goodput(rates, noise.high)
    if noise is not None and frugal < fast:
        reason = (
            "noise scale: a batch's gradient is as long as its noise at "
            f"{noise.value:,.0f} examples, and larger ones cost more than they gain; "
            f"by throughput alone it would be {fast:,}"
        )
        return Decision(frugal, frugal, "noise scale", reason)
    beyond = [row for row in rows if row.batch_size > fast and not row.fits]
    if fast == max(rates) and beyond:
        need = format_bytes(beyond[0].predicted_bytes + beyond[0].margin_bytes)
        reason = (
            f"memory: the fastest that fits; {beyond[0].batch_size:,} would take "
            f"{need} with the margin"
        )
        return Decision(fast, fast, "memory", reason)
    best = max(rates, key=lambda size: rates[size])
    reason = f"throughput: {rates[fast]:,.0f} examples a second, the best of all sizes"
    if best != fast:
        reason = (
            f"throughput: {rates[fast]:,.0f} examples a second, the smallest within "
            f"{NEAR:.0%} of the best, {rates[best]:,.0f} at {best:,}"
        )
    return Decision(fast, fast, "throughput", reason)


def _by_goodput(rates: dict[int, float], noise: float) -> int:
    """Choose by what is learned per second, at this noise scale."""
    if not 0 < noise < math.inf:
        return smallest_near_best(rates, NEAR) if noise else min(rates)
    scores = {size: rate / (1 + size / noise) for size, rate in rates.items()}
    return smallest_near_best(scores, NEAR)
