"""Activations, element by element."""

from __future__ import annotations

from gdopt.arrays import Array, backend_of
from gdopt.nn.checks import check_like
from gdopt.nn.layers.dense import Backprop
from gdopt.nn.losses.cross_entropy import logistic


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
