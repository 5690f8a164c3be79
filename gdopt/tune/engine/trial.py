"""A trial under way, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.checks import as_number, whole
from gdopt.errors import GdoptError

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Pruned(GdoptError):  # noqa: N818 - no error: Optuna says TrialPruned
    """A trial is not worth going on with; let it pass, and the next one begins."""


class Trial(Mapping[str, Any]):
    """The hyper-parameters of one trial by name, and where it reports to.

    ``trial["learning_rate"]`` reads one, ``dict(trial)`` all of them. `gdopt.tune.tune`
    makes it.

    Attributes:
        number: of the trial, from 0.

    >>> trial = Trial(0, {"learning_rate": 0.1})
    >>> trial["learning_rate"], trial.get("beta", 0.9)
    (0.1, 0.9)
    """

    def __init__(
        self,
        number: int,
        values: Mapping[str, Any],
        told: Callable[[float, int], bool] | None = None,
    ) -> None:
        self.number = number
        self._values = dict(values)
        self._told = told  # tells whether the trial is not worth going on with

    def report(self, score: float, *, step: int) -> None:
        """Tell how the trial stands; where pruning is on, that may end it.

        Args:
            score: of the kind that the objective returns.
            step: whole number of at least 0 that rises: the epoch, say.

        Raises:
            Pruned: the trial does worse than the median of those before it.
            ArgumentTypeError: the score is no number, or the step is none.
        """
        score = as_number("score", score)
        step = whole("step", step, least=0)
        if self._told is not None and self._told(score, step):
            message = f"trial {self.number} is worse than the median at step {step}"
            raise Pruned(message)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.items())
        return f"Trial({self.number}: {settings})"


@dataclass(frozen=True)
class Verdict:
    """How a trial ended.

    Attributes:
        state: `COMPLETE`, `PRUNED` or `FAILED`.
        score: what the objective returned, of a complete trial.
        error: what was raised, of a failed one.
        seconds: that it took.
    """

    state: str
    score: float | None = None
    error: str | None = None
    seconds: float = 0.0


def evaluate(objective: Callable[[Trial], float], trial: Trial) -> Verdict:
    """Run the objective on a trial; its errors are the trial's end, and no more."""
    begin = time.perf_counter()

    def verdict(state: str, **found: Any) -> Verdict:
        return Verdict(state, seconds=time.perf_counter() - begin, **found)

    try:
        score = as_number("the objective's score", objective(trial))
    except Pruned:
        return verdict(PRUNED)
    except Exception as error:  # noqa: BLE001 - whatever it is, the search goes on
        return verdict(FAILED, error=f"{type(error).__name__}: {error}")
    if not math.isfinite(score):
        return verdict(FAILED, error=f"the objective's score is {score}")
    return verdict(COMPLETE, score=score)
