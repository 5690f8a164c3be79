"""Test functions with their gradients by hand and their known minima.

Each call gives a `Problem`: its value, its gradient, where its minima lie, where to
start from, and which part of the plane to draw.
"""

from gdopt.imports import public_dir
from gdopt.problems.classic import beale, himmelblau, rastrigin, rosenbrock
from gdopt.problems.problem import Problem
from gdopt.problems.simple import bounded_saddle, bowl, plateau, saddle

__all__ = [
    "Problem",
    "beale",
    "bounded_saddle",
    "bowl",
    "himmelblau",
    "plateau",
    "rastrigin",
    "rosenbrock",
    "saddle",
]
__dir__ = public_dir(__name__)
