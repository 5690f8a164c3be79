"""The gradient of every single example, known by its length, from one backward pass."""

from __future__ import annotations

from typing import Any

from gdopt.arrays import Arena, Array
from gdopt.arrays.backend import on_their_device
from gdopt.errors import ArgumentError
from gdopt.nn.layers import Backprop, dense
from gdopt.nn.network import Network


@on_their_device
def example_gradients(
    network: Network, x: Array, y: Array, along: Arena | None = None
) -> tuple[Array, Array | None]:
    """Return each example's squared gradient norm, ``sum_l (|a_li|^2 + 1) |d_li|^2``.

    The gradient of dense layer l for one example is the outer product of its input a_li
    and its delta d_li, and its bias's is d_li: their norms are known without making
    them. The L2 penalty, which is the same for every example, is left out.
    `network.grads` then holds the mean of the gradients.

    Args:
        network: whose parameters the gradients are of.
        x: (m, n), as in `Network.loss_and_grads`.
        y: labels or targets, as in `Network.loss_and_grads`.
        along: a direction, laid out as ``network.grads``, but not that arena itself.

    Returns:
        ``|g_i|^2``, (m,), and ``g_i . along``, (m,), or None without a direction; in
        the network's dtype, on its device.

    Raises:
        ArgumentError: the network drops units or normalizes batches, so that examples
            have no gradients of their own.
        GdoptError: x or y does not fit, as in `Network.loss_and_grads`.

    Source:
        Goodfellow 2015, Efficient per-example gradient computations,
        arXiv 1510.01799, section 4.

    >>> import numpy as np
    >>> network = Network((2, 3), seed=0, backend="numpy")
    >>> x, y = np.array([[1, 2], [0, 0]], dtype=np.float32), np.array([0, 1])
    >>> squares, _ = example_gradients(network, x, y)
    >>> loss, grads = network.loss_and_grads(x[:1], y[:1])
    >>> bool(abs(squares[0] - (grads.flat**2).sum()) < 1e-6)
    True
    """
    if not network.plain:
        message = (
            "network must have neither dropout nor batch normalization: with them no "
            "example has a gradient of its own"
        )
        raise ArgumentError(message)
    count = len(x)
    squares: list[Array] = []
    dots: list[Array] = []
    names = iter(range(1, len(network.sizes)))

    def watched(
        inputs: Array, weights: Array, *rest: Any, **options: Any
    ) -> tuple[Array, Backprop]:
        number = next(names)
        output, backprop = dense(inputs, weights, *rest, **options)

        def measured(d_output: Array) -> Array:
            deltas = d_output * count  # of the example's own loss, not of the mean
            lengths = (inputs * inputs).sum(axis=1) + 1
            squares.append(lengths * (deltas * deltas).sum(axis=1))
            if along is not None:
                pushed = network.params.backend.matmul(inputs, along[f"W{number}"])
                pushed += along[f"b{number}"]
                dots.append((pushed * deltas).sum(axis=1))
            return backprop(d_output)

        return output, measured

    network.propagate(x, y, layer=watched)
    return sum(squares[1:], squares[0]), sum(dots[1:], dots[0]) if dots else None
