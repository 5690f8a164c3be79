"""What a run without data knows at its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Evaluate = Callable[[], tuple[Any, Any]]  # value and gradients at the parameters


@dataclass(frozen=True)
class Point:
    """Value and gradient at the parameters as they are.

    Attributes:
        value: of the function.
        grad_norm: largest magnitude of an element of the gradient; with bounds, of
            ``x - clip(x - gradient, lower, upper)``.
        change: largest change of a parameter in the last update; 0 at the start.
        stalled: a sentence that says why no further progress is possible.
    """

    value: float
    grad_norm: float
    change: float = 0.0
    stalled: str | None = None
