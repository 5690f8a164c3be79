"""Layers: each returns its output and the function that runs it backwards.

A network is a chain of them, and needs nothing more::

    hidden, backprop1 = dense(x, W1, b1, d_W1, d_b1)
    active, backprop2 = relu(hidden)
    logits, backprop3 = dense(active, W2, b2, d_W2, d_b2)
    cost, gradient = softmax_cross_entropy(logits, labels)
    for backprop in (backprop3, backprop2, backprop1):
        gradient = backprop(gradient)
"""

from __future__ import annotations

from collections.abc import Callable

from gdopt.arrays import Array, backend_of
from gdopt.arrays.backend import common_backend
from gdopt.errors import ArgumentError
from gdopt.nn.checks import check_examples, check_like
from gdopt.nn.losses import logistic

Backprop = Callable[[Array], Array]


def dense(
    x: Array,
    weights: Array,
    bias: Array | None,
    d_weights: Array,
    d_bias: Array | None,
    *,
    input_gradient: bool = True,
) -> tuple[Array, Backprop]:
    """Multiply by weights and add a bias: ``Z = X W + b``.

    Backwards ``dW = X^T dZ`` and ``db = sum_i dZ_i`` are written to the arrays given
    for them, and ``dX = dZ W^T`` is returned.

    Args:
        x: X (m, n_in), examples as rows; float32 or float64, as all others.
        weights: W (n_in, n_out).
        bias: b (n_out,), or None where batch normalization follows.
        d_weights: (n_in, n_out), written to by backprop.
        d_bias: (n_out,), written to by backprop; None without a bias.
        input_gradient: whether backprop is to compute dX. The first layer of a
            network needs none: a quarter of the work in a 784-512-256-10 one.

    Returns:
        Z (m, n_out), a new array, and ``backprop(dZ) -> dX``, or None without
        `input_gradient`.

    Raises:
        ArgumentError: a shape does not fit, or there is no example.
        ArgumentTypeError: a dtype differs from that of the weights.
        BackendError: arrays are on two devices.

    >>> import numpy as np
    >>> W, b, d_W, d_b = np.ones((2, 3)), np.zeros(3), np.empty((2, 3)), np.empty(3)
    >>> z, backprop = dense(np.array([[1.0, 2.0]]), W, b, d_W, d_b)
    >>> z, backprop(np.ones((1, 3)))
    (array([[3., 3., 3.]]), array([[3., 3.]]))
    >>> d_W
    array([[1., 1., 1.],
           [2., 2., 2.]])
    """
    named = [("x", x), ("weights", weights), ("d_weights", d_weights)]
    backend = common_backend(named if bias is None else [*named, ("bias", bias)])
    if weights.ndim != 2 or weights.size == 0:
        message = f"weights must have shape (n_in, n_out), got {weights.shape}"
        raise ArgumentError(message)
    check_examples(x, weights.shape[0], weights.dtype)
    check_like("d_weights", d_weights, weights)
    output = backend.matmul(x, weights)
    if bias is not None:
        check_like("bias", bias, weights[0])
        check_like("d_bias", d_bias, bias)
        output += bias

    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, output)
        backend.matmul(x.T, d_output, out=d_weights)
        if bias is not None:
            backend.xp.sum(d_output, axis=0, out=d_bias)
        return backend.matmul(d_output, weights.T) if input_gradient else None

    return output, backprop


def relu(z: Array, *, in_place: bool = False) -> tuple[Array, Backprop]:
    """Cut off what is negative: ``a = max(z, 0)``; backwards ``dz = da * (a > 0)``.

    Args:
        z: any shape, floating.
        in_place: whether a overwrites z, and dz overwrites da.

    Returns:
        a, and ``backprop(da) -> dz``.

    Raises:
        ArgumentError: backprop is given another shape.
        ArgumentTypeError: backprop is given another dtype.

    >>> import numpy as np
    >>> a, backprop = relu(np.array([-2.0, 0.0, 3.0]))
    >>> a, backprop(np.ones(3))
    (array([0., 0., 3.]), array([0., 0., 1.]))
    """
    xp = backend_of(z).xp
    output = xp.maximum(z, 0, out=z if in_place else None)

    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, output)
        return xp.multiply(d_output, output > 0, out=d_output if in_place else None)

    return output, backprop


def tanh(z: Array, *, in_place: bool = False) -> tuple[Array, Backprop]:
    """Squash to (-1, 1): ``a = tanh z``; backwards ``dz = da * (1 - a**2)``.

    Args:
        z: any shape, floating.
        in_place: whether a overwrites z, and dz overwrites da.

    Returns:
        a, and ``backprop(da) -> dz``.

    Raises:
        ArgumentError: backprop is given another shape.
        ArgumentTypeError: backprop is given another dtype.

    >>> import numpy as np
    >>> a, backprop = tanh(np.array([0.0, 100.0]))
    >>> a, backprop(np.ones(2))
    (array([0., 1.]), array([1., 0.]))
    """
    xp = backend_of(z).xp
    output = xp.tanh(z, out=z if in_place else None)

    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, output)
        slope = xp.square(output)
        xp.subtract(1, slope, out=slope)
        return xp.multiply(d_output, slope, out=d_output if in_place else None)

    return output, backprop


def sigmoid(z: Array, *, in_place: bool = False) -> tuple[Array, Backprop]:
    """Squash to (0, 1): ``a = 1 / (1 + exp(-z))``; backwards ``dz = da * a * (1 - a)``.

    Args:
        z: any shape, floating.
        in_place: whether dz overwrites da; a is a new array in any case.

    Returns:
        a, and ``backprop(da) -> dz``.

    Raises:
        ArgumentError: backprop is given another shape.
        ArgumentTypeError: backprop is given another dtype.

    >>> import numpy as np
    >>> a, backprop = sigmoid(np.array([0.0, 1e4]))
    >>> a, backprop(np.ones(2))
    (array([0.5, 1. ]), array([0.25, 0.  ]))
    """
    xp = backend_of(z).xp
    output = logistic(z)

    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, output)
        slope = xp.subtract(1, output)
        slope *= output
        return xp.multiply(d_output, slope, out=d_output if in_place else None)

    return output, backprop
