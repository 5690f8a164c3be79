"""The costs of a run: their average, and whether they rise where they must not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gdopt.ewa import EWA

# A cost in float32 is wrong by about 2e-6, an ulp of logits near 20: a rise below this
# share of max(1, cost) is rounding.
RISE = 1e-5


@dataclass
class Costs:
    """The costs recorded so far: their average, and whether the last one rose."""

    average: EWA
    full_batch: bool
    last: float = math.inf
    told: bool = False

    def notice(self, cost: float, step: int, lr: float | None) -> str | None:
        """Say, once, that the cost of all examples has risen."""
        before, self.last = self.last, cost
        rose = self.full_batch and cost > before + RISE * max(1.0, before)
        if not rose or self.told:
            return None
        self.told = True
        return (
            f"the cost rose from {before:.6g} to {cost:.6g} at step {step}; in batch "
            f"gradient descent it must fall at every step: {blame(lr)}"
        )


def blame(lr: float | None) -> str:
    """Name the likely cause of a cost that rises."""
    rate = "the learning rate" if lr is None else f"the learning rate, {lr:.6g},"
    return f"{rate} is probably too large"
