"""Checks the gradients of a function against two-sided differences."""

from gdopt.gradient_check.check import check_gradient
from gdopt.gradient_check.report import GradientCheck, ParameterCheck
from gdopt.imports import public_dir

__all__ = ["GradientCheck", "ParameterCheck", "check_gradient"]
__dir__ = public_dir(__name__)
