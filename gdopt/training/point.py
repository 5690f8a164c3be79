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

    Attributes:
        value: of the function.
        grad_norm: largest magnitude of an element of the gradient; under bounds, of
            the projected one, ``x - clip(x - g, lower, upper)``.
        change: largest magnitude of the change of a parameter in the update.
        stalled: why no further progress is possible, as a sentence.
    """

    value: float
    grad_norm: float
    change: float = 0.0
    stalled: str | None = None
