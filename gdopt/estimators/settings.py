"""Checks of an estimator's parameters and data, made where they are used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import inf
from types import SimpleNamespace
from typing import Any

import numpy as np

from gdopt.arrays.backend import NAMES
from gdopt.checks import (
    Range,
    check_choice,
    check_count,
    check_each,
    check_int,
    check_number,
    check_positive,
    field_checks,
    refuse_masked,
)
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError
from gdopt.imports import load_extra

EXTRA, PURPOSE = "train", "an estimator"
base = load_extra("sklearn.base", EXTRA, PURPOSE)
exceptions = load_extra("sklearn.exceptions", EXTRA, PURPOSE)
class_weight = load_extra("sklearn.utils.class_weight", EXTRA, PURPOSE)
metaestimators = load_extra("sklearn.utils.metaestimators", EXTRA, PURPOSE)
metrics = load_extra("sklearn.metrics", EXTRA, PURPOSE)
model_selection = load_extra("sklearn.model_selection", EXTRA, PURPOSE)
multiclass = load_extra("sklearn.utils.multiclass", EXTRA, PURPOSE)
utils = load_extra("sklearn.utils", EXTRA, PURPOSE)
validation = load_extra("sklearn.utils.validation", EXTRA, PURPOSE)


@contextmanager
def refusing(names: str) -> Iterator[None]:
    """Raise gdopt's errors where scikit-learn refuses data, in its words."""
    try:
        yield
    except (GdoptError, exceptions.NotFittedError):
        raise
    except (TypeError, ValueError) as error:
        message = f"{names} must be what scikit-learn takes: {error}"
        kind = ArgumentError if isinstance(error, ValueError) else ArgumentTypeError
        raise kind(message) from error


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
        ArgumentError: they are not what scikit-learn takes for data.
        ArgumentTypeError: X is sparse.
    """
    refuse_masked("X", X)
    refuse_masked("y", y)
    options = {"dtype": (np.float64, np.float32), **options}
    with refusing("X" if isinstance(y, str) else "X and y"):
        if hasattr(validation, "validate_data"):  # scikit-learn 1.6 and later
            return validation.validate_data(estimator, X, y, **options)
        return estimator._validate_data(X, y, **options)  # noqa: SLF001 - as before


def plain_text(labels: Any) -> Any:
    """Return NumPy's StringDType, which scikit-learn does not take, as objects."""
    if getattr(getattr(labels, "dtype", None), "kind", "") == "T":
        return labels.astype(object)
    return labels


def check_weights(sample_weight: Any, X: np.ndarray) -> np.ndarray:
    """Return the weights of the examples; by default 1."""
    refuse_masked("sample_weight", sample_weight)
    check = validation._check_sample_weight  # noqa: SLF001 - what its estimators use
    with refusing("sample_weight"):
        weights: np.ndarray = check(sample_weight, X, dtype=X.dtype)
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        rule = "sample_weight must hold no negative number, and one above 0"
        message = f"{rule}, got numbers from {weights.min()} to {weights.max()}"
        raise ArgumentError(message)
    return weights


ACTIVATIONS = {
    "identity": "identity",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
}
AUTO = 200  # scikit-learn's batch_size="auto" is this, or all examples where fewer
Check = Callable[[str, Any], Any]


def one_of(*choices: str) -> Check:
    """Return a check of a name that is one of the choices."""
    return partial(check_choice, choices=choices)


def either(allowed: Callable[[Any], bool], check: Check) -> Check:
    """Return a check that lets pass what is allowed."""
    return lambda name, value: value if allowed(value) else check(name, value)


ACTIVATION, BACKEND = one_of(*ACTIVATIONS), one_of(*NAMES)
RATES = one_of("constant", "invscaling", "adaptive")
SHARE = partial(check_number, bounds=Range.parse("(0, 1)"))
KEPT = partial(check_number, bounds=Range.parse("[0, 1)"))
check_rate = either(callable, check_positive)
check_batch_size = either(lambda v: isinstance(v, str) and v == "auto", check_count)
check_patience = either(lambda v: isinstance(v, float) and v == inf, check_count)
check_verbose = either(lambda v: isinstance(v, bool), partial(check_int, least=0))
check_class_weight = either(
    lambda v: v is None or isinstance(v, Mapping), one_of("balanced")
)


def check_hidden(name: str, value: Any) -> tuple[int, ...]:
    """Return the units of the hidden layers; a number is one layer."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return (check_count(name, value),)
    return check_each(check_count, name, value)


def check_solver(name: str, value: Any) -> Any:
    """Take one of scikit-learn's names, or what makes an optimizer."""
    if callable(value):
        return value
    if not isinstance(value, str):
        message = f"{name} must be a name or a class, got {type(value).__name__}"
        raise ArgumentTypeError(message)
    return check_choice(name, value, ("adam", "sgd", "lbfgs"))


def settings_of(estimator: Any) -> SimpleNamespace:
    """Check the parameters of an estimator, by the annotations of its fields."""
    checks = field_checks(type(estimator))
    found = {n: check(n, getattr(estimator, n)) for n, check in checks.items()}
    settings = SimpleNamespace(**found)
    changes = settings.solver == "sgd" and settings.learning_rate != "constant"
    if changes and callable(settings.learning_rate_init):
        rule = "learning_rate must be 'constant' where learning_rate_init is a schedule"
        raise ArgumentError(f"{rule}, got {settings.learning_rate!r}")
    return settings


def size_of_batch(settings: SimpleNamespace, count: int, *, tell: bool) -> int:
    """Return the size of a mini-batch, out of `count` examples to train on."""
    asked: int = AUTO if settings.batch_size == "auto" else settings.batch_size
    if tell and asked > count and settings.batch_size != "auto":
        message = (
            "Got `batch_size` less than 1 or larger than sample size. It is going to "
            "be clipped"
        )
        warnings.warn(message, stacklevel=4)
    return min(asked, count)
