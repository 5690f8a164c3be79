"""All that is taken from scikit-learn, whichever of its versions is installed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gdopt.extras import load_extra

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
        y: targets; left out where there are none to be had.
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


def warn_of_no_rest(epochs: int) -> None:
    """Warn, as scikit-learn does, that training has ended before it came to rest."""
    message = (
        f"training did not come to rest, by tol and n_iter_no_change, in the "
        f"max_iter={epochs} epochs it had"
    )
    warnings.warn(message, exceptions.ConvergenceWarning, stacklevel=4)
