"""Finds an element of a large parameter whose gradient is wrong, by halving."""

from __future__ import annotations

import math

import numpy as np

from gdopt.nn.gradient_check.probe import Probe
from gdopt.nn.gradient_check.report import ParameterCheck


class Halving:
    """Looks for an element where analytic and numeric gradient disagree.

    Each half of the elements is moved at once, with random signs, and the one whose
    derivative disagrees more is halved again: log2(n) rounds instead of n. With one
    wrong element it is found; with several, one of them as a rule.
    """

    def __init__(
        self, probe: Probe, name: str, gradient: np.ndarray, step: float
    ) -> None:
        self.probe, self.name, self.gradient, self.step = probe, name, gradient, step

    def locate(
        self, check: ParameterCheck, generator: np.random.Generator
    ) -> ParameterCheck:
        """Give the check with the element that was found."""
        signs = generator.choice((-1.0, 1.0), self.gradient.size)
        low, high = 0, self.gradient.size
        while high - low > 1:
            middle = (low + high) // 2
            if self._gap(signs, low, middle) >= self._gap(signs, middle, high):
                high = middle
            else:
                low = middle
        found = np.unravel_index(low, self.gradient.shape)
        index = tuple(int(k) for k in found)
        numeric = np.empty_like(self.gradient)
        numeric[index] = self.probe.element(self.name, index, self.step)
        return check.at(index, self.gradient, numeric)

    def _gap(self, signs: np.ndarray, low: int, high: int) -> float:
        """Measure how far both derivatives differ where the elements move."""
        scale = math.sqrt(high - low)
        part = np.zeros(self.gradient.size)
        part[low:high] = signs[low:high] / scale
        analytic, numeric = self.probe.along(
            {self.name: part.reshape(self.gradient.shape)},
            {self.name: self.gradient},
            self.step,
            f"elements {low} to {high - 1} of {self.name!r}",
        )
        return abs(analytic - numeric) * scale
