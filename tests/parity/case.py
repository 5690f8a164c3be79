"""A row of the table of the optimizers under test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gdopt


@dataclass(frozen=True)
class Case:
    """An optimizer in one of its forms, its textbook's formula, and the same elsewhere.

    Attributes:
        name: of the row.
        kind: class of the optimizer.
        textbook: ``f(p, g, state, *, scalars, choices) -> p`` for one number.
        hyper: its hyper-parameters.
        choices: its other arguments.
        torch: ``f(torch.optim, params, hyper)``.
        optax: ``f(optax, hyper)``; the rate may be a schedule.
        keras: ``f(keras.optimizers, hyper)``.
        chainer: a formula like the textbook's.
        fixed: libraries that take a rate that changes in another way.
        bounds: of libraries that compute a part of float64's steps in float32.
        whole: whether the formulas are of arrays, p and g, and not of numbers.
    """

    name: str
    kind: type[gdopt.Optimizer]
    textbook: Callable[..., float]
    hyper: dict[str, float] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    torch: Callable[..., Any] | None = None
    optax: Callable[..., Any] | None = None
    keras: Callable[..., Any] | None = None
    chainer: Callable[..., float] | None = None
    fixed: tuple[str, ...] = ()
    bounds: dict[str, float] = field(default_factory=dict)
    whole: bool = False

    @property
    def moves_by_itself(self):
        """Whether parameters change where the gradient is 0."""
        return bool({"weight_decay", "lambd", "l1"} & self.hyper.keys())

    def make(self, params, **changes):
        """Make the optimizer with the table's settings, or others."""
        return self.kind(params, **{**self.hyper, **self.choices, **changes})

    def by_textbook(self, start, gradients, formula=None, **changes):
        """Follow each element, or array, over all steps; the last parameters.

        Of a rule of whole arrays, `start` is a list of arrays, and each step's
        gradients are one; numbers are one array.
        """
        if self.whole and isinstance(start[0], float):
            rows = [[np.array(row)] for row in gradients]
            return self.by_textbook([np.array(start)], rows, formula, **changes)[0]
        formula = formula or self.textbook
        hyper = {**self.hyper, **self.choices, **changes}
        found = []
        for place, number in enumerate(start):
            p, state = number, {}
            for step, row in enumerate(gradients):
                p = formula(p, row[place], state, t=step + 1, **at(hyper, step))
            found.append(p)
        return found


def at(hyper, step):
    """Read schedules at a step."""
    return {k: v(step) if callable(v) else v for k, v in hyper.items()}
