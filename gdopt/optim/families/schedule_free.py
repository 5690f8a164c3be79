"""Averages in place of a schedule of rates: for runs of any length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import MASTER, SharedOptions
from gdopt.optim.rule import built_in

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]


def interpolated(optimizer: Optimizer, scalar: str) -> dict[str, Array]:
    """Return x = (y - (1 - beta) z) / beta, with the beta of the last step."""
    hyper, found = optimizer.hyper, {}
    values = hyper.at(max(0, optimizer.t - 1))
    for name, own in optimizer.state.items():
        if scalar in hyper.elements:
            beta = hyper.elements[scalar][name]
        else:
            beta = values.shared.get(scalar) or values.by_name[scalar][name]
        p = optimizer.params[name]
        if np.ndim(beta) > p.ndim:  # for each part of complex numbers
            beta = beta[..., 0]
        y = own.get(MASTER, p)
        found[name] = ((y - (1 - beta) * own["z"]) / beta).astype(p.dtype)
    return found


class ScheduleFreeSGD(Optimizer):
    """Gradient descent, evaluated at the average of its iterates.

    The parameters hold y, where gradients are taken; z is the iterate and x the
    average, with l the largest lr so far and c = l^2 / (the sum of all l^2):
    z <- z - lr (g + weight_decay y), x <- (1 - c) x + c z,
    y <- beta x + (1 - beta) z. `averaged` shows x, which has the lower loss.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf): constant, or with a warm-up, but not decayed.
        beta: share of x in y, a number in (0, 1).
        weight_decay: in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: Defazio et al. 2024 (arXiv 2405.15682), with the authors' code, from which
    the weights of the average are, and ``optax.contrib.schedule_free_sgd``. torch and
    Keras do not have it.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> opt = ScheduleFreeSGD(p, 0.25)
    >>> for _ in range(2):  # z is 0.5, 0.25; x their mean
    ...     _ = opt.step(2 * p)
    >>> with opt.averaged():
    ...     p.round(6)
    array([0.375])
    >>> p.round(6)
    array([0.3625])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1.0,
        *,
        beta: Any = 0.9,
        weight_decay: Any = 0.0,
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta": beta, "weight_decay": weight_decay}
        super().__init__(params, schedule_free_sgd, **scalars, **options)

    def averages(self) -> Mapping[str, Array]:
        """The averages x by name."""
        return interpolated(self, "beta")


def advance(p, z, weights, largest, u, *, lr, beta):
    """Defazio et al. 2024, equations 1 to 3, for a direction u."""
    largest = np.maximum(largest, lr)
    weights = weights + largest * largest
    c = np.where(weights > 0, largest * largest / weights, 0.0)
    p = (1 - c) * p + c * z + lr * (beta * (1 - c) - 1) * u
    return p, z - lr * u, weights, largest


STATE: dict[str, Any] = {"start": {"z": "p"}}
STATE["per"] = {"weights": "array", "largest": "array"}


@built_in(ScheduleFreeSGD, **STATE, beta="(0, 1)")
def schedule_free_sgd(p, z, weights, largest, g, *, lr, beta, weight_decay):
    """Defazio et al. 2024, section 2."""
    u = g + weight_decay * p
    return advance(p, z, weights, largest, u, lr=lr, beta=beta)


class ScheduleFreeAdamW(Optimizer):
    """Adam without momentum, evaluated at the average of its iterates.

    As `ScheduleFreeSGD`, with v <- beta2 v + (1 - beta2) g^2 and the direction
    g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y in place of
    g + weight_decay y.

    Args:
        params: see `Optimizer`.
        lr: learning rate, in [0, inf): constant, or with a warm-up, but not decayed.
        beta1: share of x in y, a number in (0, 1).
        beta2: share of the mean square that is kept, in [0, 1).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        weight_decay: in [0, inf).
        **options: those of every optimizer; see `Optimizer`.

    Source: Defazio et al. 2024 (arXiv 2405.15682), algorithm 1, with the rate of
    ``optax.contrib.schedule_free_adamw``; torch and Keras do not have it.

    >>> import numpy as np
    >>> p = np.array([1.0])
    >>> opt = ScheduleFreeAdamW(p, 0.1)
    >>> opt.step(np.array([5.0]))
    True
    >>> with opt.averaged():
    ...     p.round(6)
    array([0.9])
    """

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 2.5e-3,
        *,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        **options: Unpack[SharedOptions],
    ) -> None:
        scalars = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        scalars["weight_decay"] = weight_decay
        super().__init__(params, schedule_free_adamw, **scalars, **options)

    def averages(self) -> Mapping[str, Array]:
        """The averages x by name."""
        return interpolated(self, "beta1")


@built_in(ScheduleFreeAdamW, **STATE, beta1="(0, 1)")
def schedule_free_adamw(
    p, z, v, weights, largest, g, *, lr, beta1, beta2, eps, weight_decay, t
):
    """Defazio et al. 2024, algorithm 1."""
    v = beta2 * v + (1 - beta2) * np.abs(g) ** 2
    u = g / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
    p, z, weights, largest = advance(p, z, weights, largest, u, lr=lr, beta=beta1)
    return p, z, v, weights, largest
