"""The norm of the gradients on the CPU: by NumPy, or in one pass by Numba."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout
from gdopt.kernels.kernel import cpu_engine
from gdopt.kernels.norm import NormPlan, root, segment_sums


class CpuNorm:
    """Computes the norm of gradients of one layout."""

    def __init__(self, layout: Layout) -> None:
        self._plan = plan = NormPlan(layout)
        self._arrays: list[Any] = []  # with Numba, for each its loop and segments
        self._loops: dict[str, Any] = {}
        if cpu_engine() == "numba" and layout.sizes.keys() <= {"float32", "float64"}:
            from gdopt.kernels.cpu.squares import square_loops  # noqa: PLC0415 - Numba

            self._loops = {group: square_loops(group) for group in layout.sizes}
            rest = dict(plan.segments)
            for slot in layout.slots.values():
                rows = rest[slot.group]
                count = np.searchsorted(rows[:, 4], rows[0, 4], "right")
                own, rest[slot.group] = np.split(rows, [count])
                self._arrays.append((self._loops[slot.group].add_squares, own))

    def __call__(self, grads: Arena | Sequence[Any]) -> float:
        """Return the norm of all arrays together."""
        return self._add(grads)[1]

    def of_arrays(self, grads: Arena) -> np.ndarray:
        """Return the sums of squares of each array: (1 or 3, arrays)."""
        sums: np.ndarray = self._add(grads)[0][:, self._plan.arrays]
        return sums

    def _add(self, grads: Arena | Sequence[Any]) -> tuple[np.ndarray, float]:
        """Return the sums of the segments, and of neighbours; and the norm."""
        plan = self._plan
        sums = np.zeros((plan.sums, plan.ends[-1]))
        if not self._loops:
            arrays = list(grads.values()) if isinstance(grads, Arena) else grads
            sums[:, : plan.ends[0]] = segment_sums(arrays, scaled=plan.sums > 1)
            for low, high in itertools.pairwise(plan.ends):
                firsts = plan.firsts[low - plan.ends[0] : high - plan.ends[0]]
                sums[:, low:high] = np.add.reduceat(sums[:, :low], firsts, axis=1)
            return sums, root(*sums[:, -1].tolist())
        if isinstance(grads, Arena):
            for group, loops in self._loops.items():
                buffer, rows = grads.buffers[group], plan.segments[group]
                loops.add_squares(buffer, rows, 1, sums)
        else:
            for (add_squares, rows), array in zip(self._arrays, grads, strict=True):
                add_squares(array.reshape(-1), rows, 0, sums)
        return sums, next(iter(self._loops.values())).join(sums, plan.firsts)

    def tables(self, group: str) -> list[np.ndarray]:
        """Return what `take_norm` takes after a buffer, where all is in that one."""
        plan = self._plan
        return [plan.segments[group], np.zeros((plan.sums, plan.ends[-1])), plan.firsts]
