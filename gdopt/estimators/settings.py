"""An estimator's parameters, checked where they are used, as in scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np

from gdopt.arrays.backend import NAMES
from gdopt.checks import (
    Range,
    check_choice,
    check_count,
    check_each,
    check_flag,
    check_not_negative,
    check_number,
    check_positive,
    field_checks,
)
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.imports import load_extra
from gdopt.optim import OPTIMIZERS, Optimizer

EXTRA, PURPOSE = "train", "an estimator"
base = load_extra("sklearn.base", EXTRA, PURPOSE)
exceptions = load_extra("sklearn.exceptions", EXTRA, PURPOSE)
metrics = load_extra("sklearn.metrics", EXTRA, PURPOSE)
multiclass = load_extra("sklearn.utils.multiclass", EXTRA, PURPOSE)
utils = load_extra("sklearn.utils", EXTRA, PURPOSE)
validation = load_extra("sklearn.utils.validation", EXTRA, PURPOSE)


def check_data(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:
    """Take data as scikit-learn does: arrays, lists, data frames; finite numbers.

    float32 stays what it is, and everything else becomes float64.

    Args:
        estimator: remembers the number and the names of its features, unless
            ``reset=False`` says that it is to compare them.
        X: examples as rows.
        y: targets; left out if there are none.
        **options: of ``sklearn.utils.check_array`` and ``check_X_y``.

    Returns:
        X, or X and y where there are targets.

    Raises:
        ValueError: they are not what scikit-learn takes for data.
        TypeError: X is sparse.
    """
    options = {"dtype": (np.float64, np.float32), **options}
    if hasattr(validation, "validate_data"):  # scikit-learn 1.6 and later
        return validation.validate_data(estimator, X, y, **options)
    return estimator._validate_data(X, y, **options)  # noqa: SLF001 - the way before


def warn_not_converged(epochs: int) -> None:
    """Warn, as scikit-learn does, that training has ended before it converged."""
    message = (
        f"Maximum iterations ({epochs}) reached and the optimization hasn't converged "
        "yet: raise max_iter, or tol"
    )
    warnings.warn(message, exceptions.ConvergenceWarning, stacklevel=4)


SHARE = partial(check_number, bounds=Range.parse("(0, 1)"))
ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid"}
AUTO = 200  # scikit-learn's batch_size="auto" is this, or all examples where fewer


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return (check_count(name, value),)
    return check_each(check_count, name, value)


def _one_of(choices: dict[str, str]) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        check_choice(name, value, choices)
        return choices[value]

    return check


def _optimizer(name: str, value: Any) -> Callable[..., Optimizer]:
    if callable(value):
        chosen: Callable[..., Optimizer] = value
        return chosen
    if not isinstance(value, str):
        message = f"{name} must be a name or a class, got {type(value).__name__}"
        raise ArgumentTypeError(message)
    check_choice(name, value, OPTIMIZERS)
    return OPTIMIZERS[value]


def _rate(name: str, value: Any) -> Any:
    return value if callable(value) else check_positive(name, value)


def _batch_size(name: str, value: Any) -> int | None:
    if isinstance(value, str) and value == "auto":
        return None
    return check_count(name, value)


@dataclass(frozen=True)
class Settings:
    """The parameters of an estimator, in gdopt's words.

    Attributes:
        hidden_layer_sizes: units of the hidden layers.
        activation: a key of `gdopt.nn.formulas.ACTIVATIONS`.
        optimizer: called with parameters and ``lr=``.
        learning_rate_init: number or schedule.
        alpha: the course's lambda.
        batch_size: None for scikit-learn's ``"auto"``.
        max_iter: epochs.
        early_stopping: whether a part of the examples is kept to judge by.
        validation_fraction: size of that part.
        n_iter_no_change: epochs without gain before training ends.
        tol: gain below which an epoch counts as none.
        warm_start: whether `fit` continues from the current weights.
        backend: its name.
    """

    hidden_layer_sizes: Annotated[tuple[int, ...], _sizes]
    activation: Annotated[str, _one_of(ACTIVATIONS)]
    optimizer: Annotated[Callable[..., Optimizer], _optimizer]
    learning_rate_init: Annotated[Any, _rate]
    alpha: Annotated[float, check_not_negative]
    batch_size: Annotated[int | None, _batch_size]
    max_iter: Annotated[int, check_count]
    early_stopping: Annotated[bool, check_flag]
    validation_fraction: Annotated[float, SHARE]
    n_iter_no_change: Annotated[int, check_count]
    tol: Annotated[float, check_not_negative]
    warm_start: Annotated[bool, check_flag]
    backend: Annotated[str, _one_of({name: name for name in NAMES})]

    @classmethod
    def of(cls, estimator: Any) -> Settings:
        """Check the parameters of an estimator.

        Raises:
            ArgumentError: one is out of its range, or none of the names there are.
            ArgumentTypeError: one is of the wrong kind.
        """
        checks = field_checks(cls)
        return cls(
            **{n: check(n, getattr(estimator, n)) for n, check in checks.items()}
        )

    def size_of_batch(self, examples: int) -> int:
        """Return the size of a mini-batch, out of `examples` to train on.

        Raises:
            ArgumentError: there are fewer than were asked for.
        """
        if self.batch_size is None:
            return min(AUTO, examples)
        if self.batch_size > examples:
            message = (
                "batch_size must be 'auto' or at most the number of examples to train "
                f"on, {examples}, got {self.batch_size}"
            )
            raise ArgumentError(message)
        return self.batch_size
