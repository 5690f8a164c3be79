"""The L2 cost of weights, biases left out, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator

from gdopt.arrays import Arena, Array


def l2_cost(params: Arena, l2: float, examples: int) -> Array:
    """Give ``l2 / (2 m) * sum(W**2)``, a 0-d array."""
    xp = params.backend.xp
    squares = [xp.sum(xp.square(weights)) for _, weights in _weights(params)]
    return l2 / (2 * examples) * sum(squares[1:], squares[0])


def add_l2_gradient(params: Arena, grads: Arena, l2: float, examples: int) -> None:
    """Add ``l2 / m * W`` to the gradients of the weights."""
    for name, weights in _weights(params):
        grads[name] += (l2 / examples) * weights


def _weights(params: Arena) -> Iterator[tuple[str, Array]]:
    return ((name, a) for name, a in params.items() if a.ndim == 2)
