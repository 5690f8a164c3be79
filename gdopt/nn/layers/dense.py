"""A fully connected layer."""

from __future__ import annotations

from collections.abc import Callable

from gdopt.arrays import Array
from gdopt.arrays.backend import common_backend
from gdopt.errors import ArgumentError
from gdopt.nn.checks import check_examples, check_like

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
