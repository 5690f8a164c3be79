"""A trial: its hyper-parameters, its reports, and how it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.checks import as_number, whole
from gdopt.errors import GdoptError

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Pruned(GdoptError):  # noqa: N818 - not an error: Optuna says TrialPruned
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
        should_prune: Callable[[float, int], bool] | None = None,
    ) -> None:
        self.number = number
        self._values = dict(values)
        self._should_prune = should_prune  # takes each report

    def report(self, score: float, *, step: int) -> None:
        """Report how the trial stands; where pruning is on, that may end it.

        Args:
            score: of the kind that the objective returns.
            step: whole number of at least 0 that rises: the epoch, say.

        Raises:
            Pruned: the trial does worse than the median of those before it.
            ArgumentTypeError: the score is not a number, or the step not a whole one.
        """
        score = as_number("score", score)
        step = whole("step", step, least=0)
        if self._should_prune is not None and self._should_prune(score, step):
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
class Outcome:
    """A trial that has ended.

    Attributes:
        number: of the trial, from 0.
        values: its hyper-parameters by name.
        state: ``"complete"``, ``"pruned"`` or ``"failed"``.
        score: what the objective returned; None unless complete.
        reports: scores that it reported on the way, by step.
        error: of a failed trial, what was raised.
        seconds: that it took.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    score: float | None = None
    reports: Mapping[int, float] | None = None
    error: str | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {**vars(self), "values": dict(self.values)}


def evaluate(objective: Callable[[Trial], float], trial: Trial) -> Outcome:
    """Run the objective on a trial; an error of its own ends the trial only."""
    begin = time.perf_counter()

    def outcome(state: str, **found: Any) -> Outcome:
        seconds = time.perf_counter() - begin
        return Outcome(trial.number, dict(trial), state, seconds=seconds, **found)

    try:
        score = as_number("the objective's score", objective(trial))
    except Pruned:
        return outcome(PRUNED)
    except Exception as error:  # noqa: BLE001 - whatever it is, the search goes on
        return outcome(FAILED, error=f"{type(error).__name__}: {error}")
    if not math.isfinite(score):
        return outcome(FAILED, error=f"the objective's score is {score}")
    return outcome(COMPLETE, score=score)
