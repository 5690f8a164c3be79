"""The loss of regression, with its gradient."""

from __future__ import annotations

from gdopt.arrays import Array
from gdopt.arrays.backend import common_backend
from gdopt.errors import ArgumentError
from gdopt.nn.checks import check_finite, check_like


def squared_error(
    predictions: Array, targets: Array, *, validate: bool = True
) -> tuple[Array, Array]:
    """Return half the squared error: ``mean_i(1/2 sum_k (p_ik - t_ik)**2)``.

    Its gradient is ``(p - t) / m``: what the half is for.

    Args:
        predictions: p (m, outputs) or (m,), floating; m at least 1.
        targets: t, of the shape, dtype and device of p; nothing is broadcast.
        validate: whether to refuse targets that are not finite, for which a GPU has to
            wait.

    Returns:
        The loss, a 0-d array of the backend (a NumPy scalar on the CPU), and its
        gradient, a new array of the shape of p.

    Raises:
        ArgumentError: the shapes differ, there is no example or no output, or a target
            is NaN or infinite.
        ArgumentTypeError: the dtypes differ.
        BackendError: the arrays are on two devices.

    Other libraries: torch's MSELoss and Keras's MeanSquaredError take no half, and the
    mean over the outputs too: ``2 / outputs`` times this loss and this gradient.
    scikit-learn's MLPRegressor descends this gradient, and tells a loss that is divided
    by the number of outputs.

    >>> import numpy as np
    >>> loss, gradient = squared_error(np.array([[3.0, 0.0]]), np.array([[1.0, 1.0]]))
    >>> float(loss)  # (4 + 1) / 2
    2.5
    >>> gradient
    array([[ 2., -1.]])
    """
    xp = common_backend((("predictions", predictions), ("targets", targets))).xp
    if predictions.ndim not in (1, 2) or predictions.size == 0:
        message = (
            "predictions must have shape (m, outputs) or (m,), not empty, "
            f"got {predictions.shape}"
        )
        raise ArgumentError(message)
    check_like("targets", targets, predictions)
    if validate:
        check_finite(targets.reshape(len(targets), -1), "targets")
    gradient = predictions - targets
    examples = len(predictions)
    loss = xp.sum(xp.square(gradient)) / (2 * examples)
    gradient /= examples
    return loss, gradient
