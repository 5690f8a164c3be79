"""What the classifier and the regressor share: parameters, training, attributes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gdopt.data import Split, split
from gdopt.errors import ArgumentError
from gdopt.estimators.settings import (
    Settings,
    base,
    check_data,
    utils,
    validation,
    warn_not_converged,
)
from gdopt.estimators.training import Part, TrainedNetwork, train

SEEDS = np.iinfo(np.int32).max  # below which a RandomState draws seeds on every system


class MLP(base.BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A multilayer perceptron with scikit-learn's conventions; see its two kinds."""

    classes_: np.ndarray
    loss_curve_: list[float]
    _model: TrainedNetwork
    _random: Any

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        activation: str = "relu",
        optimizer: Any = "adam",
        learning_rate_init: Any = 0.001,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        random_state: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        backend: str = "numpy",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.backend = backend

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer, (n_in, n_out)."""
        return self._fitted().arrays("W")

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer, (n_out,)."""
        return self._fitted().arrays("b")

    def fit(self, X: Any, y: Any) -> Self:
        """Train until epochs no longer improve, or for `max_iter` epochs.

        Args:
            X: (n, features), examples as rows, finite; float32 is trained on as it is,
                all else as float64.
            y: the targets.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: a parameter is out of its range, or does not fit the data.
            ArgumentTypeError: a parameter is of the wrong kind.
            ValueError: the data are not what scikit-learn takes for data.
            DivergenceError: the loss is no longer finite.
        """
        settings = Settings.of(self)
        fresh = not (settings.warm_start and hasattr(self, "_model"))
        return self._train(settings, X, y, fresh=fresh, epochs=None)

    def _fit_part(self, X: Any, y: Any, **options: Any) -> Self:
        """Train for one epoch on these examples, from the weights there are."""
        settings = Settings.of(self)
        if settings.early_stopping:
            message = "early_stopping must be False for partial_fit, got True"
            raise ArgumentError(message)
        fresh = not hasattr(self, "_model")
        return self._train(settings, X, y, fresh=fresh, epochs=1, **options)

    def _train(
        self,
        settings: Settings,
        X: Any,
        y: Any,
        *,
        fresh: bool,
        epochs: int | None,
        **options: Any,
    ) -> Self:
        """Train the model, or a new one; `epochs` of None are those of `fit`."""
        X, targets, outputs = self._check_training_data(X, y, reset=fresh, **options)
        if not fresh:
            self._refuse_other_sizes(settings)
        given = self.random_state if fresh else self._random
        random = utils.check_random_state(given)
        weights_seed, order_seed, split_seed = map(int, random.randint(SEEDS, size=3))
        if fresh:
            model = self._make(settings, X, outputs, seed=weights_seed)
        else:
            model = self._model
        X = X.astype(model.network.dtype, copy=False)
        parts: Split[Any] = Split((X, targets), None, None)
        if settings.early_stopping:
            parts = self._divide(settings, X, targets, seed=split_seed)
        size = settings.size_of_batch(len(parts.train[0]))
        if epochs is None and not fresh:
            model.restart()
        history = train(
            model,
            parts,
            settings,
            epochs=settings.max_iter if epochs is None else epochs,
            size=size,
            seed=order_seed,
            judge=self._score_model,
        )
        self._model, self._random = model, random
        self.loss_curve_ = ([] if fresh else self.loss_curve_) + history.losses
        self.loss_ = history.losses[-1]
        self.n_iter_ = len(self.loss_curve_)
        self.validation_scores_ = history.scores if settings.early_stopping else None
        self.best_validation_score_ = max(history.scores, default=None)
        if epochs is None and not history.rested:
            warn_not_converged(settings.max_iter)
        return self

    def _make(
        self, settings: Settings, X: np.ndarray, outputs: int, *, seed: int
    ) -> TrainedNetwork:
        return TrainedNetwork(
            settings.optimizer,
            settings.learning_rate_init,
            sizes=(X.shape[1], *settings.hidden_layer_sizes, outputs),
            activation=settings.activation,
            output=self._output(outputs),
            seed=seed,
            dtype=X.dtype,
            backend=settings.backend,
        )

    def _divide(
        self, settings: Settings, X: np.ndarray, targets: np.ndarray, *, seed: int
    ) -> Split[Any]:
        """Keep a share of the examples to judge by."""
        share = settings.validation_fraction
        return split(
            X,
            targets,
            train=1 - share,
            dev=None,
            test=share,
            seed=seed,
            stratify=targets if base.is_classifier(self) else None,
        )

    def _call_network(self, method: str, X: Any) -> np.ndarray:
        """Return what the network answers, by the name of its method."""
        model = self._fitted()
        X = check_data(self, X, dtype=model.network.dtype, reset=False)
        return model.call(method, X)

    def _fitted(self) -> TrainedNetwork:
        validation.check_is_fitted(self, "n_iter_")
        return self._model

    def _refuse_other_sizes(self, settings: Settings) -> None:
        hidden = self._model.network.sizes[1:-1]
        if hidden != settings.hidden_layer_sizes:
            message = (
                f"hidden_layer_sizes must stay {hidden} if training continues, "
                f"got {settings.hidden_layer_sizes}"
            )
            raise ArgumentError(message)

    # What the two kinds differ in.

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[Any, Any, int]:
        raise NotImplementedError

    def _output(self, units: int) -> str:
        raise NotImplementedError

    def _score_model(self, model: TrainedNetwork, part: Part) -> float:
        raise NotImplementedError
