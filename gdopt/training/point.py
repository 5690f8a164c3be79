"""Where a deterministic run is: what its methods return for each update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The user's function at the parameters as they are: its value, a number or a 0-d array,
# and the gradients in any form that an optimizer takes.
Evaluate = Callable[[], tuple[Any, Any]]


@dataclass(frozen=True)
class Point:
    """The parameters after an update, in numbers.

    The gradient under bounds is the projected one, ``x - clip(x - g, lower, upper)``.
    """

    value: float
    grad_norm: float  # largest magnitude of an element of the gradient
    change: float = 0.0  # largest magnitude of the change of a parameter
    stalled: str | None = None  # why no progress is possible, as a sentence
