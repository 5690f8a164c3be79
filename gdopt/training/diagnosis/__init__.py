"""What is wrong with a training, and what the course advises."""

from gdopt.exports import public_dir
from gdopt.training.diagnosis.error import BiasVariance, bias_variance
from gdopt.training.diagnosis.layers import Layer, LayerNorms, layer_norms

__all__ = [
    "BiasVariance",
    "Layer",
    "LayerNorms",
    "bias_variance",
    "layer_norms",
]
__dir__ = public_dir(__name__)
