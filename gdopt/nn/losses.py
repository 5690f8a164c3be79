"""Losses with their gradients, and the penalties on weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gdopt.arrays import Arena, Array, backend_of
from gdopt.arrays.backend import common_backend, on_their_device
from gdopt.checks import NOT_NEGATIVE, check_like, check_number
from gdopt.errors import ArgumentError
from gdopt.nn import formulas
from gdopt.nn.inputs import check_classes, check_finite, check_labels


@on_their_device
def logistic(logits: Array) -> Array:
    """Probability of class 1: ``1 / (1 + exp(-z))``, of any z without overflow.

    Args:
        logits: z, any shape, floating.

    Returns:
        A new array of the same shape and dtype, in [0, 1].

    >>> import numpy as np
    >>> logistic(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    backend_of(logits)
    probability = logits.copy()
    formulas.ACTIVATIONS["sigmoid"].apply(probability)
    return probability


@on_their_device
def softmax(logits: Array) -> Array:
    """Probability of each class: ``exp(z_k) / sum_j exp(z_j)``, without overflow.

    Args:
        logits: z (m, classes), floating.

    Returns:
        A new array of the same shape and dtype, in [0, 1]; rows sum to 1.

    >>> import numpy as np
    >>> softmax(np.array([[1e4, 1e4], [-1e4, 1e4]]))
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    xp = backend_of(logits).xp
    probabilities = xp.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


@on_their_device
def softmax_cross_entropy(
    logits: Array, labels: Array, *, validate: bool = True
) -> tuple[Array, Array]:
    """Mean cross-entropy of classes: ``mean_i(log(sum_j exp(z_ij)) - z_i,label(i))``.

    Its gradient is ``(softmax(z) - onehot(label)) / m``.

    Args:
        logits: z (m, classes), floating; m at least 1.
        labels: (m,), class numbers from 0, any integer dtype, on the same device.
        validate: whether to refuse labels that are not class numbers, for which a GPU
            has to wait; without it a wrong label would be taken for another.

    Returns:
        The loss, a 0-d array of the backend (a NumPy scalar on the CPU), and its
        gradient (m, classes), a new array.

    Raises:
        ArgumentTypeError: labels are not integers.
        ArgumentError: shapes do not fit, there is no example, or a label is unknown.
        BackendError: the arrays are on two devices.

    >>> import numpy as np
    >>> loss, gradient = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(float(loss), 4)  # log 4
    1.3863
    >>> gradient
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    common_backend((("logits", logits), ("labels", labels)))
    if logits.ndim != 2 or 0 in logits.shape:
        message = f"logits must have shape (m, classes), not empty, got {logits.shape}"
        raise ArgumentError(message)
    examples, classes = logits.shape
    check_labels(labels, ((examples,),))
    if validate:
        check_classes(labels, classes)
    return formulas.softmax_cross_entropy(logits, labels)


@on_their_device
def binary_cross_entropy(
    logits: Array, labels: Array, *, validate: bool = True
) -> tuple[Array, Array]:
    """Mean cross-entropy of two classes: ``mean(max(z, 0) - z y + log1p(exp(-|z|)))``.

    That is ``-y log(s) - (1 - y) log(1 - s)`` with s = logistic(z), for any z without
    overflow. Its gradient is ``(logistic(z) - y) / m``.

    Args:
        logits: z (m, 1) or (m,), floating; m at least 1.
        labels: y (m, 1) or (m,), 0 or 1, any integer dtype, on the same device.
        validate: whether to refuse labels other than 0 and 1, for which a GPU has to
            wait; without it a label of -1 would give a wrong loss.

    Returns:
        The loss, a 0-d array of the backend (a NumPy scalar on the CPU), and its
        gradient, a new array of the shape of the logits.

    Raises:
        ArgumentTypeError: labels are not integers.
        ArgumentError: shapes do not fit, there is no example, or a label is unknown.
        BackendError: the arrays are on two devices.

    >>> import numpy as np
    >>> loss, gradient = binary_cross_entropy(np.zeros(2), np.array([0, 1]))
    >>> round(float(loss), 4)  # log 2
    0.6931
    >>> gradient
    array([ 0.25, -0.25])
    """
    common_backend((("logits", logits), ("labels", labels)))
    examples = logits.size
    if examples == 0 or logits.shape not in ((examples,), (examples, 1)):
        message = f"logits must have shape (m, 1) or (m,), got {logits.shape}"
        raise ArgumentError(message)
    check_labels(labels, ((examples,), (examples, 1)))
    if validate:
        check_classes(labels, 2)
    outputs = logits.reshape(-1, 1)
    loss, gradient = formulas.binary_cross_entropy(outputs, labels.reshape(-1))
    return loss, gradient.reshape(logits.shape)


@on_their_device
def squared_error(
    predictions: Array, targets: Array, *, validate: bool = True
) -> tuple[Array, Array]:
    """Return half the squared error: ``mean_i(1/2 sum_k (p_ik - t_ik)**2)``.

    Its gradient is ``(p - t) / m``: what the half is for.

    Args:
        predictions: p (m, outputs) or (m,), floating; m at least 1.
        targets: t, of the shape, dtype and device of p; nothing is broadcast.
        validate: whether to refuse targets that are not finite, for which a GPU has to
            wait.

    Returns:
        The loss, a 0-d array of the backend (a NumPy scalar on the CPU), and its
        gradient, a new array of the shape of p.

    Raises:
        ArgumentError: the shapes differ, there is no example or no output, or a target
            is NaN or infinite.
        ArgumentTypeError: the dtypes differ.
        BackendError: the arrays are on two devices.

    Other libraries: torch's MSELoss and Keras's MeanSquaredError take no half, and the
    mean over the outputs too: ``2 / outputs`` times this loss and this gradient.
    scikit-learn's MLPRegressor descends this gradient, and reports a loss that is
    divided by the number of outputs.

    >>> import numpy as np
    >>> loss, gradient = squared_error(np.array([[3.0, 0.0]]), np.array([[1.0, 1.0]]))
    >>> float(loss)  # (4 + 1) / 2
    2.5
    >>> gradient
    array([[ 2., -1.]])
    """
    common_backend((("predictions", predictions), ("targets", targets)))
    if predictions.ndim not in (1, 2) or predictions.size == 0:
        message = (
            "predictions must have shape (m, outputs) or (m,), not empty, "
            f"got {predictions.shape}"
        )
        raise ArgumentError(message)
    check_like("targets", targets, predictions)
    if validate:
        check_finite(targets.reshape(len(targets), -1), "targets")
    shape = len(predictions), -1
    loss, gradient = formulas.squared_error(
        predictions.reshape(shape), targets.reshape(shape)
    )
    return loss, gradient.reshape(predictions.shape)


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
