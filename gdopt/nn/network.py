"""A network of dense layers, its cost, its gradients and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array, get_backend
from gdopt.arrays.backend import common_backend
from gdopt.checks import NOT_NEGATIVE, check_number, whole
from gdopt.errors import ArgumentTypeError
from gdopt.nn.checks import (
    check_choice,
    check_classes,
    check_examples,
    check_finite,
    check_labels,
    check_sizes,
)
from gdopt.nn.initialization import INITIALIZATIONS, draw
from gdopt.nn.layers import Backprop, dense, relu, sigmoid, tanh
from gdopt.nn.losses import (
    binary_cross_entropy,
    logistic,
    softmax,
    softmax_cross_entropy,
)
from gdopt.nn.penalty import add_l2_gradient, l2_cost

ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}
LOSSES = {"softmax": softmax_cross_entropy, "sigmoid": binary_cross_entropy}
ROWS = 4096  # examples looked at in one go where no gradient is asked for


class Network:
    """Dense layers with an activation between them, and a cross-entropy behind.

    Its cost is ``mean_i(cross-entropy_i) + l2 / (2 m) * sum(W**2)`` over the m examples
    of the batch at hand, the last and smaller one included; biases are not decayed.
    Frameworks' ``weight_decay`` is ``l2 / m``.

    Args:
        sizes: of the input and of every layer, at least 1 each: ``(784, 256, 10)``.
        activation: between layers, ``"relu"``, ``"tanh"`` or ``"sigmoid"``.
        output: ``"softmax"`` over classes, or ``"sigmoid"`` for two classes with a
            last size of 1.
        initialization: ``"he"``, ``"xavier"``, ``"glorot"`` or ``"zeros"``; by default
            He for ReLU and Xavier for the others.
        seed: whole number, at least 0; the same weights on every backend.
        dtype: float32 or float64.
        backend: ``"numpy"``, ``"cupy"`` or ``"auto"``; by default the one in force.

    Attributes:
        params: the arena of ``W1, b1, W2, b2, ...``; Wk is (n_in, n_out).
        grads: the arena laid out alike that `loss_and_grads` writes to.

    Raises:
        ArgumentError: a size, a name or the seed breaks its rule.
        ArgumentTypeError: a size, the seed or the dtype is of a kind of its own.
        BackendError: a GPU was asked for and is not there.

    >>> import numpy as np
    >>> network = Network((2, 8, 1), output="sigmoid", seed=0, backend="numpy")
    >>> network
    Network(2-8-1, relu, sigmoid; float32 on cpu)
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    >>> y = np.array([0, 1, 1, 0])
    >>> for _ in range(300):
    ...     cost, grads = network.loss_and_grads(X, y)
    ...     for name in grads:
    ...         network.params[name] -= 0.5 * grads[name]
    >>> network.predict(X)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        output: str = "softmax",
        initialization: str | None = None,
        seed: int,
        dtype: Any = np.float32,
        backend: str | None = None,
    ) -> None:
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("output", output, LOSSES)
        if initialization is None:
            initialization = "he" if activation == "relu" else "xavier"
        check_choice("initialization", initialization, INITIALIZATIONS)
        self.sizes = check_sizes(sizes, output)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            message = f"dtype must be float32 or float64, got {self.dtype}"
            raise ArgumentTypeError(message)
        self.activation = activation
        self.output = output
        arrays = draw(self.sizes, initialization, whole("seed", seed, least=0))
        home = get_backend(backend)
        self.params = Arena.of(
            {name: home.from_host(a.astype(self.dtype)) for name, a in arrays.items()}
        )
        self.grads = self.params.like()

    def __repr__(self) -> str:
        shape = "-".join(map(str, self.sizes))
        return (
            f"Network({shape}, {self.activation}, {self.output}; "
            f"{self.dtype} on {self.params.device})"
        )

    def loss_and_grads(
        self, x: Array, y: Array, *, l2: float = 0.0, checked: bool = False
    ) -> tuple[Array, Arena]:
        """Give the cost of a batch, and write its gradients into `grads`.

        ``dW = dW of the cross-entropy + l2 / m * W``, and db without that term.

        Args:
            x: (m, sizes[0]), examples as rows, of the network's dtype and device.
            y: (m,), class numbers from 0, any integer dtype; 0 or 1 in (m,) or (m, 1)
                for a sigmoid output.
            l2: the course's lambda, at least 0.
            checked: whether `check_data` has seen these labels. Without it they are
                looked at, for which a GPU has to wait.

        Returns:
            The cost, a 0-d array of the backend (a NumPy scalar on the CPU), which a
            GPU is not asked to hand over; and `grads`, always the same arena.

        Raises:
            ArgumentError: a shape or a label does not fit; there is no example.
            ArgumentTypeError: x is of another dtype, or y is not of an integer one.
            BackendError: an array is on another device.
        """
        l2 = check_number("l2", l2, NOT_NEGATIVE)
        cost = self.propagate(x, y, checked=checked)
        if l2:
            cost = cost + l2_cost(self.params, l2, len(x))
            add_l2_gradient(self.params, self.grads, l2, len(x))
        return cost, self.grads

    def propagate(
        self, x: Array, y: Array, *, layer: Any = dense, checked: bool = False
    ) -> Array:
        """Run forward and back without L2; give the cost, and write into `grads`.

        `layer` makes the dense layers, as `gdopt.nn.dense` does: one that looks at what
        passes may stand in its place. All else is as in `loss_and_grads`.
        """
        logits, backprops = self._forward(x, layer)
        cost, gradient = LOSSES[self.output](logits, y, checked=checked)
        for backprop in reversed(backprops):
            gradient = backprop(gradient)
        return cost

    def loss(self, x: Array, y: Array, *, l2: float = 0.0) -> float:
        """Give the cost of any number of examples, without gradients.

        Args:
            x: (m, sizes[0]), as in `loss_and_grads`.
            y: (m,), as in `loss_and_grads`.
            l2: the course's lambda, at least 0.

        Raises:
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        l2 = check_number("l2", l2, NOT_NEGATIVE)
        self._check_labelled(x, y)
        total = 0.0
        for rows, logits in self._logits(x):
            cost, _ = LOSSES[self.output](logits, y[rows], checked=True)
            total += float(cost) * len(logits)
        return total / len(x) + (float(l2_cost(self.params, l2, len(x))) if l2 else 0.0)

    def predict_proba(self, x: Array) -> Array:
        """Give probabilities: (m, classes), or (m,) of class 1 for a sigmoid output.

        Raises:
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        if self.output == "softmax":
            return self._of_logits(x, softmax)
        return self._of_logits(x, lambda logits: logistic(logits[:, 0]))

    def predict(self, x: Array) -> Array:
        """Give the most probable class numbers: (m,), int64.

        Raises:
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        if self.output == "softmax":
            return self._of_logits(x, lambda logits: logits.argmax(axis=1))
        return self._of_logits(x, lambda logits: (logits[:, 0] > 0).astype(np.int64))

    def accuracy(self, x: Array, y: Array) -> float:
        """Give the share of examples whose class is predicted, from 0 to 1.

        Raises:
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._check_labelled(x, y)
        return float((self.predict(x) == y.reshape(-1)).mean())

    def check_data(self, x: Array, y: Array) -> None:
        """Refuse what the network cannot be trained on; once for a whole data set.

        Raises:
            ArgumentError: x holds NaN or infinities.
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._check_labelled(x, y)
        check_finite(x)

    def _check_x(self, x: Array) -> None:
        common_backend((("W1", self.params["W1"]), ("x", x)))
        check_examples(x, self.sizes[0], self.dtype)

    def _check_labelled(self, x: Array, y: Array) -> None:
        self._check_x(x)
        common_backend((("x", x), ("y", y)))
        column = (len(x), 1)
        shapes = (column[:1],) if self.output == "softmax" else (column[:1], column)
        check_labels(y, shapes)
        check_classes(y, max(self.sizes[-1], 2))

    def _forward(self, x: Array, layer: Any = dense) -> tuple[Array, list[Backprop]]:
        params, grads = self.params, self.grads
        activate = ACTIVATIONS[self.activation]
        backprops = []
        for k in range(1, len(self.sizes)):
            if k > 1:
                x, backprop = activate(x, in_place=True)
                backprops.append(backprop)
            W, b = f"W{k}", f"b{k}"
            x, backprop = layer(
                x, params[W], params[b], grads[W], grads[b], input_gradient=k > 1
            )
            backprops.append(backprop)
        return x, backprops

    def _logits(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """Run forward in slices, so that activations of a large set fit in memory."""
        for start in range(0, len(x), ROWS):
            yield (rows := slice(start, start + ROWS)), self._forward(x[rows])[0]

    def _of_logits(self, x: Array, function: Callable[[Array], Array]) -> Array:
        self._check_x(x)
        parts = [function(logits) for _, logits in self._logits(x)]
        return self.params.backend.xp.concatenate(parts)
