"""Every picture that gdopt draws."""

from gdopt.imports import public_dir
from gdopt.plots.planning import batch_sizes
from gdopt.plots.series import averages, curves

__all__ = ["averages", "batch_sizes", "curves"]
__dir__ = public_dir(__name__)
