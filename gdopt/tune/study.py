"""Trials, their outcomes, and what a search has found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gdopt.checks import (
    Range,
    as_number,
    check_choice,
    check_each,
    check_int,
    check_kind,
    check_mapping,
    check_number,
    has_axes,
    refuse_masked,
)
from gdopt.errors import ArgumentError, GdoptError
from gdopt.tables import aligned
from gdopt.tune.space import Space

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Pruned(GdoptError):  # noqa: N818 - not an error: Optuna says TrialPruned
    """A trial is not worth continuing; do not catch it, and the next one begins."""


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
        self._values = dict(check_mapping("values", values))
        self._should_prune = should_prune  # takes each report

    def report(self, score: float, *, step: int) -> None:
        """Report an intermediate score; with pruning, that may end the trial.

        Args:
            score: of the kind that the objective returns.
            step: whole number of at least 0 that increases, such as the epoch.

        Raises:
            Pruned: the trial does worse than the median of those before it.
            ArgumentTypeError: the score is not a number, or the step not a whole one.
        """
        score = as_score("score", score)
        step = check_int("step", step, least=0)
        if self._should_prune is not None and self._should_prune(score, step):
            raise Pruned(f"trial {self.number} is worse than the median at step {step}")

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


def as_score(name: str, score: Any) -> float:
    """Take a number of any library, also in an array of one element."""
    refuse_masked(name, score)
    if has_axes(score) and math.prod(score.shape) == 1 and hasattr(score, "item"):
        score = score.item()
    return as_number(name, score)


def evaluate(objective: Callable[[Trial], float], trial: Trial) -> Outcome:
    """Run the objective on a trial; an error of its own ends the trial only."""
    begin = time.perf_counter()

    def outcome(state: str, **found: Any) -> Outcome:
        seconds = time.perf_counter() - begin
        return Outcome(trial.number, dict(trial), state, seconds=seconds, **found)

    try:
        score = as_score("the objective's score", objective(trial))
    except Pruned:
        return outcome(PRUNED)
    except Exception as error:  # noqa: BLE001 - whatever it is, the search continues
        return outcome(FAILED, error=f"{type(error).__name__}: {error}")
    if not math.isfinite(score):
        return outcome(FAILED, error=f"the objective's score is {score}")
    return outcome(COMPLETE, score=score)


SHOWN = 5  # trials, in the table that `print` gives
DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Study:
    """The trials of a search, in the order of their numbers.

    ``print(study)`` shows how many there were and the best of them.

    Attributes:
        space: that was searched.
        trials: those that have ended.
        direction: ``"maximize"`` or ``"minimize"``.

    >>> from gdopt.tune import log_uniform
    >>> trials = [Outcome(k, {"lr": 10.0**-k}, "complete", 1 / (1 + k)) for k in (0, 1)]
    >>> print(Study(Space({"lr": log_uniform(0.1, 1)}), trials))
    2 trials: 2 complete, 0 pruned, 0 failed
    trial  score   lr
    0          1    1
    1        0.5  0.1
    """

    space: Space
    trials: Sequence[Outcome]
    direction: str = "maximize"

    def __post_init__(self) -> None:
        check_kind("space", self.space, Space)
        check_each(partial(check_kind, kind=Outcome), "trials", self.trials)
        check_choice("direction", self.direction, DIRECTIONS)

    @property
    def ranked(self) -> list[Outcome]:
        """The complete trials, the best first; of equals, the first run."""
        sign = -1 if self.direction == "maximize" else 1
        scored = [(sign * t.score, t) for t in self.trials if t.score is not None]
        return [trial for _, trial in sorted(scored, key=lambda pair: pair[0])]

    @property
    def best(self) -> Outcome:
        """The best complete trial.

        Raises:
            ArgumentError: there is none.
        """
        ranked = self.ranked
        if ranked:
            return ranked[0]
        message = f"best needs a trial that is complete, got none of {len(self.trials)}"
        if self.failed:
            first = self.failed[0]
            message += f"; trial {first.number} failed with {first.error}"
        raise ArgumentError(message)

    @property
    def failed(self) -> list[Outcome]:
        """The trials that an error has ended."""
        return [trial for trial in self.trials if trial.state == FAILED]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {
            "direction": self.direction,
            "space": {name: repr(scale) for name, scale in self.space.items()},
            "trials": [trial.to_dict() for trial in self.trials],
        }

    def __str__(self) -> str:
        states = [trial.state for trial in self.trials]
        counts = (f"{states.count(s)} {s}" for s in (COMPLETE, PRUNED, FAILED))
        lines = [f"{len(states)} trials: {', '.join(counts)}"]
        if self.failed:
            first = self.failed[0]
            lines.append(f"trial {first.number} failed with {first.error}")
        if ranked := self.ranked[:SHOWN]:
            head = ["trial", "score", *self.space]
            rows = [
                [f"{t.number}", f"{t.score:.4g}", *map(cell, t.values.values())]
                for t in ranked
            ]
            lines += aligned([head, *rows])
        return "\n".join(lines)


def zoom(study: Study, *, share: float = 0.25) -> Space:
    """Return the box around the best trials, to be searched more finely.

    Of each hyper-parameter it spans from the least to the largest value among the best
    trials, on the same scale; of a `choice`, the options among them stay.

    Args:
        study: with 2 complete trials or more.
        share: of all complete and pruned trials, in (0, 1]; of these the complete ones
            are taken, at least 2.

    Raises:
        ArgumentError: the share is out of its range, or there are fewer trials.

    Source: Ng, Improving deep neural networks, week 3, "Tuning process": coarse to
    fine.

    >>> from gdopt.tune import log_uniform
    >>> trials = [
    ...     Outcome(k, {"lr": 10.0**-k}, "complete", -abs(k - 2)) for k in range(8)
    ... ]
    >>> zoom(Study(Space({"lr": log_uniform(1e-8, 1)}), trials), share=0.3)
    Space(lr=log_uniform(low=0.001, high=0.1))
    """
    check_kind("study", study, Study)
    share = check_number("share", share, Range.parse("(0, 1]"))
    ranked = study.ranked
    if len(ranked) < 2:
        message = f"study must hold 2 complete trials or more, got {len(ranked)}"
        raise ArgumentError(message)
    judged = sum(trial.state in (COMPLETE, PRUNED) for trial in study.trials)
    best = ranked[: max(2, math.ceil(share * judged))]
    values = {name: [trial.values[name] for trial in best] for name in study.space}
    return Space({n: scale.narrowed(values[n]) for n, scale in study.space.items()})


def cell(value: Any) -> str:
    """Return a hyper-parameter's value as a table or a picture shows it."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
