"""Layers: each returns its output and the function that runs it backwards.

A network is a chain of them, and needs nothing more::

    hidden, backprop1 = dense(x, W1, b1, d_W1, d_b1)
    active, backprop2 = relu(hidden)
    logits, backprop3 = dense(active, W2, b2, d_W2, d_b2)
    loss, gradient = softmax_cross_entropy(logits, labels)
    for backprop in (backprop3, backprop2, backprop1):
        gradient = backprop(gradient)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_overlap
from gdopt.arrays.backend import Array, Backend, common_backend, on_their_device
from gdopt.checks import check_flag, check_kind, check_like, check_number
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.kernels.cpu.pool import Phases
from gdopt.kernels.products import COLUMNS, ROWS, Product, multiply, run_step
from gdopt.nn.formulas import ACTIVATIONS, NO_ACTIVATION
from gdopt.nn.inputs import KEEP, check_examples, check_floats

Backprop = Callable[[Array], Array]


@on_their_device
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
    if bias is not None:
        named += [("bias", bias), ("d_bias", d_bias)]
    backend = common_backend(named)
    if weights.ndim != 2 or weights.size == 0:
        message = f"weights must have shape (n_in, n_out), got {weights.shape}"
        raise ArgumentError(message)
    check_examples(x, weights.shape[0], weights.dtype)
    check_like("d_weights", d_weights, weights)
    if bias is not None:
        check_like("bias", bias, weights[0])
        check_like("d_bias", d_bias, bias)
        refuse_overlap(backend, {"d_weights": d_weights, "d_bias": d_bias}, "gradients")
    arrays = x, weights, bias, d_weights, d_bias
    output, run_back, back = run_step(
        backend,
        dense_activated(*arrays, backend=backend, input_gradient=input_gradient),
    )

    @on_their_device
    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, output)
        return run_step(backend, run_back(whole(back, d_output)))

    return output, backprop


# Binds a gradient, and returns what works on its columns, from one up to another.
Back = Callable[[Array], Callable[[int, int], object] | None]


def whole(back: Back, d_output: Array) -> Array:
    """Overwrite all columns of a gradient, and return it."""
    columns = back(d_output)
    if columns is not None:
        columns(0, d_output.shape[1])
    return d_output


def dense_activated(
    x: Array,
    weights: Array,
    bias: Array | None,
    d_weights: Array,
    d_bias: Array | None,
    *,
    backend: Backend,
    activation: str | None = None,
    input_gradient: bool = True,
    input_back: Back | None = None,
) -> Phases:
    """Do what `dense` does, then activate, in fewer passes and without checks.

    The way back has two parts: ``back(da)`` returns a function that changes columns of
    da to dZ in place, and sums them to db; None without a bias. It can be done in the
    same pass as the second part of the layer after it: that one takes it as its
    `input_back`, done with dX, tile by tile. Returned are the output, a new array;
    ``backprop(dZ) -> dX``, in phases as well; and `back`.
    """
    passes = ACTIVATIONS[activation] if activation else NO_ACTIVATION
    output = backend.xp.empty((len(x), weights.shape[1]), weights.dtype)
    end = None if bias is None else passes.apply_biased.bind(output, bias)
    yield from multiply(backend, Product(x, weights, output, COLUMNS, end))

    def back(d_output: Array) -> Any:
        if bias is None:
            return None
        return passes.back.bind(d_output, output, total=d_bias)

    def backprop(d_z: Array) -> Phases:
        d_weights_product = Product(x.T, d_z, d_weights, ROWS)
        if not check_flag("input_gradient", input_gradient):
            yield from multiply(backend, d_weights_product)
            return None
        d_x = backend.xp.empty(x.shape, x.dtype)
        end = None if input_back is None else input_back(d_x)
        d_x_product = Product(d_z, weights.T, d_x, COLUMNS, end)
        yield from multiply(backend, d_x_product, d_weights_product)
        return d_x

    return output, backprop, back


def activated(z: Array, name: str, *, in_place: bool) -> tuple[Array, Backprop]:
    """Return an activation's output, by its name, and its backprop."""
    passes, backend = ACTIVATIONS[name], check_floats("z", z)
    if check_flag("in_place", in_place) and not backend.writeable(z):
        raise ArgumentTypeError("z must be writeable, got a read-only array")
    output = z if in_place else z.copy()
    passes.apply(output)

    @on_their_device
    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, output)
        d_z = d_output if in_place else d_output.copy()
        passes.back(d_z, output)
        return d_z

    return output, backprop


@on_their_device
def relu(z: Array, *, in_place: bool = False) -> tuple[Array, Backprop]:
    """Set negative values to 0: ``a = max(z, 0)``; backwards ``dz = da * (a > 0)``.

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
    return activated(z, "relu", in_place=in_place)


@on_their_device
def tanh(z: Array, *, in_place: bool = False) -> tuple[Array, Backprop]:
    """Squash to (-1, 1): ``a = tanh z``; backwards ``dz = da * (1 - a**2)``.

    Arguments and result are as in `relu`.

    >>> import numpy as np
    >>> a, backprop = tanh(np.array([0.0, 100.0]))
    >>> a, backprop(np.ones(2))
    (array([0., 1.]), array([1., 0.]))
    """
    return activated(z, "tanh", in_place=in_place)


@on_their_device
def sigmoid(z: Array, *, in_place: bool = False) -> tuple[Array, Backprop]:
    """Squash to (0, 1): ``a = 1 / (1 + exp(-z))``; backwards ``dz = da * a * (1 - a)``.

    Arguments and result are as in `relu`.

    >>> import numpy as np
    >>> a, backprop = sigmoid(np.array([0.0, 1e4]))
    >>> a, backprop(np.ones(2))
    (array([0.5, 1. ]), array([0.25, 0.  ]))
    """
    return activated(z, "sigmoid", in_place=in_place)


@on_their_device
def dropout(
    a: Array, *, keep_prob: float, generator: np.random.Generator
) -> tuple[Array, Backprop]:
    """Inverted dropout: ``a <- a * (rand < keep_prob) / keep_prob``.

    Each unit is kept with probability `keep_prob`, and backwards the same units are,
    ``da <- da * (rand < keep_prob) / keep_prob``. As the rest is scaled up here,
    nothing is done when predicting: leave the layer out.

    Args:
        a: any shape, floating.
        keep_prob: probability, in (0, 1]; torch and Keras name 1 - keep_prob, the share
            that is dropped.
        generator: of NumPy, on the host, so that one seed drops the same units on every
            backend.

    Returns:
        A new array, and ``backprop(da) -> da``.

    Raises:
        ArgumentError: `keep_prob` is not in (0, 1]; backprop is given another shape.
        ArgumentTypeError: `keep_prob` is not a number, or `generator` is not a
            generator.

    Source: Srivastava et al. 2014; Ng, Deep Learning Specialization, course 2, week 1.

    >>> import numpy as np
    >>> dropout(np.ones(6), keep_prob=0.5, generator=np.random.default_rng(0))[0]
    array([0., 2., 2., 2., 0., 0.])
    """
    keep_prob = check_number("keep_prob", keep_prob, KEEP)
    check_kind("generator", generator, np.random.Generator)
    backend = check_floats("a", a)
    kept: Any = generator.random(a.shape) < keep_prob
    scale = (kept / keep_prob).astype(a.dtype)
    return scaled(a, backend.from_host(scale, backend.device(a)))


def scaled(a: Array, scale: Array) -> tuple[Array, Backprop]:
    """Multiply units, and backwards their gradients."""

    @on_their_device
    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, a)
        return d_output * scale

    return a * scale, backprop
