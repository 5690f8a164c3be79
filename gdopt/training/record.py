"""What the training loop tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """What is known after an update.

    Attributes:
        epoch: number of the epoch, from 1.
        step: number of the update, from 1.
        cost: of the mini-batch of this update, before it; with the L2 term.
        smoothed_cost: exponentially weighted average of the recorded costs.
        lr: learning rate of this update; None where it is not one number.
        dev_accuracy: share of dev examples whose class is predicted, after the update
            that ends an epoch; None between, and without dev examples.
        examples_per_second: since the record before, evaluations left out.
        notice: what deserves attention, and its likely cause; None otherwise.
        dev_loss: mean loss of the dev examples, without the L2 and L1 terms, where the
            network's output is linear; it takes the place of `dev_accuracy`.
    """

    epoch: int
    step: int
    cost: float
    smoothed_cost: float
    lr: float | None
    dev_accuracy: float | None
    examples_per_second: float
    notice: str | None = None
    dev_loss: float | None = None
