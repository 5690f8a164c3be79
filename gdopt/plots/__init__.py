"""Every picture that gdopt draws."""

from gdopt.plots.planning import batch_sizes
from gdopt.plots.training import curves

__all__ = ["batch_sizes", "curves"]
