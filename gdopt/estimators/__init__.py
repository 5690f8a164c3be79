"""Networks with scikit-learn's conventions: fit, predict, score, clone, search."""

from gdopt.estimators.estimators import MLPClassifier, MLPRegressor
from gdopt.imports import public_dir

__all__ = ["MLPClassifier", "MLPRegressor"]
__dir__ = public_dir(__name__)
