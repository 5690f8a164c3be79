"""How far weights are spread at the start, and the draw itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from gdopt.checks import (
    NOT_NEGATIVE,
    check_choice,
    check_count,
    check_function,
    check_number,
)
from gdopt.errors import ArgumentError


def he_std(fan_in: int, fan_out: int) -> float:  # noqa: ARG001 - one signature for all
    """Standard deviation for ReLU: ``sqrt(2 / fan_in)``.

    Args:
        fan_in: inputs of a unit, at least 1.
        fan_out: units, at least 1; `glorot_std` alone uses it.

    Source: He et al. 2015, Delving Deep into Rectifiers, equation 10.

    >>> he_std(8, 3)
    0.5
    """
    return math.sqrt(2 / check_count("fan_in", fan_in))


def xavier_std(fan_in: int, fan_out: int) -> float:  # noqa: ARG001 - one signature for all
    """Standard deviation for tanh: ``sqrt(1 / fan_in)``, as in the course.

    torch's ``xavier_normal_`` is what `glorot_std` gives here.

    Source: Andrew Ng, Improving Deep Neural Networks, "Weight initialization".

    >>> xavier_std(4, 3)
    0.5
    """
    return math.sqrt(1 / check_count("fan_in", fan_in))


def glorot_std(fan_in: int, fan_out: int) -> float:
    """Standard deviation for both passes: ``sqrt(2 / (fan_in + fan_out))``.

    Source: Glorot & Bengio 2010, equation 12.

    >>> glorot_std(5, 3)
    0.5
    """
    fans = check_count("fan_in", fan_in) + check_count("fan_out", fan_out)
    return math.sqrt(2 / fans)


def zeros_std(fan_in: int, fan_out: int) -> float:  # noqa: ARG001 - one signature for all
    """Standard deviation 0: every unit of a layer then learns the same.

    >>> zeros_std(5, 3)
    0.0
    """
    return 0.0


LARGEST = 1 << 59  # float64 elements of an array
Std = Callable[[int, int], float]  # of fan_in and fan_out
INITIALIZATIONS: dict[str, Std] = {
    "he": he_std,
    "xavier": xavier_std,
    "glorot": glorot_std,
    "zeros": zeros_std,
}


def draw(
    sizes: tuple[int, ...],
    initialization: str | float | Std,
    seed: int,
    *,
    batch_norm: bool = False,
    layer_norm: bool = False,
) -> dict[str, np.ndarray]:
    """Draw ``W1, b1, W2, ...`` on the host in float64; biases are zero.

    Hidden layers that are normalized have ``gamma1 = 1, beta1 = 0``, too: with batch
    normalization in place of a bias, which the mean would take away again. One seed
    gives the same weights, whatever is normalized and on every backend.
    """
    if isinstance(initialization, str):
        check_choice("initialization", initialization, INITIALIZATIONS)
        initialization = INITIALIZATIONS[initialization]
    generator = np.random.default_rng(seed)
    arrays = {}
    for k, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        std, name = initialization, "initialization"
        if callable(std):
            std = check_function("initialization", std)(fan_in, fan_out)
            name = f"initialization({fan_in}, {fan_out})"
        if fan_in * fan_out > LARGEST:
            message = f"sizes must have weights that can be held, got {sizes}"
            raise ArgumentError(message)
        normal = generator.standard_normal((fan_in, fan_out))
        arrays[f"W{k}"] = normal * check_number(name, std, NOT_NEGATIVE)
        hidden = k < len(sizes) - 1
        if not (hidden and batch_norm):
            arrays[f"b{k}"] = np.zeros(fan_out)
        if hidden and (batch_norm or layer_norm):
            arrays[f"gamma{k}"] = np.ones(fan_out)
            arrays[f"beta{k}"] = np.zeros(fan_out)
    return arrays
