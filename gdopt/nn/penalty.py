"""The penalties on large weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gdopt.arrays import Arena, Array
from gdopt.checks import NOT_NEGATIVE, check_number


@dataclass(frozen=True)
class Penalty:
    """Penalty on large weights: ``(l2 sum(W**2) + l1 sum(|W|)) / (2 m)``.

    Their gradients are ``l2 / m W`` and ``l1 / (2 m) sign(W)``. Biases, and the
    deviations and means of batch normalization, are left out.

    Attributes:
        l2: the course's lambda of the squares, at least 0.
        l1: the course's lambda of the absolute values, at least 0; it makes many
            weights nearly 0.

    Source: Ng, Improving deep neural networks, week 1, "Regularization".
    """

    l2: float = 0.0
    l1: float = 0.0

    @classmethod
    def of(cls, l2: float, l1: float) -> Penalty:
        """Check both numbers.

        Raises:
            ArgumentError: one is negative or not finite.
            ArgumentTypeError: one is not a number.
        """
        return cls(
            check_number("l2", l2, NOT_NEGATIVE), check_number("l1", l1, NOT_NEGATIVE)
        )

    def __bool__(self) -> bool:
        return bool(self.l2 or self.l1)

    def value(self, params: Arena, examples: int) -> Array:
        """Return the penalty, a 0-d array of the backend."""
        xp = params.backend.xp
        parts = []
        for _, weights in _weights(params):
            if self.l2:
                parts.append(self.l2 * xp.sum(xp.square(weights)))
            if self.l1:
                parts.append(self.l1 * xp.sum(xp.abs(weights)))
        return sum(parts[1:], parts[0]) / (2 * examples)

    def add_gradient(self, params: Arena, grads: Arena, examples: int) -> None:
        """Add the gradients of the weights."""
        xp = params.backend.xp
        for name, weights in _weights(params):
            if self.l2:
                grads[name] += (self.l2 / examples) * weights
            if self.l1:
                grads[name] += (self.l1 / (2 * examples)) * xp.sign(weights)


def _weights(params: Arena) -> Iterator[tuple[str, Array]]:
    return ((name, a) for name, a in params.items() if a.ndim == 2)
