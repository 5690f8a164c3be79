"""What the classifier and the regressor share: parameters, training, attributes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from types import SimpleNamespace
from typing import Annotated, Any, Self

import numpy as np

from gdopt.checks import check_count, check_flag, check_not_negative, check_positive
from gdopt.errors import ArgumentError, GdoptError
from gdopt.estimators.settings import (
    ACTIVATIONS,
    AUTO,
    BACKEND,
    KEPT,
    SHARE,
    base,
    check_batch_size,
    check_data,
    check_hidden,
    check_name,
    check_patience,
    check_rate,
    check_solver,
    check_verbose,
    check_weights,
    model_selection,
    settings_of,
    utils,
    validation,
    warn_not_converged,
)
from gdopt.estimators.training import EpochJudge, Model, Part, train

ACTIVATION = check_name(*ACTIVATIONS)
OUTPUTS = {"softmax": "softmax", "sigmoid": "logistic", "linear": "identity"}
RATES = check_name("constant", "invscaling", "adaptive")


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Restore the attributes of an estimator after an error, which then names it."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException as error:
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
            ArgumentError: a parameter is out of its range, or does not fit the data.
            ArgumentTypeError: a parameter is of the wrong kind.
            ValueError: the data are not what scikit-learn takes for data.
            DivergenceError: the loss is no longer finite.
        """
        with unchanged_on_error(self):
            settings = settings_of(self)
            fresh = not (settings.warm_start and hasattr(self, "_model"))
            return self._train(settings, X, y, sample_weight, fresh=fresh)

    def _fit_part(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> Self:
        """Train for one epoch on these examples, from the weights there are."""
        with unchanged_on_error(self):
            settings = settings_of(self)
            if settings.early_stopping:
                message = "partial_fit does not support early_stopping=True"
                raise ArgumentError(message)
            options |= {"fresh": not hasattr(self, "_model"), "part": True}
            return self._train(settings, X, y, sample_weight, **options)

    def _train(
        self,
        settings: SimpleNamespace,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        fresh: bool,
        part: bool = False,
        **options: Any,
    ) -> Self:
        """Train a new model, or a copy of the one there is; keep it at the end."""
        how = {"reset": fresh, "part": part, **options}
        X, targets, outputs = self._check_training_data(X, y, **how)
        weights = self._weights(settings, X, targets, sample_weight, part=part)
        if not fresh:
            self._refuse_other_sizes(settings)
        random = utils.check_random_state(self.random_state if fresh else self._random)
        state = random.get_state()
        try:
            model = self._make(settings, X, outputs, random, fresh=fresh, part=part)
            data: Part = (X.astype(model.network.dtype, copy=False), targets)
            if weights is not None:
                data = tuple(a[weights > 0] for a in (*data, weights.astype(X.dtype)))
            progress = self._run(model, settings, data, random, fresh=fresh, part=part)
        except BaseException:
            random.set_state(state)
            raise
        self._model, self._random = model, random
        self._describe(progress, fresh=fresh)
        if progress.unrested and not part:
            warn_not_converged(progress.unrested)
        return self

    def _make(
        self,
        settings: SimpleNamespace,
        X: np.ndarray,
        outputs: int,
        random: Any,
        *,
        fresh: bool,
        part: bool,
    ) -> Model:
        """Return a new model, or one that continues from the parameters there are."""
        if fresh:
            sizes = (X.shape[1], *settings.hidden_layer_sizes, outputs)
            output = self._output(outputs)
            model = Model(settings, sizes=sizes, output=output, dtype=X.dtype)
            model.draw(random)
            return model
        if part and self._model.optimizer is not None:
            return copy.deepcopy(self._model)
        return self._model.continued(settings)

    def _run(
        self,
        model: Model,
        settings: SimpleNamespace,
        data: Part,
        random: Any,
        *,
        fresh: bool,
        part: bool,
    ) -> EpochJudge:
        kept, batches = None, model.optimizer is not None
        if settings.early_stopping and batches:
            data, kept = self._divide(settings, data, random)
        count = size = len(data[0])
        if batches:
            size = min(count, AUTO)
            if settings.batch_size != "auto":
                size = min(count, settings.batch_size)
                if size < settings.batch_size and not part:
                    message = (
                        "Got `batch_size` less than 1 or larger than sample size. It "
                        "is going to be clipped"
                    )
                    warnings.warn(message, stacklevel=4)
        seen = 0 if fresh else self.t_
        progress = EpochJudge(model, settings, kept, self._score, count, size, seen)
        train(data, progress, epochs=1 if part else settings.max_iter, random=random)
        return progress

    def _divide(
        self, settings: SimpleNamespace, data: Part, random: Any
    ) -> tuple[Part, Part]:
        """Keep a share of the examples to judge by."""
        classes = None
        if base.is_classifier(self):
            classes = self.classes_[data[1]]
        try:
            parts = model_selection.train_test_split(
                *data,
                test_size=settings.validation_fraction,
                stratify=classes,
                random_state=random,
            )
        except ValueError as error:
            message = f"early_stopping needs examples to keep: {error}"
            raise ArgumentError(message) from error
        kept = tuple(parts[1::2])
        if len(kept[0]) < 2:
            message = (
                "The validation set is too small. Increase 'validation_fraction' or "
                "the size of your dataset."
            )
            raise ArgumentError(message)
        return tuple(parts[::2]), kept

    def _describe(self, progress: EpochJudge, *, fresh: bool) -> None:
        """Set the attributes that tell of training."""
        judged, sizes = progress.kept is not None, progress.model.network.sizes
        self.loss_curve_ = ([] if fresh else self.loss_curve_) + progress.losses
        self.loss_, self.t_ = progress.loss, progress.seen
        self.best_loss_ = None if judged else min(self.loss_curve_, default=self.loss_)
        self.n_iter_ = len(progress.losses)
        self.validation_scores_ = progress.scores if judged else None
        self.best_validation_score_ = max(progress.scores, default=None)
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]
        self.out_activation_ = OUTPUTS[progress.model.network.output]

    def _call_network(self, method: str, X: Any) -> np.ndarray:
        """Return what the network answers, by the name of its method."""
        model = self._fitted()
        X = check_data(self, X, dtype=model.network.dtype, reset=False)
        return model.call(method, X)

    def _fitted(self) -> Model:
        validation.check_is_fitted(self, "n_iter_")
        return self._model

    def _refuse_other_sizes(self, settings: SimpleNamespace) -> None:
        hidden = self._model.network.sizes[1:-1]
        if hidden != settings.hidden_layer_sizes:
            message = (
                f"hidden_layer_sizes must stay {hidden} if training continues, "
                f"got {settings.hidden_layer_sizes}"
            )
            raise ArgumentError(message)

    def _weights(
        self,
        _settings: SimpleNamespace,
        X: np.ndarray,
        _targets: np.ndarray,
        sample_weight: Any,
        *,
        part: bool,  # noqa: ARG002 - the classifier's
    ) -> np.ndarray | None:
        """Return the weights of the examples; None if they are equal."""
        return None if sample_weight is None else check_weights(sample_weight, X)

    # What the two kinds differ in.

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, part: bool
    ) -> tuple[Any, Any, int]:
        raise NotImplementedError

    def _output(self, units: int) -> str:
        raise NotImplementedError

    def _score(self, model: Model, kept: Part) -> float:
        raise NotImplementedError
