"""Exponentially weighted averages: of a stream, of a series, and inside the rules."""

from gdopt.ewa.formula import average, corrected, ewa_weights, ewa_window
from gdopt.ewa.series import ewa
from gdopt.ewa.stream import EWA

__all__ = ["EWA", "average", "corrected", "ewa", "ewa_weights", "ewa_window"]
