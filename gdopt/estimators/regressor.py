"""A regressor with scikit-learn's conventions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gdopt.errors import ArgumentError
from gdopt.estimators.base import MLP
from gdopt.estimators.conventions import base, check_data, metrics, validation
from gdopt.estimators.model import Model
from gdopt.estimators.regression import RegressionNetwork
from gdopt.estimators.settings import Settings
from gdopt.estimators.training import Part


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
        """Give the outputs: (n,), or (n, outputs) where `y` had as many dimensions.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ValueError: X is not what scikit-learn takes for data.
        """
        model = self._fitted()
        X = check_data(self, X, dtype=model.network.dtype, reset=False)
        outputs = self._outputs(model, X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _outputs(self, model: Model, X: np.ndarray) -> np.ndarray:
        return model.to_host(model.network.predict(model.to_device(X)))

    def _take(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any, int]:
        X, y = check_data(self, X, y, reset=reset, multi_output=True, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = validation.column_or_1d(y, warn=True)
        targets = y.reshape(len(y), -1)
        outputs = targets.shape[1]
        if not reset and outputs != self._model.sizes[-1]:
            message = (
                f"y must have {self._model.sizes[-1]} outputs, as before, got {outputs}"
            )
            raise ArgumentError(message)
        return X, targets, outputs

    def _make(
        self, settings: Settings, sizes: tuple[int, ...], *, dtype: Any, seed: int
    ) -> Model:
        return Model(
            RegressionNetwork,
            settings.optimizer,
            settings.learning_rate_init,
            sizes=sizes,
            activation=settings.activation,
            seed=seed,
            dtype=dtype,
            backend=settings.device,
        )

    def _typed(self, model: Model, targets: np.ndarray) -> np.ndarray:
        return targets.astype(model.network.dtype, copy=False)

    def _strata(self, _targets: np.ndarray) -> np.ndarray | None:
        return None

    def _judge(self, model: Model, part: Part) -> float:
        X, targets = part
        return float(metrics.r2_score(targets, self._outputs(model, X)))
