"""When training has come to rest, as scikit-learn counts it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Stopping:
    """Counts epochs that bring no gain; more than `patience` in a row are the end.

    An epoch brings no gain where its value lies below ``best + tol``.

    Attributes:
        tol: gain below which an epoch counts as none, at least 0.
        patience: epochs without gain that are borne, at least 1.
        best: value so far; the higher the better.

    >>> stopping = Stopping(tol=0.1, patience=1)
    >>> [stopping.see(value) for value in (1.0, 2.0, 2.05, 2.08)]
    [False, False, False, True]
    >>> stopping.best
    2.08
    """

    tol: float
    patience: int
    best: float = -math.inf
    without_gain: int = 0

    def see(self, value: float) -> bool:
        """Take the value of an epoch, and tell whether it was the last one."""
        gained = value >= self.best + self.tol
        self.without_gain = 0 if gained else self.without_gain + 1
        self.best = max(self.best, value)
        return self.without_gain > self.patience
