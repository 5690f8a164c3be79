"""A classifier and a regressor with scikit-learn's conventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from gdopt.checks import listed
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.estimators.base import MLP, has_partial_fit
from gdopt.estimators.settings import (
    base,
    check_class_weight,
    check_data,
    metaestimators,
    metrics,
    multiclass,
    plain_text,
    refusing,
    validation,
)
from gdopt.estimators.training import Part, TrainedNetwork


@dataclass(repr=False, eq=False, kw_only=True)
class MLPClassifier(base.ClassifierMixin, MLP):  # type: ignore[misc] # no types
    """Classify by a network of dense layers, in scikit-learn's pipelines and searches.

    It descends ``mean_i(cross-entropy_i) + alpha / (2 m) sum(W**2)`` over mini-batches
    of m examples. Two classes have one output, a sigmoid; more have a softmax.

    Args:
        hidden_layer_sizes: units of each hidden layer; a number is one layer.
        activation: between layers, ``"identity"``, ``"logistic"``, ``"tanh"`` or
            ``"relu"``.
        solver: ``"adam"``; ``"sgd"``, gradient descent with momentum; ``"lbfgs"``,
            gdopt's L-BFGS on all examples; or anything that is called as
            ``gdopt.Adam(params, lr=...)``.
        alpha: the course's lambda, at least 0.
        batch_size: examples in a mini-batch, at most n; ``"auto"`` is min(200, n).
        learning_rate: of ``"sgd"``: ``"constant"``; ``"invscaling"``, which divides it
            by ``(1 + examples seen)**power_t`` after each epoch; or ``"adaptive"``,
            which divides it by 5 where training would end, until it is 1e-6.
        learning_rate_init: positive; or a schedule, of the step.
        power_t: of ``"invscaling"``, at least 0.
        max_iter: epochs, or iterations of ``"lbfgs"``, at most.
        shuffle: whether each epoch has an order of its own.
        random_state: seed, RandomState, or None, for weights, batches and what is kept.
        tol: gain below which an epoch counts as none, at least 0; of ``"lbfgs"`` the
            largest magnitude of an element of the gradient at which it has converged.
        verbose: whether to print the loss of each epoch.
        warm_start: whether `fit` continues from the current weights, with a new
            optimizer and the parameters as they are now.
        momentum: of ``"sgd"``, in [0, 1).
        nesterovs_momentum: whether it is Nesterov's.
        early_stopping: whether a share of the examples is kept, by classes, to judge
            each epoch by their accuracy; the weights of the best epoch are restored.
            ``"lbfgs"`` has no epochs, and keeps nothing.
        validation_fraction: that share, in (0, 1).
        beta_1: of ``"adam"``, in [0, 1).
        beta_2: of ``"adam"``, in [0, 1).
        epsilon: of ``"adam"``, positive.
        n_iter_no_change: training ends after more epochs than that in a row without a
            gain, in the mean loss of an epoch or in the accuracy of what was kept; may
            be infinite.
        max_fun: evaluations of the loss by ``"lbfgs"``, at most.
        backend: ``"numpy"``, ``"cupy"``, or ``"auto"``, which is CuPy where a GPU
            answers; X, y and predictions are NumPy arrays in any case.
        class_weight: factors of the sample weights by class; ``"balanced"`` divides by
            the class's share of the examples and by the number of classes.

    Attributes:
        classes_: the classes, sorted.
        coefs_: weights of each layer, (n_in, n_out).
        intercepts_: biases of each layer.
        loss_curve_: mean loss of each epoch since the weights were drawn.
        loss_: the last one.
        best_loss_: the smallest one; None where examples were kept.
        n_iter_: epochs or iterations of the last call; 1 after `partial_fit`.
        t_: examples seen since the weights were drawn.
        validation_scores_: of what was kept, after each epoch; else None.
        best_validation_score_: the highest one; else None.
        n_layers_: layers, with the input.
        n_outputs_: units of the last one.
        out_activation_: its activation.
        n_features_in_: features of X.
        feature_names_in_: their names, where X had some.

    Other libraries: names, defaults, loss and first weights are those of scikit-learn's
    MLPClassifier, and so are the epochs of ``"adam"`` and ``"sgd"``, up to rounding.
    Different are: alpha counts as much in a smaller last batch; validation is by
    classes also where there are more than two; ``"lbfgs"`` searches along other lines;
    a second `partial_fit` continues the random numbers of the first. Whatever is
    refused, diverges or is interrupted raises an error, and leaves the estimator as it
    was. There are no sparse X, no multilabel y, and no y of a single class.

    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array(["same", "other", "other", "same"])
    >>> model = MLPClassifier(16, learning_rate_init=0.05, random_state=0)
    >>> model.fit(X, y).predict(X)
    array(['same', 'other', 'other', 'same'], dtype='<U5')
    """

    class_weight: Annotated[Any, check_class_weight] = None

    @metaestimators.available_if(has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> Self:
        """Train for one epoch on these examples; a last chunk may be smaller.

        Args:
            X: (n, features), as in `fit`.
            y: (n,), classes.
            sample_weight: (n,), as in `fit`.
            classes: all there are, sorted or not; the first call needs them.

        Raises:
            ArgumentError: classes are missing at the first call, or others than before.
            ArgumentTypeError: as in `fit`.
        """
        return self._train(X, y, sample_weight, part=True, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each example, (n,), of the kind of `y`.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ArgumentError: X is not what scikit-learn takes for data.
        """
        numbers = self._call_network("predict", X)
        named: np.ndarray = self.classes_[numbers]
        return named

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return each class's probability, (n, classes), in the order of `classes_`.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ArgumentError: X is not what scikit-learn takes for data.
        """
        probabilities = self._call_network("predict_proba", X)
        if probabilities.ndim == 1:
            probabilities = np.stack([1 - probabilities, probabilities], axis=1)
        return probabilities

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the share of examples, or weights, predicted right."""
        with refusing("y and sample_weight"):
            return float(super().score(X, plain_text(y), sample_weight))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of what `predict_proba` returns."""
        with np.errstate(all="ignore"):
            logarithms: np.ndarray = np.log(self.predict_proba(X))
        return logarithms

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, part: bool, classes: Any = None
    ) -> tuple[Any, Any, int]:
        X, y = check_data(self, X, plain_text(y), reset=reset)
        with refusing("y and classes"):
            multiclass.check_classification_targets(y)
            found = np.unique(y)
            if classes is not None:
                classes = np.unique(plain_text(np.asarray(classes)))
        if classes is None and reset and part:
            message = "classes must be passed on the first call to partial_fit"
            raise ArgumentError(message)
        if classes is None and reset:
            classes = found
        elif classes is None and not part and list(found) != list(self.classes_):
            raise ArgumentError(
                "warm_start can only be used where `y` has the same classes as in the "
                f"previous call to fit. Previously got {self.classes_}, `y` has {found}"
            )
        if not reset and classes is not None and list(classes) != list(self.classes_):
            raise ArgumentError(
                f"classes must be those of the first call, {listed(self.classes_)}, "
                f"got {listed(classes)}"
            )
        known = classes if reset else self.classes_
        unknown = found[~np.isin(found, known)]
        if unknown.size:
            message = f"y must hold only {listed(known)}, got {unknown.tolist()[0]!r}"
            raise ArgumentError(message)
        if len(known) < 2:
            raise ArgumentError(
                f"y must hold 2 classes or more, got one class: {known.tolist()[0]!r}"
            )
        self.classes_: np.ndarray = known
        outputs = 1 if len(known) == 2 else len(known)
        return X, np.searchsorted(known, y), outputs

    def _output(self, units: int) -> str:
        return "sigmoid" if units == 1 else "softmax"

    def _score(self, model: TrainedNetwork, kept: Part) -> float:
        X, labels, *weights = kept
        right = model.call("predict", X) == labels
        return float(np.average(right, weights=weights[0] if weights else None))


class MLPRegressor(base.MultiOutputMixin, base.RegressorMixin, MLP):  # type: ignore[misc] # no types
    """Predict quantities by a network of dense layers, as scikit-learn's regressors do.

    It descends ``mean_i(1/2 sum_k (p_ik - y_ik)**2) + alpha / (2 m) sum(W**2)`` over
    mini-batches of m examples; the last layer is linear. Targets far from 0 or of
    other sizes than 1 are learned slowly: scale them, as with scikit-learn's
    TransformedTargetRegressor.

    Args and attributes are those of `gdopt.MLPClassifier`, classes aside. With
    ``early_stopping`` each epoch is judged by R^2 of what was kept. scikit-learn's
    Poisson loss is not there.

    Other libraries: as with `gdopt.MLPClassifier`. Of several outputs, scikit-learn's
    MLPRegressor reports the loss divided by their number, and descends the same
    gradient.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> model = MLPRegressor(32, learning_rate_init=0.05, random_state=0, max_iter=500)
    >>> model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.98
    True
    """

    @metaestimators.available_if(has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these examples, as in `MLPClassifier`."""
        return self._train(X, y, sample_weight, part=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs: (n,), or (n, outputs) where `y` had as many dimensions.

        Args:
            X: (n, features), as in `fit`.

        Raises:
            ArgumentError: X is not what scikit-learn takes for data.
        """
        outputs = self._call_network("predict", X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, **_: Any
    ) -> tuple[Any, Any, int]:
        X, y = check_data(self, X, y, reset=reset, multi_output=True, y_numeric=True)
        if y.dtype.kind not in "biuf":
            raise ArgumentTypeError(f"y must be numbers, got {y.dtype}")
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

    def _score(self, model: TrainedNetwork, kept: Part) -> float:
        X, targets, *weights = kept
        own = weights[0] if weights else None
        predicted = model.call("predict", X)
        return float(metrics.r2_score(targets, predicted, sample_weight=own))
