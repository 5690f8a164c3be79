"""A small network with gradients by hand, to learn and test with; rows are examples."""

from gdopt.imports import public_dir
from gdopt.nn.forward import example_gradients
from gdopt.nn.initialization import glorot_std, he_std, xavier_std, zeros_std
from gdopt.nn.layers import dense, dropout, relu, sigmoid, tanh
from gdopt.nn.losses import (
    binary_cross_entropy,
    logistic,
    one_hot,
    softmax,
    softmax_cross_entropy,
    squared_error,
)
from gdopt.nn.network import Network
from gdopt.nn.normalization import batch_norm, layer_norm

__all__ = [
    "Network",
    "batch_norm",
    "binary_cross_entropy",
    "dense",
    "dropout",
    "example_gradients",
    "glorot_std",
    "he_std",
    "layer_norm",
    "logistic",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
    "squared_error",
    "tanh",
    "xavier_std",
    "zeros_std",
]
__dir__ = public_dir(__name__)
