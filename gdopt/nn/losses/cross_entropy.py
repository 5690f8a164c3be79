"""Losses of logits, with their gradients; none of them overflows."""

from __future__ import annotations

from gdopt.arrays import Array, backend_of
from gdopt.arrays.backend import common_backend
from gdopt.errors import ArgumentError
from gdopt.nn.checks import check_classes, check_labels


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
    xp = backend_of(logits).xp
    tail = xp.exp(-xp.abs(logits))
    probability = xp.where(logits >= 0, xp.ones_like(tail), tail)
    tail += 1
    probability /= tail
    return probability


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
        ArgumentTypeError: labels are no integers.
        ArgumentError: shapes do not fit, there is no example, or a label is unknown.
        BackendError: the arrays are on two devices.

    >>> import numpy as np
    >>> loss, gradient = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(float(loss), 4)  # log 4
    1.3863
    >>> gradient
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    xp = common_backend((("logits", logits), ("labels", labels))).xp
    if logits.ndim != 2 or 0 in logits.shape:
        message = f"logits must have shape (m, classes), not empty, got {logits.shape}"
        raise ArgumentError(message)
    examples, classes = logits.shape
    check_labels(labels, ((examples,),))
    if validate:
        check_classes(labels, classes)
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = xp.exp(shifted)
    totals = gradient.sum(axis=1, keepdims=True)
    chosen = xp.arange(examples), labels
    loss = (xp.log(totals[:, 0]) - shifted[chosen]).mean()
    gradient /= totals
    gradient[chosen] -= 1
    gradient /= examples
    return loss, gradient


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
        ArgumentTypeError: labels are no integers.
        ArgumentError: shapes do not fit, there is no example, or a label is unknown.
        BackendError: the arrays are on two devices.

    >>> import numpy as np
    >>> loss, gradient = binary_cross_entropy(np.zeros(2), np.array([0, 1]))
    >>> round(float(loss), 4)  # log 2
    0.6931
    >>> gradient
    array([ 0.25, -0.25])
    """
    xp = common_backend((("logits", logits), ("labels", labels))).xp
    examples = logits.size
    if examples == 0 or logits.shape not in ((examples,), (examples, 1)):
        message = f"logits must have shape (m, 1) or (m,), got {logits.shape}"
        raise ArgumentError(message)
    check_labels(labels, ((examples,), (examples, 1)))
    if validate:
        check_classes(labels, 2)
    targets = labels.reshape(logits.shape).astype(logits.dtype)
    losses = xp.maximum(logits, 0) - logits * targets
    losses += xp.log1p(xp.exp(-xp.abs(logits)))
    gradient = logistic(logits)
    gradient -= targets
    gradient /= examples
    return losses.mean(), gradient
