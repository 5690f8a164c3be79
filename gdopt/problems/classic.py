"""Functions that the literature knows by name, with the figures it gives."""

from __future__ import annotations

import math

from gdopt.arrays.backend import Array, Backend
from gdopt.checks import check_int
from gdopt.copies import made_again
from gdopt.problems.problem import MOST_AXES, Problem, in_plane


@made_again
def rosenbrock(size: int = 2) -> Problem:
    """Make the curved valley: f = sum of 100 (p_{i+1} - p_i^2)^2 + (1 - p_i)^2.

    The valley along y = x^2 is found quickly; along its floor the slope is slight. From
    4 variables on there is a second, higher minimum near (-1, 1, ..., 1).

    Args:
        size: number of variables, at least 2; each is chained to the next one, as in
            SciPy's ``rosen``. The extended function of Moré et al. (problem 21) is one
            of pairs.

    Returns:
        A problem with its least value 0 at (1, ..., 1).

    Raises:
        ArgumentError: size is below 2.

    Source: Rosenbrock 1960, An automatic method for finding the greatest or least value
    of a function, with the start (-1.2, 1), where f is 24.2; Moré, Garbow & Hillstrom
    1981, Testing unconstrained optimization software, problem 1; Shang & Qiu 2006 (the
    second minimum).

    >>> import numpy as np
    >>> valley = rosenbrock()
    >>> valley.gradient(np.array(valley.start)).round(6)
    array([-215.6,  -88. ])
    """
    size = check_int("size", size, least=2, most=MOST_AXES)

    def formula(p: Array, backend: Backend) -> Array:
        x, y = p[..., :-1], p[..., 1:]
        return backend.xp.sum(100 * (y - x * x) ** 2 + (1 - x) ** 2, axis=-1)

    def slope(p: Array, backend: Backend) -> Array:
        x, y = p[..., :-1], p[..., 1:]
        rise = 200 * (y - x * x)
        together = backend.xp.zeros_like(p)
        together[..., 1:] = rise
        together[..., :-1] += -2 * x * rise - 2 * (1 - x)
        return together

    return Problem(
        name="Rosenbrock's valley",
        formula=formula,
        slope=slope,
        start=tuple((-1.2, 1.0)[k % 2] for k in range(size)),
        box=((-1.8, 1.8), *([(-0.8 if size == 2 else -1.8, 2.2)] * (size - 1))),
        minima=((1.0,) * size,),
        least=0.0,
    )


@made_again
def beale() -> Problem:
    """Make Beale's function, whose flat arms leave a steep middle.

    f = (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2.

    Returns:
        A problem with its minimum 0 at (3, .5).

    Source: Beale 1958, On an iterative method for finding a local minimum; Moré, Garbow
    & Hillstrom 1981, problem 5, with the start (1, 1), where f is 14.203125.

    >>> import numpy as np
    >>> hill = beale()
    >>> hill.value(np.array([[1.0, 1.0], [3.0, 0.5]]))
    array([14.203125,  0.      ])
    """
    targets = (1.5, 2.25, 2.625)

    def powers(y: Array) -> tuple[Array, Array, Array]:
        return y, y * y, y * y * y  # products round the same everywhere

    def rests(x: Array, y: Array) -> list[Array]:
        return [c - x + x * power for c, power in zip(targets, powers(y), strict=True)]

    def derivatives(x: Array, y: Array) -> tuple[Array, Array]:
        one, two, three = rests(x, y)
        _, square, cube = powers(y)
        across = one * (y - 1) + two * (square - 1) + three * (cube - 1)
        along = one + 2 * y * two + 3 * square * three
        return 2 * across, 2 * x * along

    return in_plane(
        lambda x, y: sum(rest**2 for rest in rests(x, y)),
        derivatives,
        name="Beale's function",
        start=(1.0, 1.0),
        box=((-1.0, 4.5), (-1.5, 1.5)),
        minima=((3.0, 0.5),),
        least=0.0,
    )


@made_again
def himmelblau() -> Problem:
    """Make Himmelblau's four minima: f = (x^2 + y - 11)^2 + (x + y^2 - 7)^2.

    Returns:
        A problem with the minimum 0 at (3, 2), (-2.805118, 3.131313),
        (-3.779310, -3.283186) and (3.584428, -1.848127).

    Source: Himmelblau 1972, Applied Nonlinear Programming; between the minima lies a
    maximum of 181.617 at (-.270845, -.923039).

    >>> import numpy as np
    >>> himmelblau().value(np.array([[3.0, 2.0], [0.0, 0.0]]))
    array([  0., 170.])
    """

    def derivatives(x: Array, y: Array) -> tuple[Array, Array]:
        one, two = 2 * (x * x + y - 11), 2 * (x + y * y - 7)
        return 2 * x * one + two, one + 2 * y * two

    return in_plane(
        lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
        derivatives,
        name="Himmelblau's function",
        start=(0.0, 0.0),
        box=((-5.0, 5.0), (-5.0, 5.0)),
        minima=(
            (3.0, 2.0),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.283185991286170),
            (3.584428340330492, -1.848126526964404),
        ),
        least=0.0,
    )


@made_again
def rastrigin(size: int = 2) -> Problem:
    """Make a surface of many minima: f = 10 n + sum of p_i^2 - 10 cos(2 pi p_i).

    Near every point of whole numbers there is a minimum, in all 11^n within the usual
    box; the lower, the nearer it is to 0. The ones next to the global minimum have the
    value .99496 at .99496 along one axis.

    Args:
        size: number of variables, at least 1.

    Returns:
        A problem with its least value 0 at 0.

    Raises:
        ArgumentError: size is below 1.

    Source: Rastrigin 1974, Systems of Extremal Control; Mühlenbein, Schomisch & Born
    1991, The parallel genetic algorithm as function optimizer, which defines it in n
    variables, from -5.12 to 5.12.

    >>> import numpy as np
    >>> rastrigin().value(np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0]])).round(6)
    array([ 0.  ,  2.  , 20.25])
    """
    size = check_int("size", size, least=1, most=MOST_AXES)
    turn = 2 * math.pi

    def formula(p: Array, backend: Backend) -> Array:
        xp = backend.xp
        return xp.sum(p * p + 10 * (1 - xp.cos(turn * p)), axis=-1)

    return Problem(
        name="Rastrigin's many minima",
        formula=formula,
        slope=lambda p, backend: 2 * p + 10 * turn * backend.xp.sin(turn * p),
        start=(-3.3, 2.4)[:size] + (2.4,) * (size - 2),
        box=((-5.12, 5.12),) * size,
        minima=((0.0,) * size,),
        least=0.0,
    )
