"""One difficulty each: a bowl that is too long, a saddle, a plateau."""

from __future__ import annotations

import math

import numpy as np

from gdopt.arrays.backend import Array, Backend
from gdopt.checks import POSITIVE, Range, check_int, check_number
from gdopt.copies import made_again
from gdopt.problems.problem import MOST_AXES, Problem, in_plane


@made_again
def bowl(condition: float = 100.0, *, size: int = 2) -> Problem:
    """Make an elongated bowl: f = 1/2 sum of c_i p_i^2, c from 1 to `condition`.

    The curvatures c_i are spaced evenly in their logarithm. Along the last axis the
    bowl is steep, which bounds the rate; along the first it is flat, which then takes
    long. Gradient descent converges for rates below 2 / condition, and at its best
    rate, 2 / (1 + condition), leaves (condition - 1) / (condition + 1) of the error at
    each step. Rules with a rate for each parameter see no difficulty in a bowl that
    lies along the axes; `Problem.turned` makes it one for them, too.

    Args:
        condition: ratio of the greatest to the least curvature, at least 1.
        size: number of variables, at least 2.

    Returns:
        A problem with its minimum 0 at 0.

    Raises:
        ArgumentError: an argument is out of its range.

    Source: Nocedal & Wright 2006, Numerical Optimization, theorem 3.3.

    >>> import numpy as np
    >>> bowl(10.0).gradient(np.array([1.0, 1.0]))
    array([ 1., 10.])
    """
    condition = check_number("condition", condition, Range.parse("[1, inf)"))
    size = check_int("size", size, least=2, most=MOST_AXES)
    curvatures = condition ** (np.arange(size) / (size - 1))

    def slope(p: Array, backend: Backend) -> Array:
        c = backend.from_host(curvatures.astype(p.dtype), backend.device(p))
        return c * p

    return Problem(
        name=f"bowl of condition {condition:g}",
        formula=lambda p, backend: backend.xp.sum(p * slope(p, backend), axis=-1) / 2,
        slope=slope,
        start=(-4.0, *([1.0] * (size - 1))),
        box=((-5.0, 5.0), *([(-2.5, 2.5)] * (size - 1))),
        minima=((0.0,) * size,),
        least=0.0,
    )


@made_again
def saddle() -> Problem:
    """Make a saddle without a bound: f = x^2 - y^2.

    At 0 the gradient vanishes, though f is least there along x alone. Descent that
    starts near the line y = 0 is led there first.

    Returns:
        A problem without a minimum.

    >>> import numpy as np
    >>> saddle().gradient(np.array([1.0, 1.0]))
    array([ 2., -2.])
    """
    return in_plane(
        lambda x, y: x**2 - y**2,
        lambda x, y: (2 * x, -2 * y),
        name="saddle",
        start=(-1.5, 1e-3),
        box=((-2.0, 2.0), (-2.0, 2.0)),
    )


@made_again
def bounded_saddle(steepness: float = 1.0) -> Problem:
    """Make a saddle between two minima: f = s x^2 - y^2 + y^4 / 4.

    f_y = y (y^2 - 2): the saddle, of value 0, lies at 0, and the minima, of value -1,
    at (0, -sqrt 2) and (0, sqrt 2), where the curvatures are 2 s and 4. The steeper x
    is, the smaller the rate must be, and the longer it takes to leave the saddle.

    Args:
        steepness: s, above 0.

    Returns:
        A problem with two minima of value -1.

    Raises:
        ArgumentError: steepness is not above 0.

    >>> import numpy as np
    >>> bounded_saddle().value(np.array([[0.0, 0.0], [0.0, 2**0.5]])).round(12)
    array([ 0., -1.])
    """
    s = check_number("steepness", steepness, POSITIVE)
    return in_plane(
        lambda x, y: s * x**2 - y**2 + (y * y) ** 2 / 4,
        lambda x, y: (2 * s * x, y * (y * y - 2)),
        name="saddle between two minima",
        start=(-1.5, 1e-3),
        box=((-2.0, 2.0), (-2.0, 2.0)),
        minima=((0.0, -math.sqrt(2)), (0.0, math.sqrt(2))),
        least=-1.0,
    )


@made_again
def plateau() -> Problem:
    """Make a hole in a wide plateau: f = 1 - exp(-(x^2 + y^2) / 2).

    The gradient is p exp(-|p|^2 / 2): at most .61, at a distance of 1, and .0006 at the
    usual start, where f is .99986. Ng, Improving deep neural networks, week 2,
    "The problem of local optima", calls plateaus what makes learning slow.

    Returns:
        A problem with its minimum 0 at 0, where both curvatures are 1.

    >>> import numpy as np
    >>> plateau().value(np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])).round(4)
    array([0.    , 0.8647, 1.    ])
    """

    def exponent(p: Array, backend: Backend) -> Array:
        return backend.xp.sum(p * p, axis=-1) / -2

    return Problem(
        name="hole in a plateau",
        formula=lambda p, backend: -backend.xp.expm1(exponent(p, backend)),
        slope=lambda p, backend: p * backend.xp.exp(exponent(p, backend))[..., None],
        start=(-3.7, 2.0),
        box=((-4.5, 2.0), (-2.0, 2.8)),
        minima=((0.0, 0.0),),
        least=0.0,
    )
