"""Exponentially weighted averages: of a stream, of a series, and inside the rules."""

from gdopt.ewa.formula import average, corrected, ewa_weights, ewa_window
from gdopt.ewa.series import ewa
from gdopt.ewa.stream import EWA
from gdopt.exports import public_dir

__all__ = ["EWA", "average", "corrected", "ewa", "ewa_weights", "ewa_window"]
__dir__ = public_dir(__name__)
