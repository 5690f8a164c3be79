"""A network for regression: dense layers, and the squared error behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array, get_backend
from gdopt.nn.evaluation import ROWS
from gdopt.nn.forward import Layers, run
from gdopt.nn.initialization import draw
from gdopt.nn.losses.penalty import Penalty
from gdopt.nn.losses.squared_error import squared_error


class RegressionNetwork:
    """What `gdopt.nn.Network` is for classes, for quantities: the last layer is linear.

    Its cost is ``mean_i(1/2 sum_k (p_ik - t_ik)**2) + l2 / (2 m) * sum(W**2)``. It has
    what `gdopt.fit` asks of a network.

    Args:
        sizes: of the input and of every layer, at least 1 each.
        activation: between layers, ``"relu"``, ``"tanh"`` or ``"sigmoid"``.
        seed: of the weights, at least 0; the same on every backend.
        dtype: float32 or float64.
        backend: ``"numpy"``, ``"cupy"`` or ``"auto"``.

    Attributes:
        params: the arena of ``W1, b1, W2, b2, ...``.
        grads: the arena laid out alike that `loss_and_grads` writes to.

    >>> import numpy as np
    >>> network = RegressionNetwork((1, 4, 2), seed=0, backend="numpy")
    >>> x, t = np.ones((3, 1), np.float32), np.ones((3, 2), np.float32)
    >>> cost, grads = network.loss_and_grads(x, t)
    >>> network.predict(x).shape, sorted(grads)
    ((3, 2), ['W1', 'W2', 'b1', 'b2'])
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        *,
        activation: str = "relu",
        seed: int,
        dtype: Any = np.float32,
        backend: str | None = None,
    ) -> None:
        self.sizes = sizes
        self.dtype = np.dtype(dtype)
        home = get_backend(backend)
        arrays = draw(sizes, "he" if activation == "relu" else "xavier", seed)
        self.params = Arena.of(
            {name: home.from_host(a.astype(self.dtype)) for name, a in arrays.items()}
        )
        self.grads = self.params.like()
        count = len(sizes) - 1
        keep = (1.0,) * (count - 1)
        self._layers = Layers(count, activation, keep, self.params, self.grads, None)

    def loss_and_grads(
        self,
        x: Array,
        y: Array,
        *,
        l2: float = 0.0,
        l1: float = 0.0,
        checked: bool = False,  # noqa: ARG002 - quantities need no look at them
    ) -> tuple[Array, Arena]:
        """Give the cost of a batch, and write its gradients into `grads`.

        Args:
            x: (m, sizes[0]), examples as rows, of the network's dtype and device.
            y: (m, sizes[-1]), targets, alike.
            l2: the course's lambda, at least 0.
            l1: that of the absolute values, at least 0.
            checked: of no account: any finite target will do.

        Raises:
            GdoptError: an array does not fit.
        """
        penalty = Penalty.of(l2, l1)
        done = run(self._layers, x, training=True)
        cost, gradient = squared_error(done.output, y)
        for backprop in reversed(done.backprops):
            gradient = backprop(gradient)
        if penalty:
            cost = cost + penalty.cost(self.params, len(x))
            penalty.add_gradient(self.params, self.grads, len(x))
        return cost, self.grads

    def predict(self, x: Array) -> Array:
        """Give the outputs: (m, sizes[-1]).

        Raises:
            GdoptError: x does not fit.
        """
        slices = range(0, len(x), ROWS)
        parts = [run(self._layers, x[at : at + ROWS]).output for at in slices]
        return self.params.backend.xp.concatenate(parts)
