"""A plan: the size, why, and the evidence for every size."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from gdopt.files import write_whole
from gdopt.planner.noise import NoiseScale
from gdopt.tables import aligned, format_bytes

FORMAT = 1
SMALL_DATA = 2000  # examples up to which the course takes the whole batch


@dataclass
class Row:
    """What is known of one batch size.

    Attributes:
        batch_size: examples.
        predicted_bytes: of the device's memory at the peak, all that training holds
            included.
        measured_bytes: the same, measured; None where the size was not tried.
        reserved_bytes: the same, with gaps between arrays and what is not traced; 0
            where it is not known.
        margin_bytes: to stay free.
        fits: whether peak and margin stay within the memory.
        examples_per_second: the median over the repeats, or None.
        examples_per_second_low: lower end of its 95 % interval.
        examples_per_second_high: upper end.
        goodput: ``examples_per_second / (1 + batch_size / noise_scale)``, or None.
        note: what happened, if anything did.
    """

    batch_size: int
    predicted_bytes: int
    measured_bytes: int | None = None
    reserved_bytes: int = 0
    margin_bytes: int = 0
    fits: bool = False
    examples_per_second: float | None = None
    examples_per_second_low: float | None = None
    examples_per_second_high: float | None = None
    goodput: float | None = None
    note: str = ""


@dataclass
class Plan:
    """Which mini-batch size to use, and the evidence; `gdopt.plan_batch_size` makes it.

    ``print(plan)`` shows a table, `save` writes JSON, `gdopt.plots.batch_sizes` draws.

    Attributes:
        micro_batch_size: examples that go through a step together.
        batch_size: examples of an update: more than `micro_batch_size` where they do
            not fit.
        micro_batches: how many steps' gradients make an update; 1 as a rule.
        decided_by: ``"goodput"``; ``"throughput"`` where the noise scale is not known;
            ``"epochs"``, ``"memory"`` or ``"asked"``.
        reason: the same in a sentence.
        rows: one for each size, the smallest first.
        noise_scale: of the gradients, or None where they are not known.
        buffers: bytes of what a micro-batch takes at its peak, by name.
        examples: in the data.
        device: ``"cpu"`` or ``"cuda:0"``.
        device_name: a readable one.
        memory_bytes: that the plan is for: free ones, and those in use already.
        resident_bytes: in use by state and data already.
        notices: anything else to know.
        date: of the measurements.
        seconds: that they took.
    """

    micro_batch_size: int
    batch_size: int
    micro_batches: int
    decided_by: str
    reason: str
    rows: list[Row]
    noise_scale: NoiseScale | None
    buffers: dict[str, int]
    examples: int
    device: str
    device_name: str
    memory_bytes: int
    resident_bytes: int
    notices: list[str] = field(default_factory=list)
    date: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        rows = table(self.rows, self.micro_batch_size, self.examples)
        lines = [self.headline(), "", *rows, "", self._rule_line()]
        if self.noise_scale is not None:
            lines.append(_noise_line(self.noise_scale))
        margin = max(row.margin_bytes for row in self.rows)
        lines.append(
            f"memory: {format_bytes(self.memory_bytes)} for this work on "
            f"{self.device_name}, of which {format_bytes(margin)} stay free"
        )
        parts = ", ".join(f"{n} {format_bytes(b)}" for n, b in self.buffers.items())
        lines.append(f"a batch of {self.micro_batch_size:,} takes: {parts}")
        lines += [f"note: {notice}" for notice in self.notices]
        return "\n".join(lines)

    def headline(self) -> str:
        """Return the size and the reason in a sentence or two."""
        several = ""
        if self.micro_batches > 1:
            several = (
                f", {self.micro_batches} of them accumulated to a batch of "
                f"{self.batch_size:,}"
            )
        return f"batch size {self.micro_batch_size:,}{several}: {self.reason}"

    def _rule_line(self) -> str:
        if self.examples > SMALL_DATA:
            rule = "a power of two that fits, 64 to 512 as a rule"
        else:
            rule = f"up to {SMALL_DATA:,} examples are one batch, so {self.examples:,}"
        return f"the course's rule, for comparison: {rule}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON knows it; what is infinite is None."""
        return {"format": FORMAT, **_finite(asdict(self))}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        write_whole(path, text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _noise_line(noise: NoiseScale) -> str:
    high = f"{noise.high:,.0f}" if math.isfinite(noise.high) else "any"
    value = f"{noise.value:,.0f}" if math.isfinite(noise.value) else "unknown"
    return (
        f"gradient noise scale: {value} examples (95 % interval {noise.low:,.0f} to "
        f"{high}), from {noise.examples:,} examples; it grows during training"
    )


HEADER = ("size", "updates", "predicted", "measured", "fits", "examples/s", "95 %")


def table(rows: list[Row], chosen: int | None, examples: int) -> list[str]:
    """Lay the rows out in columns of text; the chosen one is marked.

    Updates are those in an epoch of that many examples.
    """
    # The first column is empty, for the mark.
    cells = [(*HEADER, "goodput/s"), *(_cells(row, examples) for row in rows)]
    lines = aligned([("", *line) for line in cells])
    for k, row in enumerate(rows, start=1):
        if row.batch_size == chosen:
            lines[k] = ">" + lines[k][1:]
        if row.note:
            lines[k] += f"  {row.note}"
    return lines


def _cells(row: Row, examples: int) -> tuple[str, ...]:
    def rate(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}"

    measured, low = row.measured_bytes, row.examples_per_second_low
    return (
        f"{row.batch_size:,}",
        f"{-(-examples // row.batch_size):,}",
        format_bytes(row.predicted_bytes),
        "-" if measured is None else format_bytes(measured),
        "yes" if row.fits else "no",
        rate(row.examples_per_second),
        "-" if low is None else f"{rate(low)}-{rate(row.examples_per_second_high)}",
        rate(row.goodput),
    )
