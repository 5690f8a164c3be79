"""Losses with their gradients, and the penalty on large weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array
from gdopt.arrays.backend import common_backend, on_their_device
from gdopt.arrays.dtypes import check_dtype
from gdopt.checks import check_flag, check_int, check_like
from gdopt.errors import ArgumentError
from gdopt.nn import formulas
from gdopt.nn.initialization import LARGEST
from gdopt.nn.inputs import (
    check_classes,
    check_finite,
    check_floats,
    check_labels,
    check_probabilities,
)

NUMBERS = [np.dtype(code).name for code in np.typecodes["AllFloat"] + "?bhilqBHILQ"]


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
    check_floats("logits", logits)
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
    xp = check_floats("logits", logits).xp
    _check_table("logits", logits)
    probabilities = xp.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


@on_their_device
def softmax_cross_entropy(
    logits: Array, labels: Array, *, from_logits: bool = True, validate: bool = True
) -> tuple[Array, Array]:
    """Mean cross-entropy of classes: ``mean_i(log(sum_j exp(z_ij)) - z_i,label(i))``.

    Its gradient is ``(softmax(z) - onehot(label)) / m``. Of probabilities p it is
    ``mean_i(-log p_i,label(i))``, and its gradient ``-onehot(label) / (m p)``.

    Args:
        logits: z (m, classes), floating; m at least 1.
        labels: (m,), class numbers from 0, any integer dtype, on the same device.
        from_logits: False for probabilities in place of logits, as `softmax` returns.
        validate: whether to refuse labels that are not class numbers, and probabilities
            outside [0, 1], for which a GPU has to wait; without it a wrong label would
            be taken for another.

    Returns:
        The loss, a 0-d array of the backend (a NumPy scalar on the CPU), and its
        gradient (m, classes), a new array.

    Raises:
        ArgumentTypeError: labels are not integers.
        ArgumentError: shapes do not fit, there is no example, a label is unknown, or a
            probability is not in [0, 1].
        BackendError: the arrays are on two devices.

    Prefer logits: a probability that is rounded to 0 has an infinite loss. torch's
    ``nll_loss`` takes log p. Keras clips p to [1e-7, 1 - 1e-7] and divides each row by
    its sum, which adds 1 / m to the gradient.

    >>> import numpy as np
    >>> loss, gradient = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(float(loss), 4)  # log 4
    1.3863
    >>> gradient
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    name = _name_of(from_logits)
    check_floats(name, logits, labels=labels)
    _check_table(name, logits)
    examples, classes = logits.shape
    check_labels(labels, ((examples,),))
    if check_flag("validate", validate):
        check_classes(labels, classes)
        if not from_logits:
            check_probabilities(logits)
    kernel = formulas.softmax_cross_entropy if from_logits else formulas.log_loss
    return kernel(logits, labels)


