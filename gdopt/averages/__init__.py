"""Exponentially weighted averages: of a stream, of a series, and inside the rules."""

from gdopt.averages.formula import average, ewa_weights, ewa_window
from gdopt.averages.moments import ewa_std, ewa_var
from gdopt.averages.scan import ewa
from gdopt.averages.stream import EWA
from gdopt.imports import public_dir

__all__ = ["EWA", "average", "ewa", "ewa_std", "ewa_var", "ewa_weights", "ewa_window"]
__dir__ = public_dir(__name__)
