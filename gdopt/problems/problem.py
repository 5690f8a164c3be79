"""What a test function is: value, gradient, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, common_backend, on_their_device
from gdopt.checks import FINITE, check_number
from gdopt.copies import made_again
from gdopt.errors import ArgumentError

Formula = Callable[[Array, Backend], Array]
Point = tuple[float, ...]
MOST_AXES = 1 << 24


@dataclass(frozen=True, eq=False)
class Problem:
    """A function to be minimized, with its gradient by hand and its known minima.

    Attributes:
        name: in words, for the title of a picture.
        formula: gives the values of points, (..., n), and their backend: (...).
        slope: gives their gradients: (..., n), a new array.
        start: where descent usually starts from, n numbers.
        box: for each axis, from where to where to draw it.
        minima: the points of least value; none where the function has no bound.
        least: the value there; minus infinity where there is none.

    >>> import numpy as np
    >>> line = Problem(
    ...     "square",
    ...     formula=lambda p, _: p[..., 0] ** 2,
    ...     slope=lambda p, _: 2 * p,
    ...     start=(3.0,),
    ...     box=((-4.0, 4.0),),
    ...     minima=((0.0,),),
    ...     least=0.0,
    ... )
    >>> p = np.array(line.start)
    >>> line.value(p), line.gradient(p), line.distance(p)
    (np.float64(9.0), array([6.]), np.float64(3.0))
    """

    name: str
    formula: Formula = field(repr=False)
    slope: Formula = field(repr=False)
    start: Point
    box: tuple[tuple[float, float], ...]
    minima: tuple[Point, ...] = ()
    least: float = float("-inf")

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.start)

    @on_their_device
    def value(self, p: Array) -> Array:
        """Return the value at every point.

        Args:
            p: (..., n) float array, of NumPy or CuPy; its last axis is one point.

        Returns:
            (...), of the dtype of `p`, where `p` is.

        Raises:
            ArgumentError: the last axis has not one number for each variable.
            ArgumentTypeError: `p` is not an array of floats.
        """
        return self.formula(p, self._check(p))

    @on_their_device
    def gradient(self, p: Array) -> Array:
        """Return the gradient at every point: a new array like `p`.

        Arguments and errors are those of `value`.
        """
        return self.slope(p, self._check(p))

    @on_their_device
    def distance(self, p: Array) -> Array:
        """Return the Euclidean distance of every point from its nearest minimum.

        Arguments, result and errors are those of `value`.

        Raises:
            ArgumentError: the function has no minimum.
        """
        backend = self._check(p)
        if not self.minima:
            message = f"the problem must have a minimum, got {self.name!r} without one"
            raise ArgumentError(message)
        minima = np.array(self.minima, dtype=p.dtype)
        ways = p[..., None, :] - backend.from_host(minima, backend.device(p))
        return backend.xp.sqrt(backend.xp.sum(ways * ways, axis=-1)).min(axis=-1)

    @made_again
    def turned(self, angle: float) -> Problem:
        """Turn the function around 0, in the plane of its first two axes.

        f(R^T p) in place of f(p), where R turns by `angle`: start and minima turn with
        it, the box stays. Rules with a rate for each parameter feel the difference.

        Args:
            angle: in radians, counter-clockwise.

        Raises:
            ArgumentError: the angle is not finite, or there is only one variable.

        >>> from gdopt.problems import bowl
        >>> [round(x, 6) for x in bowl(9.0).turned(math.pi / 2).start]
        [-1.0, -4.0]
        """
        angle = check_number("angle", angle, FINITE)
        if self.size < 2:
            message = f"turned needs two variables, got {self.name!r} with one"
            raise ArgumentError(message)
        cosine, sine = math.cos(angle), math.sin(angle)

        def point(p: Point) -> Point:
            x, y, *others = p
            return (cosine * x - sine * y, sine * x + cosine * y, *others)

        def slope(p: Array, backend: Backend) -> Array:
            back = _turn(p, backend, cosine, -sine)
            return _turn(self.slope(back, backend), backend, cosine, sine)

        return replace(
            self,
            name=f"{self.name}, turned",
            formula=lambda p, at: self.formula(_turn(p, at, cosine, -sine), at),
            slope=slope,
            start=point(self.start),
            minima=tuple(point(minimum) for minimum in self.minima),
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        return vars(self).get("_made") or super().__reduce_ex__(protocol)

    def _check(self, p: Array) -> Backend:
        backend = common_backend((("p", p),))
        refuse_unusable_dtype("p", p.dtype)
        if p.ndim < 1 or p.shape[-1] != self.size:
            message = f"p must have shape (..., {self.size}), got {tuple(p.shape)}"
            raise ArgumentError(message)
        return backend


def _turn(p: Array, backend: Backend, cosine: float, sine: float) -> Array:
    """Turn points in the plane of their first two axes."""
    q = backend.xp.zeros_like(p)
    q[...] = p
    q[..., 0] = cosine * p[..., 0] - sine * p[..., 1]
    q[..., 1] = sine * p[..., 0] + cosine * p[..., 1]
    return q


def in_plane(
    value: Callable[[Array, Array], Array],
    derivatives: Callable[[Array, Array], tuple[Array, Array]],
    **known: Any,
) -> Problem:
    """Make a problem of functions of x and y, and of what else is known of it."""

    def slope(p: Array, backend: Backend) -> Array:
        together = backend.xp.zeros_like(p)
        together[..., 0], together[..., 1] = derivatives(p[..., 0], p[..., 1])
        return together

    return Problem(
        formula=lambda p, _: value(p[..., 0], p[..., 1]), slope=slope, **known
    )
