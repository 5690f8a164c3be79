"""Networks with scikit-learn's conventions: fit, predict, score, clone, search."""

from gdopt.estimators.classifier import MLPClassifier
from gdopt.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