@on_their_device
def binary_cross_entropy(
    logits: Array, labels: Array, *, from_logits: bool = True, validate: bool = True
) -> tuple[Array, Array]:
    """Mean cross-entropy of two classes: ``mean(max(z, 0) - z y + log1p(exp(-|z|)))``.

    That is ``-y log(s) - (1 - y) log(1 - s)`` with s = logistic(z), for any z without
    overflow. Its gradient is ``(logistic(z) - y) / m``. Of probabilities s in place of
    logits, it is ``(s - y) / (m s (1 - s))``.

    Args:
        logits: z (m, 1) or (m,), floating; m at least 1.
        labels: y (m, 1) or (m,), 0 or 1, any integer dtype, on the same device.
        from_logits: False for probabilities of class 1 in place of logits, as
            `logistic` returns.
        validate: whether to refuse labels other than 0 and 1, and probabilities outside
            [0, 1], for which a GPU has to wait; without it a label of -1 would give a
            wrong loss.

    Result and errors are those of `softmax_cross_entropy`; the gradient has the shape
    of the logits.

    Prefer logits: a probability that is rounded to 0 or 1 may have an infinite loss.
    torch's ``binary_cross_entropy`` bounds the logarithms by -100, and Keras clips s to
    [1e-7, 1 - 1e-7].

    >>> import numpy as np
    >>> loss, gradient = binary_cross_entropy(np.zeros(2), np.array([0, 1]))
    >>> round(float(loss), 4)  # log 2
    0.6931
    >>> gradient
    array([ 0.25, -0.25])
    """
    name = _name_of(from_logits)
    check_floats(name, logits, labels=labels)
    examples = logits.size
    if examples == 0 or logits.shape not in ((examples,), (examples, 1)):
        message = f"{name} must have shape (m, 1) or (m,), got {logits.shape}"
        raise ArgumentError(message)
    check_labels(labels, ((examples,), (examples, 1)))
    outputs = logits.reshape(-1, 1)
    if check_flag("validate", validate):
        check_classes(labels, 2)
        if not from_logits:
            check_probabilities(outputs)
    kernel = formulas.binary_cross_entropy if from_logits else formulas.binary_log_loss
    loss, gradient = kernel(outputs, labels.reshape(-1))
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
    check_floats("predictions", predictions, targets=targets)
    if predictions.ndim not in (1, 2) or predictions.size == 0:
        rule = "predictions must have shape (m, outputs) or (m,), not empty"
        raise ArgumentError(f"{rule}, got {predictions.shape}")
    check_like("targets", targets, predictions)
    if check_flag("validate", validate):
        check_finite(targets.reshape(len(targets), -1), "targets")
    p, t = (array.reshape(len(array), -1) for array in (predictions, targets))
    loss, gradient = formulas.squared_error(p, t)
    return loss, gradient.reshape(predictions.shape)


def _check_table(name: str, logits: Array) -> None:
    if logits.ndim != 2 or 0 in logits.shape:
        message = f"{name} must have shape (m, classes), not empty, got {logits.shape}"
        raise ArgumentError(message)


def _name_of(from_logits: object) -> str:
    """Name what a loss is given, in its messages."""
    return "logits" if check_flag("from_logits", from_logits) else "probabilities"


@on_their_device
def one_hot(labels: Array, classes: int, *, dtype: Any = np.float32) -> Array:
    """Return 1 in the column that each label names, and 0 elsewhere.

    Args:
        labels: class numbers from 0, any shape and integer dtype.
        classes: columns, at least 1.
        dtype: of the result.

    Returns:
        (*labels.shape, classes), on the same device.

    Raises:
        ArgumentError: a label is not below `classes`, or negative.
        ArgumentTypeError: labels are not integers.

    torch's ``one_hot`` returns int64; Keras's has a row of zeros for an unknown label.

    >>> import numpy as np
    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    backend = common_backend((("labels", labels),))
    check_labels(labels, (labels.shape,))
    dtype = check_dtype("dtype", dtype, NUMBERS)
    columns = backend.xp.arange(check_int("classes", classes, least=1, most=LARGEST))
    if labels.size:
        check_classes(labels, classes)
    return (labels[..., None] == columns).astype(dtype)


def penalize(
    loss: Array, params: Arena, grads: Arena, *, l2: float, l1: float, m: Any
) -> Array:
    """Return ``loss + (l2 sum(W**2) + l1 sum(|W|)) / (2 m)``; add its gradient.

    That is ``l2 / m W + l1 / (2 m) sign(W)``. Biases, and what normalization learns,
    are left out. At least one of `l2` and `l1` is above 0.

    Source: Ng, Improving deep neural networks, week 1, "Regularization".
    """
    xp = params.backend.xp
    parts = []
    for name, weights in params.items():
        if l2 and weights.ndim == 2:
            parts.append(l2 * xp.sum(xp.square(weights)))
            grads[name] += (l2 / m) * weights
        if l1 and weights.ndim == 2:
            parts.append(l1 * xp.sum(xp.abs(weights)))
            grads[name] += (l1 / (2 * m)) * xp.sign(weights)
    return loss + sum(parts[1:], parts[0]) / (2 * m)
