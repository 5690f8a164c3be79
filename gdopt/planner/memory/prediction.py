"""What a batch of any size will take: by the network's buffers, or by small trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.planner.evidence.source import Source
from gdopt.planner.memory import Meter
from gdopt.planner.steps import Step

BATCHES = "two batches"


def rounded(buffers: Mapping[str, float], unit: int) -> dict[str, int]:
    """Round every buffer up to a multiple of the device's unit."""
    return {name: -(-int(size) // unit) * unit for name, size in buffers.items()}


@dataclass(frozen=True)
class Line:
    """Bytes of a step beside its batch: ``fixed + each * rows``."""

    fixed: float
    each: float

    @classmethod
    def through(cls, points: Mapping[int, float]) -> Line:
        """Draw the line through measurements at one or two sizes."""
        (low, below), (high, above) = min(points.items()), max(points.items())
        if low == high:
            return cls(0.0, below / low)
        each = max(0.0, (above - below) / (high - low))
        return cls(below - each * low, each)

    def buffers(self, rows: int) -> dict[str, float]:
        """Give the bytes by name."""
        fixed, each = max(0.0, self.fixed), self.each * rows + min(0.0, self.fixed)
        return {"whatever the size": fixed, "by the examples": max(0.0, each)}


class Prediction:
    """Predicts what trial steps allocate, and learns from what they did.

    Args:
        step: knows its buffers, or is tried at two small sizes.
        source: of the batches.
        meter: of the device.
        small: two small sizes, or one.
        watch: measures the peak of some work in bytes.
    """

    def __init__(
        self,
        step: Step,
        source: Source,
        meter: Meter,
        small: tuple[int, ...],
        watch: Callable[[Callable[[], Any]], int],
    ) -> None:
        self._step, self._source, self._unit = step, source, meter.unit
        self._line: Line | None = None
        self._worst = 0.0  # bytes for each example above what was predicted
        if step.stages(1) is None:
            points = {}
            for size in small:
                took = watch(lambda size=size: self._try(size))  # type: ignore[misc]
                points[size] = took - 2 * self._batch(size)
            self._line = Line.through(points)
        self._evaluation = step.evaluation(1)
        if self._evaluation is None and step.evaluate is not None:
            self._evaluation = {"evaluation": float(watch(step.evaluate))}

    def _try(self, size: int) -> None:
        batch = self._source.batches(size)
        for number in range(2):
            rows = batch(number)
            self._step(*rows)

    def _batch(self, rows: int) -> float:
        return self._source.bytes(rows, self._unit)

    def buffers(self, size: int) -> dict[str, int]:
        """Give the buffers of the highest moment of an epoch with such batches."""
        ragged = self._source.ragged(size)
        batches = {BATCHES: 2 * self._batch(size)}
        last = {"the last, smaller batch": self._batch(ragged)} if ragged else {}
        moments = [batches | stage for stage in self._stages(size)]
        if ragged:
            moments += [batches | last | stage for stage in self._stages(ragged)]
        held = last or {"a batch": self._batch(size)}
        moments.append(held | (self._evaluation or {}))
        all_rounded = [rounded(moment, self._unit) for moment in moments]
        return max(all_rounded, key=lambda moment: sum(moment.values()))

    def _stages(self, rows: int) -> list[dict[str, float]]:
        if self._line is not None:
            return [self._line.buffers(rows)]
        return list((self._step.stages(rows) or {}).values())

    def bytes(self, size: int) -> int:
        """Predict what an epoch with batches of this size allocates at its peak."""
        return sum(self.buffers(size).values())

    def learn(self, size: int, took: int) -> None:
        """Take in what a size took: where it was more, larger ones will take more."""
        self._worst = max(self._worst, (took - self.bytes(size)) / size)

    def residual(self, size: int) -> int:
        """Give by how much the prediction may be too low, as far as is known."""
        return int(self._worst * size)

    def largest(self, most: int, limit: int) -> int:
        """Give the largest size that takes so many bytes at most, up to a limit."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            if self.bytes(middle) + self.residual(middle) <= most:
                low = middle
            else:
                high = middle - 1
        return low
