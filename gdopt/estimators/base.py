"""What the classifier and the regressor share: parameters, training, attributes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass
from types import SimpleNamespace
from typing import Annotated, Any, Self

import numpy as np

from gdopt.checks import check_count, check_flag, check_not_negative, check_positive
from gdopt.errors import ArgumentError, GdoptError
from gdopt.estimators.settings import (
    ACTIVATION,
    BACKEND,
    KEPT,
    RATES,
    SHARE,
    base,
    check_batch_size,
    check_data,
    check_hidden,
    check_patience,
    check_rate,
    check_solver,
    check_verbose,
    check_weights,
    class_weight,
    exceptions,
    model_selection,
    settings_of,
    size_of_batch,
    utils,
    validation,
)
from gdopt.estimators.training import EpochJudge, Part, TrainedNetwork, train

OUTPUTS = {"softmax": "softmax", "sigmoid": "logistic", "linear": "identity"}


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[ExitStack]:
    """Undo changes of an estimator, and what is registered, after an error; name it."""
    before, undo = dict(vars(estimator)), ExitStack()
    try:
        yield undo
    except BaseException as error:
        undo.close()
        vars(estimator).clear()
        vars(estimator).update(before)
        if isinstance(error, GdoptError):
            error.args = (f"{type(estimator).__name__}: {error}", *error.args[1:])
        raise


def has_partial_fit(estimator: Any) -> bool:
    """Return whether there are epochs; scikit-learn hides the method where not."""
    return not isinstance(estimator.solver, str) or estimator.solver != "lbfgs"


@dataclass(repr=False, eq=False)
class MLP(base.BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A multilayer perceptron with scikit-learn's conventions; see its two kinds."""

    hidden_layer_sizes: Annotated[Any, check_hidden] = (100,)
    _: KW_ONLY
    activation: Annotated[str, ACTIVATION] = "relu"
    solver: Annotated[Any, check_solver] = "adam"
    alpha: Annotated[float, check_not_negative] = 0.0001
    batch_size: Annotated[int | str, check_batch_size] = "auto"
    learning_rate: Annotated[str, RATES] = "constant"
    learning_rate_init: Annotated[Any, check_rate] = 0.001
    power_t: Annotated[float, check_not_negative] = 0.5
    max_iter: Annotated[int, check_count] = 200
    shuffle: Annotated[bool, check_flag] = True
    random_state: Any = None
    tol: Annotated[float, check_not_negative] = 1e-4
    verbose: Annotated[bool | int, check_verbose] = False
    warm_start: Annotated[bool, check_flag] = False
    momentum: Annotated[float, KEPT] = 0.9
    nesterovs_momentum: Annotated[bool, check_flag] = True
    early_stopping: Annotated[bool, check_flag] = False
    validation_fraction: Annotated[float, SHARE] = 0.1
    beta_1: Annotated[float, KEPT] = 0.9
    beta_2: Annotated[float, KEPT] = 0.999
    epsilon: Annotated[float, check_positive] = 1e-8
    n_iter_no_change: Annotated[float, check_patience] = 10
    max_fun: Annotated[int, check_count] = 15000
    backend: Annotated[str, BACKEND] = "numpy"

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer, (n_in, n_out)."""
        return self._fitted().arrays("W")

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer, (n_out,)."""
        return self._fitted().arrays("b")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train until epochs no longer improve, or for `max_iter` epochs.

        If it fails, the estimator stays as it was.

        Args:
            X: (n, features), examples as rows, finite; float32 is trained on as it is,
                all else as float64.
            y: the targets.
            sample_weight: (n,), at least 0: shares of the examples in the mean loss of
                a batch, and in the score of what early stopping keeps. An example of
                weight 0 is left out.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: a parameter is out of its range, or does not fit the data, or
                the data are not what scikit-learn takes for data.
            ArgumentTypeError: a parameter is of the wrong kind.
            DivergenceError: the loss is no longer finite.
        """
        return self._train(X, y, sample_weight)

    def _train(
        self, X: Any, y: Any, given: Any, *, part: bool = False, **options: Any
    ) -> Self:
        """Train a new model, or a copy of the one there is; keep it at the end."""
        with unchanged_on_error(self) as undo:
            settings = settings_of(self)
            if part and settings.early_stopping:
                raise ArgumentError("partial_fit does not support early_stopping=True")
            fresh = not (hasattr(self, "_model") and (part or settings.warm_start))
            how = {"reset": fresh, "part": part, **options}
            X, targets, outputs = self._check_training_data(X, y, **how)
            weights = self._weights(settings, X, targets, given, part=part)
            random = self.random_state if fresh else self._random
            random = utils.check_random_state(random)
            undo.callback(random.set_state, random.get_state())
            if fresh:
                model = self._draw(settings, X, outputs, random)
            else:
                model = self._continued(settings, part=part)
            dtype = model.network.dtype
            data: Part = X.astype(dtype, copy=False), targets
            if weights is not None:
                data = tuple(a[weights > 0] for a in (*data, weights.astype(dtype)))
            kept = None
            if settings.early_stopping and model.optimizer is not None:
                data, kept = self._divide(settings, data, random)
            judge = EpochJudge(model, settings, kept, self._score)
            judge.size = judge.count = len(data[0])
            if model.optimizer is not None:
                judge.size = size_of_batch(settings, judge.count, tell=not part)
            judge.seen = 0 if fresh else self.t_
            epochs = 1 if part else settings.max_iter
            train(data, judge, epochs=epochs, random=random)
            self._model: TrainedNetwork = model
            self._random: Any = random
            self._describe(judge, fresh=fresh)
        if judge.unrested and not part:
            kind = exceptions.ConvergenceWarning
            warnings.warn(judge.unrested, kind, stacklevel=3)  # where `fit` was called
        return self

    def _draw(
        self, settings: SimpleNamespace, X: np.ndarray, outputs: int, random: Any
    ) -> TrainedNetwork:
        sizes = (X.shape[1], *settings.hidden_layer_sizes, outputs)
        output = self._output(outputs)
        model = TrainedNetwork(settings, sizes=sizes, output=output, dtype=X.dtype)
        model.draw(random)
        return model

    def _continued(self, settings: SimpleNamespace, *, part: bool) -> TrainedNetwork:
        """Return a model with the parameters there are, and its optimizer or a new."""
        hidden = self._model.network.sizes[1:-1]
        if hidden != settings.hidden_layer_sizes:
            raise ArgumentError(
                f"hidden_layer_sizes must stay {hidden} if training continues, "
                f"got {settings.hidden_layer_sizes}"
            )
        if part and self._model.optimizer is not None:
            return copy.deepcopy(self._model)
        return self._model.continued(settings)

    def _weights(
        self, settings: SimpleNamespace, X: Any, targets: Any, given: Any, *, part: bool
    ) -> np.ndarray | None:
        """Return the weights of the examples; None if they are equal."""
        by_class = getattr(settings, "class_weight", None)
        if by_class is None:
            return None if given is None else check_weights(given, X)
        if part and by_class == "balanced":
            raise ArgumentError(
                "class_weight must hold weights for partial_fit, which sees a part of "
                "the examples, got 'balanced'"
            )
        y = self.classes_[targets]
        factors = class_weight.compute_sample_weight(by_class, y)
        return check_weights(check_weights(given, X) * factors, X)

    def _divide(
        self, settings: SimpleNamespace, data: Part, random: Any
    ) -> tuple[Part, Part]:
        """Keep a share of the examples to judge by."""
        classes = self.classes_[data[1]] if base.is_classifier(self) else None
        how = {"test_size": settings.validation_fraction, "random_state": random}
        try:
            parts = model_selection.train_test_split(*data, stratify=classes, **how)
        except ValueError as error:
            message = f"early_stopping needs examples to keep: {error}"
            raise ArgumentError(message) from error
        train, kept = tuple(parts[::2]), tuple(parts[1::2])
        if len(kept[0]) < 2:
            raise ArgumentError(
                "The validation set is too small. Increase 'validation_fraction' or "
                "the size of your dataset."
            )
        return train, kept

    def _describe(self, judge: EpochJudge, *, fresh: bool) -> None:
        judged, sizes = judge.kept is not None, judge.model.network.sizes
        before = [] if fresh else self.loss_curve_
        self.loss_curve_: list[float] = before + judge.losses
        self.t_: int = judge.seen
        self.loss_, self.n_iter_ = judge.loss, len(judge.losses)
        self.best_loss_ = None if judged else min(self.loss_curve_, default=self.loss_)
        self.validation_scores_ = judge.scores if judged else None
        self.best_validation_score_ = max(judge.scores, default=None)
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]
        self.out_activation_ = OUTPUTS[judge.model.network.output]

    def _call_network(self, method: str, X: Any) -> np.ndarray:
        model = self._fitted()
        X = check_data(self, X, dtype=model.network.dtype, reset=False)
        return model.call(method, X)

    def _fitted(self) -> TrainedNetwork:
        validation.check_is_fitted(self, "n_iter_")
        return self._model

    # What the two kinds differ in.

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, part: bool
    ) -> tuple[Any, Any, int]:
        raise NotImplementedError

    def _output(self, units: int) -> str:
        raise NotImplementedError

    def _score(self, model: TrainedNetwork, kept: Part) -> float:
        raise NotImplementedError
