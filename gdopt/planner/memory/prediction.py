"""What a batch of any size will take: by the network's buffers, or by small trials."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gdopt.planner.memory.host import Peak
from gdopt.planner.memory.meter import Meter
from gdopt.planner.steps import TrialStep
from gdopt.planner.throughput import TrialBatches


def rounded(buffers: Mapping[str, float], unit: int) -> dict[str, int]:
    """Round every buffer up to a multiple of the device's unit; drop empty ones."""
    sizes = {name: -(-int(size) // unit) * unit for name, size in buffers.items()}
    return {name: size for name, size in sizes.items() if size}


@dataclass(frozen=True)
class LinearModel:
    """Bytes of a step in addition to its batch: ``fixed + each * rows``."""

    fixed: float
    each: float

    def bytes(self, rows: int) -> float:
        """Return the bytes for `rows` examples."""
        return self.fixed + self.each * rows

    def buffers(self, rows: int) -> dict[str, float]:
        """Return the bytes by name."""
        fixed = max(0.0, min(self.fixed, self.bytes(rows)))
        each = max(0.0, self.bytes(rows) - fixed)
        return {"whatever the size": fixed, "by the examples": each}


def fit_models(peaks: Mapping[int, Peak]) -> list[LinearModel]:
    """Fit a line to every sample of a step that was tried at one or two sizes.

    What is highest at a small size need not be so at a large one: each sample grows
    along a line of its own, and the highest of the lines counts. Samples that only one
    of the sizes has are left out.
    """
    low, high = min(peaks), max(peaks)
    small, large = peaks[low], peaks[high]
    pairs = {(small.used, large.used)}
    for key in small.samples.keys() & large.samples.keys():
        pairs.add((small.samples[key], large.samples[key]))
    models = []
    for below, above in pairs:  # through both sizes, or from 0 through the same one
        each = max(0.0, (above - below) / (high - low)) if high > low else below / low
        models.append(LinearModel(below - each * low, each))
    return models


class Prediction:
    """Predicts what trial steps allocate, and learns from what they did."""

    def __init__(
        self, step: TrialStep, batches: TrialBatches, meter: Meter, small: Sequence[int]
    ) -> None:
        self._step, self._batches, self._unit = step, batches, meter.unit
        self._models: list[LinearModel] = []
        self._worst = 0.0  # bytes for each example above what was predicted
        if step.stages(1) is None:
            self._models = fit_models(self._tried(meter, small))
        self._evaluation = step.evaluation()
        if self._evaluation is None and step.evaluate is not None:
            with meter.watch() as peak:
                step.evaluate()
            self._evaluation = {"evaluation": float(peak.used)}

    def _tried(self, meter: Meter, small: Sequence[int]) -> dict[int, Peak]:
        """Do two steps at each size, twice: the first time may fill caches."""
        peaks: dict[int, Peak] = {}
        for _ in range(2):
            for size in small:
                batch = self._batches.of_size(size)(0)
                with meter.watch(samples=True) as peaks[size]:
                    for _ in range(2):
                        self._step(*batch)
        return peaks

    def buffers(self, size: int) -> dict[str, int]:
        """Return the buffers of the highest stage of an epoch with such batches."""
        ragged = self._batches.ragged(size)
        batch = self._batches.bytes(size, self._unit)
        batches = {"two batches": 2 * batch}
        last = {"the last, smaller batch": self._batches.bytes(ragged, self._unit)}
        stages = [batches | stage for stage in self._stages(size)]
        if ragged:
            stages += [batches | last | stage for stage in self._stages(ragged)]
        kept = last if ragged else {"a batch": batch}
        stages.append(kept | (self._evaluation or {}))
        all_rounded = [rounded(buffers, self._unit) for buffers in stages]
        return max(all_rounded, key=lambda buffers: sum(buffers.values()))

    def _stages(self, rows: int) -> list[dict[str, float]]:
        stages = self._step.stages(rows)
        if stages is not None:
            return list(stages.values())
        return [max(self._models, key=lambda model: model.bytes(rows)).buffers(rows)]

    def bytes(self, size: int) -> int:
        """Predict what an epoch with batches of this size allocates at its peak."""
        return sum(self.buffers(size).values())

    def learn(self, size: int, took: int) -> None:
        """Take in what a size took: where it was more, larger ones will take more."""
        self._worst = max(self._worst, (took - self.bytes(size)) / size)

    def residual(self, size: int) -> int:
        """Return by how much the prediction may be too low, as far as is known."""
        return int(self._worst * size)

    def largest(self, most: int, limit: int) -> int:
        """Return the largest size that takes at most that many bytes, up to a limit."""

        def need(size: int) -> int:
            return self.bytes(size) + self.residual(size)

        return bisect.bisect_right(range(1, limit + 1), most, key=need)
