"""Inverted dropout: a layer that switches units off at random while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays import Array, backend_of
from gdopt.checks import check_number
from gdopt.errors import ArgumentTypeError
from gdopt.nn.checks import KEEP, check_like
from gdopt.nn.layers.dense import Backprop


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
        ArgumentTypeError: `keep_prob` is no number, or `generator` is no generator.

    Source: Srivastava et al. 2014; Ng, Deep Learning Specialization, course 2, week 1.

    >>> import numpy as np
    >>> dropout(np.ones(6), keep_prob=0.5, generator=np.random.default_rng(0))[0]
    array([0., 2., 2., 2., 0., 0.])
    """
    keep_prob = check_number("keep_prob", keep_prob, KEEP)
    if not isinstance(generator, np.random.Generator):
        kind = type(generator).__name__
        message = f"generator must be a numpy.random.Generator, got {kind}"
        raise ArgumentTypeError(message)
    backend = backend_of(a)
    kept: Any = generator.random(a.shape) < keep_prob
    scale = backend.from_host((kept / keep_prob).astype(a.dtype), backend.device(a))

    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, a)
        return d_output * scale

    return a * scale, backprop
