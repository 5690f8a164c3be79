"""What is wrong with a training, and what the course advises."""

from gdopt.training.diagnosis.cost import CostCurve, cost_curve
from gdopt.training.diagnosis.depth import initialization_norms
from gdopt.training.diagnosis.error import BiasVariance, bias_variance
from gdopt.training.diagnosis.layers import Layer, LayerNorms, layer_norms

__all__ = [
    "BiasVariance",
    "CostCurve",
    "Layer",
    "LayerNorms",
    "bias_variance",
    "cost_curve",
    "initialization_norms",
    "layer_norms",
]
