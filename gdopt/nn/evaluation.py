"""What a network says of examples: losses, predictions, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array
from gdopt.arrays.backend import common_backend
from gdopt.errors import ArgumentError
from gdopt.nn.checks import (
    as_targets,
    check_classes,
    check_examples,
    check_finite,
    check_labels,
)
from gdopt.nn.forward import Layers, run
from gdopt.nn.losses import (
    Penalty,
    binary_cross_entropy,
    logistic,
    softmax,
    softmax_cross_entropy,
    squared_error,
)

LOSSES: dict[str, Callable[..., tuple[Array, Array]]] = {
    "softmax": softmax_cross_entropy,
    "sigmoid": binary_cross_entropy,
    "linear": squared_error,
}
ROWS = 4096  # examples looked at in one go where no gradient is asked for


class Evaluation:
    """The part of `gdopt.nn.Network` that uses what was learned."""

    sizes: tuple[int, ...]
    output: str
    dtype: Any
    params: Arena
    _layers: Layers

    def loss(self, x: Array, y: Array, *, l2: float = 0.0, l1: float = 0.0) -> float:
        """Give the loss of any number of examples, without gradients; see the class.

        Raises:
            GdoptError: an argument does not fit, as in `loss_and_grads`.
        """
        penalty = Penalty.of(l2, l1)
        y = self._check_labelled(x, y)
        total = 0.0
        for rows, logits in self._logits(x):
            loss = LOSSES[self.output](logits, y[rows], validate=False)[0]
            total += float(loss) * len(logits)
        held = float(penalty.value(self.params, len(x))) if penalty else 0.0
        return total / len(x) + held

    def predict_proba(self, x: Array) -> Array:
        """Return probabilities: (m, classes), or (m,) of class 1 for a sigmoid output.

        Raises:
            ArgumentError: the output is linear.
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        self._check_classifies("predict_proba", "predict(x)")
        if self.output == "softmax":
            return self._of_logits(x, softmax)
        return self._of_logits(x, lambda logits: logistic(logits[:, 0]))

    def predict(self, x: Array) -> Array:
        """Return the most probable class numbers: (m,), int64.

        Of a linear output it returns the outputs: (m, sizes[-1]), also where that is 1,
        in the network's dtype.

        Raises:
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        if self.output == "linear":
            return self._of_logits(x, lambda outputs: outputs)
        if self.output == "softmax":
            return self._of_logits(x, lambda logits: logits.argmax(axis=1))
        return self._of_logits(x, lambda logits: (logits[:, 0] > 0).astype(np.int64))

    def accuracy(self, x: Array, y: Array) -> float:
        """Return the share of examples whose class is predicted, from 0 to 1.

        Raises:
            ArgumentError: the output is linear, which predicts no classes: `loss` is
                what there is to compare.
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._check_classifies("accuracy", "loss(x, y)")
        self._check_labelled(x, y)
        return float((self.predict(x) == y.reshape(-1)).mean())

    def check_data(self, x: Array, y: Array) -> None:
        """Refuse what the network cannot be trained on; once for a whole data set.

        Raises:
            ArgumentError: x, or targets, hold NaN or infinities.
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._check_labelled(x, y)
        check_finite(x)

    def _check_x(self, x: Array) -> None:
        common_backend((("W1", self.params["W1"]), ("x", x)))
        check_examples(x, self.sizes[0], self.dtype)

    def _check_classifies(self, name: str, instead: str) -> None:
        if self.output == "linear":
            rule = "needs output='softmax' or 'sigmoid', got 'linear'"
            message = f"{name} {rule}: use {instead}"
            raise ArgumentError(message)

    def _check_labelled(self, x: Array, y: Array) -> Array:
        """Return the labels, or the targets of a linear output as (m, sizes[-1])."""
        self._check_x(x)
        common_backend((("x", x), ("y", y)))
        if self.output == "linear":
            y = as_targets(y, (len(x), self.sizes[-1]), self.dtype)
            check_finite(y, "targets")
            return y
        column = (len(x), 1)
        shapes = (column[:1],) if self.output == "softmax" else (column[:1], column)
        check_labels(y, shapes)
        check_classes(y, max(self.sizes[-1], 2))
        return y

    def _logits(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """Run forward in slices, so that activations of a large set fit in memory."""
        for start in range(0, len(x), ROWS):
            rows = slice(start, start + ROWS)
            yield rows, run(self._layers, x[rows]).output

    def _of_logits(self, x: Array, function: Callable[[Array], Array]) -> Array:
        self._check_x(x)
        parts = [function(logits) for _, logits in self._logits(x)]
        return self.params.backend.xp.concatenate(parts)
