"""What is said where no size fits: what each would take, and what would help."""

from __future__ import annotations

from typing import Any

from gdopt.errors import PlanError
from gdopt.planner.memory import format_bytes
from gdopt.planner.plan import Row, table
from gdopt.planner.trials import Trials


def hopeless(trials: Trials, size: int, failure: str) -> PlanError:
    """Say that even the smallest trial ran out of memory."""
    return PlanError(
        f"no mini-batch fits the memory: a step with {size:,} examples ran out of it "
        f"({failure}); {format_bytes(trials.available())} are free or in use by state "
        f"and data, of which these hold {format_bytes(trials.held)}. Fewer examples "
        f"(sizes=({max(1, size // 4)},)), a smaller model, state in half precision, or "
        "a larger device would fit"
    )


def nothing_fits(trials: Trials, rows: list[Row]) -> PlanError:
    """Say what every size takes, and what would make one fit."""
    prediction: Any = trials.prediction
    budget, smallest = trials.budget(), rows[0].batch_size
    margin = min(row.margin_bytes for row in rows)
    lasting = trials.held + trials.order + margin
    size = prediction.largest(budget - lasting, smallest - 1)
    if size:
        pieces = -(-smallest // size)
        advice = (
            f"batches of {size:,} would fit: sizes=({size},), and {pieces} of them "
            f"accumulated make {smallest:,}"
        )
    else:
        least = format_bytes(lasting + prediction.bytes(1))
        advice = (
            f"even 1 example takes {least} with the margin: a smaller model, state in "
            f"half precision, or a device with {least} would fit"
        )
    lines = "\n".join(table(rows, None))
    return PlanError(
        f"no mini-batch fits the memory: {format_bytes(budget)}, of which "
        f"{format_bytes(margin)} are to be left free\n{lines}\n{advice}",
        rows,
    )
