"""The element-wise parts of a network, each formula once, for every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gdopt.kernels import Kernel, ops
from gdopt.kernels.matrix import MatrixKernel, RowKernel


def sigmoid(z: Any) -> Any:
    """Return ``1 / (1 + np.exp(-z))``; where exp overflows, the limit 0."""
    return 1.0 / (1.0 + np.exp(-z))


class Activation(NamedTuple):
    """The passes of one activation, all in place."""

    apply: MatrixKernel  # a = f(z) over z
    apply_biased: MatrixKernel  # a = f(z + b) over z (m, n), with b (n,)
    back: MatrixKernel  # dz = da f'(z) over da, given a


def _activation(
    name: str, function: Callable[[Any], Any], function_back: Callable[[Any, Any], Any]
) -> Activation:
    def apply(z: Any) -> Any:
        return function(z)

    def apply_biased(z: Any, bias: Any) -> Any:
        return function(z + bias)

    def back(d: Any, output: Any) -> Any:
        return function_back(d, output)

    for part in (apply, apply_biased, back):
        part.__name__ = f"{name}_{part.__name__}"
    biased = MatrixKernel(apply_biased, vectors=("bias",))
    return Activation(MatrixKernel(apply), biased, MatrixKernel(back))


NO_ACTIVATION = _activation("no", lambda z: z, lambda d, _: d)
ACTIVATIONS = {  # the way back by the output
    "relu": _activation("relu", ops.relu, ops.relu_back),
    "tanh": _activation("tanh", np.tanh, lambda d, a: d * (1.0 - a * a)),
    "sigmoid": _activation("sigmoid", sigmoid, lambda d, a: d * (a * (1.0 - a))),
    "identity": NO_ACTIVATION,
}


def _softmax_cross_entropy(outputs: Any, label: Any, column: Any) -> tuple[Any, Any]:
    shifted = outputs - ops.row_max(outputs)
    tail = np.exp(shifted)
    total = ops.row_sum(tail)
    slope = tail / total - ops.one_hot(column, label)
    return slope, np.log(total) - ops.row_pick(shifted, label)


def _binary_cross_entropy(outputs: Any, label: Any, _: Any) -> tuple[Any, Any]:
    target = ops.one_hot(1.0, label)
    losses = ops.relu(outputs) - outputs * target + np.log1p(np.exp(-abs(outputs)))
    return sigmoid(outputs) - target, ops.row_sum(losses)


def _squared_error(outputs: Any, label: Any, _: Any) -> tuple[Any, Any]:
    difference = outputs - label
    return difference, ops.row_sum(difference * difference) / 2.0


def _log_loss(outputs: Any, label: Any, column: Any) -> tuple[Any, Any]:
    likely = ops.row_pick(outputs, label)
    slope = np.where(ops.one_hot(column, label) == 1.0, -1.0 / likely, 0.0)
    return slope, -np.log(likely)


def _binary_log_loss(outputs: Any, label: Any, _: Any) -> tuple[Any, Any]:
    positive = ops.one_hot(1.0, label) == 1.0
    likely = np.where(positive, outputs, 1.0 - outputs)
    slope = np.where(positive, -1.0 / likely, 1.0 / likely)
    return slope, ops.row_sum(-np.log(likely))


softmax_cross_entropy = RowKernel(_softmax_cross_entropy)
binary_cross_entropy = RowKernel(_binary_cross_entropy)
squared_error = RowKernel(_squared_error)
log_loss = RowKernel(_log_loss)
binary_log_loss = RowKernel(_binary_log_loss)

EPS = 1e-5  # of a normalization, as torch's


def _layer_norm(
    output: Any,  # noqa: ARG001
    z: Any,
    root: Any,
    gamma: Any,
    beta: Any,
) -> tuple[Any, Any, Any]:
    z = z - np.mean(z, axis=1, keepdims=True)
    root = np.sqrt(np.mean(z * z, axis=1, keepdims=True) + EPS)
    z = z / root
    return z * gamma + beta, z, root


def _layer_norm_back(  # noqa: PLR0917 - arrays of a kernel
    d: Any, d_gamma: Any, d_beta: Any, z_hat: Any, root: Any, gamma: Any
) -> tuple[Any, Any, Any]:
    d_gamma = np.sum(d * z_hat, axis=0, keepdims=True)
    d_beta = np.sum(d, axis=0, keepdims=True)
    d = d * gamma
    share = np.mean(d * z_hat, axis=1, keepdims=True)
    d = (d - np.mean(d, axis=1, keepdims=True) - z_hat * share) / root
    return d, d_gamma, d_beta


_SCALE = {"root": "row", "gamma": "column"}
layer_norm = Kernel(_layer_norm, _SCALE | {"beta": "column"})
layer_norm_back = Kernel(
    _layer_norm_back, _SCALE | {"d_gamma": "column", "d_beta": "column"}
)
