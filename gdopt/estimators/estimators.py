"""A classifier and a regressor with scikit-learn's conventions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gdopt.checks import listed
from gdopt.errors import ArgumentError
from gdopt.estimators.base import MLP
from gdopt.estimators.settings import base, check_data, metrics, multiclass, validation
from gdopt.estimators.training import Part, TrainedNetwork


class MLPClassifier(base.ClassifierMixin, MLP):  # type: ignore[misc] # no types
    """Classify by a network of dense layers, in scikit-learn's pipelines and searches.

    It descends ``mean_i(cross-entropy_i) + alpha / (2 m) sum(W**2)`` over mini-batches
    of m examples. Two classes have one output, a sigmoid; more have a softmax.

    Args:
        hidden_layer_sizes: units of each hidden layer; a number is one layer.
        activation: between layers, ``"relu"``, ``"tanh"`` or ``"logistic"``.
        optimizer: a name in `gdopt.optim.OPTIMIZERS`, such as ``"adam"``; or anything
            that is called as ``gdopt.Adam(params, lr=...)``.
        learning_rate_init: positive; or a schedule, of the step.
        alpha: the course's lambda, at least 0.
        batch_size: examples in a mini-batch, at most n; ``"auto"`` is min(200, n).
        max_iter: epochs, at most.
        random_state: seed, RandomState, or None, for weights, batches and what is kept.
        early_stopping: whether a share of the examples is kept, by classes, to judge
            each epoch by their accuracy; the weights of the best epoch come back.
        validation_fraction: that share, in (0, 1).
        n_iter_no_change: training ends after more epochs than that in a row without a
            gain, in the mean loss of an epoch or in the accuracy of what was kept.
        tol: gain below which an epoch counts as none, at least 0.
        warm_start: whether `fit` continues from the current weights, with a new
            optimizer.
        backend: ``"numpy"``, ``"cupy"``, or ``"auto"``, which is CuPy where a GPU
            answers; X, y and predictions are NumPy arrays in any case.

    Attributes:
        classes_: the classes, sorted.
        coefs_: weights of each layer, (n_in, n_out).
        intercepts_: biases of each layer.
        loss_curve_: mean loss of each epoch since the weights were drawn.
        loss_: the last one.
        n_iter_: how many there are.
        validation_scores_: of what was kept, after each epoch; else None.
        best_validation_score_: the highest one; else None.
        n_features_in_: features of X.
        feature_names_in_: their names, where X had some.

    Other libraries: names, defaults and loss are those of scikit-learn's MLPClassifier;
    its `solver` is `optimizer` here. Weights start from He's or Xavier's normal numbers
    and not from Glorot's uniform ones, biases from 0; Adam's eps is added to
    the corrected root. A batch_size above n is refused, not cut. There are no
    sample_weight, no sparse X and no multilabel y.

    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array(["same", "other", "other", "same"])
    >>> model = MLPClassifier(16, learning_rate_init=0.05, random_state=0)
    >>> model.fit(X, y).predict(X)
    array(['same', 'other', 'other', 'same'], dtype='<U5')
    """

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train for one epoch on these examples.

        Args:
            X: (n, features), as in `fit`.
            y: (n,), classes.
            classes: all there are, sorted or not; the first call needs them.

        Raises:
            ArgumentError: classes are missing at the first call, or others than before.
            ValueError: as in `fit`.
        """
        if classes is not None:
            classes = np.unique(np.asarray(classes))
        if not hasattr(self, "_model") and classes is None:
            message = "classes must be passed on the first call to partial_fit"
            raise ArgumentError(message)
        return self._fit_part(X, y, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each example, (n,), of the kind of `y`.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ValueError: X is not what scikit-learn takes for data.
        """
        numbers = self._call_network("predict", X)
        named: np.ndarray = self.classes_[numbers]
        return named

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return each class's probability, (n, classes), in the order of `classes_`.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ValueError: X is not what scikit-learn takes for data.
        """
        probabilities = self._call_network("predict_proba", X)
        if probabilities.ndim == 1:
            probabilities = np.stack([1 - probabilities, probabilities], axis=1)
        return probabilities

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, classes: Any = None
    ) -> tuple[Any, Any, int]:
        X, y = check_data(self, X, y, reset=reset)
        multiclass.check_classification_targets(y)
        found = np.unique(y)
        if reset and classes is None:
            classes = found
        if not reset and classes is not None and list(classes) != list(self.classes_):
            message = (
                f"classes must be those of the first call, {listed(self.classes_)}, "
                f"got {listed(classes)}"
            )
            raise ArgumentError(message)
        known = classes if reset else self.classes_
        unknown = found[~np.isin(found, known)]
        if unknown.size:
            message = f"y must hold only {listed(known)}, got {unknown.tolist()[0]!r}"
            raise ArgumentError(message)
        if len(known) < 2:
            message = (
                f"y must hold 2 classes or more, got one class: {known.tolist()[0]!r}"
            )
            raise ArgumentError(message)
        self.classes_ = known
        outputs = 1 if len(known) == 2 else len(known)
        return X, np.searchsorted(known, y), outputs

    def _output(self, units: int) -> str:
        return "sigmoid" if units == 1 else "softmax"

    def _score_model(self, model: TrainedNetwork, part: Part) -> float:
        accuracy: float = model.network.accuracy(*map(model.to_device, part))
        return accuracy


class MLPRegressor(base.MultiOutputMixin, base.RegressorMixin, MLP):  # type: ignore[misc] # no types
    """Predict quantities by a network of dense layers, as scikit-learn's regressors do.

    It descends ``mean_i(1/2 sum_k (p_ik - y_ik)**2) + alpha / (2 m) sum(W**2)`` over
    mini-batches of m examples; the last layer is linear. Targets far from 0 or of
    other sizes than 1 are learned slowly: scale them, as with scikit-learn's
    TransformedTargetRegressor.

    Args and attributes are those of `gdopt.MLPClassifier`, classes aside. With
    ``early_stopping`` each epoch is judged by R^2 of what was kept.

    Other libraries: as with `gdopt.MLPClassifier`. Of several outputs, scikit-learn's
    MLPRegressor reports the loss divided by their number, and descends the same
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
        outputs = self._call_network("predict", X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[Any, Any, int]:
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

    def _score_model(self, model: TrainedNetwork, part: Part) -> float:
        X, targets = part
        return float(metrics.r2_score(targets, model.call("predict", X)))
