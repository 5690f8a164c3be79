"""A regressor with scikit-learn's conventions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gdopt.errors import ArgumentError
from gdopt.estimators.base import MLP
from gdopt.estimators.settings import base, check_data, metrics, validation
from gdopt.estimators.training import Model, Part


class MLPRegressor(base.MultiOutputMixin, base.RegressorMixin, MLP):  # type: ignore[misc] # no types
    """Predict quantities by a network of dense layers, as scikit-learn's regressors do.

    It descends ``mean_i(1/2 sum_k (p_ik - y_ik)**2) + alpha / (2 m) sum(W**2)`` over
    mini-batches of m examples; the last layer is linear. Targets far from 0 or of
    other sizes than 1 are learned slowly: scale them, as with scikit-learn's
    TransformedTargetRegressor.

    Args and attributes are those of `gdopt.MLPClassifier`, classes aside. With
    ``early_stopping`` each epoch is judged by R^2 of what was kept.

    Other libraries: as with `gdopt.MLPClassifier`. Of several outputs, scikit-learn's
    MLPRegressor tells the loss divided by their number, and descends the same
    gradient.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> model = MLPRegressor(16, learning_rate_init=0.05, random_state=0, max_iter=500)
    >>> model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.98
    True
    """

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one epoch on these examples.

        Args:
            X: (n, features), as in `fit`.
            y: (n,) or (n, outputs).

        Raises:
            ValueError: as in `fit`.
        """
        return self._fit_part(X, y)

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs: (n,), or (n, outputs) where `y` had as many dimensions.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ValueError: X is not what scikit-learn takes for data.
        """
        outputs = self._ask("predict", X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _take(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any, int]:
        X, y = check_data(self, X, y, reset=reset, multi_output=True, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = validation.column_or_1d(y, warn=True)
        targets = y.reshape(len(y), -1)
        outputs, dtype = targets.shape[1], X.dtype
        if not reset:
            before, dtype = self._model.network.sizes[-1], self._model.network.dtype
            if outputs != before:
                message = f"y must have {before} outputs, as before, got {outputs}"
                raise ArgumentError(message)
        return X, targets.astype(dtype, copy=False), outputs

    def _output(self, _units: int) -> str:
        return "linear"

    def _judge(self, model: Model, part: Part) -> float:
        X, targets = part
        return float(metrics.r2_score(targets, model.ask("predict", X)))
