"""Pictures of runs, of averages and of plans."""

from gdopt.imports import public_dir
from gdopt.plots.planning import batch_sizes
from gdopt.plots.runs import curves
from gdopt.plots.series import averages

__all__ = ["averages", "batch_sizes", "curves"]
__dir__ = public_dir(__name__)
