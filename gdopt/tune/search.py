"""The search: draw, run, keep, prune, and go on where it was broken off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdopt.checks import check_flag, whole
from gdopt.errors import ArgumentTypeError
from gdopt.extras import load_extra
from gdopt.nn.checks import check_choice
from gdopt.tune.engine.crew import Alone, Objective, Processes, Task
from gdopt.tune.engine.journal import opened
from gdopt.tune.engine.kept import STATES, begin, ended, quiet
from gdopt.tune.engine.sampler import EXTRA, PURPOSE, SAMPLERS
from gdopt.tune.engine.trial import COMPLETE, Verdict
from gdopt.tune.space import Space
from gdopt.tune.study import DIRECTIONS, Outcome, Study

Progress = Callable[[Outcome, int, int], None]


def tune(
    objective: Objective,
    space: Space | Mapping[str, Any],
    *,
    trials: int,
    seed: int,
    direction: str = "maximize",
    method: str = "random",
    prune: bool = False,
    storage: str | os.PathLike[str] | None = None,
    name: str = "search",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Study:
    """Try hyper-parameters at random, or led by what was found before, with Optuna.

    The course's advice: draw at random and on a grid never, as nobody knows beforehand
    which hyper-parameter matters; each on its proper scale; from coarse to fine, by
    `zoom`; many models beside each other ("caviar", `jobs`) where there are processors
    enough, or else one that is looked after (`Nurse`).

    What trial k draws depends on the seed and on k alone, and with ``method="tpe"`` on
    the trials before, too. With a `storage`, a search that was broken off, by kill -9
    even, goes on when it is called again: the trial under way is run anew with the same
    values, and all ends as if nothing had happened. More `trials` than before go on
    from there.

    A trial that raises an error counts as failed and the search goes on; `progress`
    and the study tell of it.

    Args:
        objective: takes a `Trial` and gives its score, a finite number.
        space: what to draw from.
        trials: how many there shall be in all, those of earlier calls included.
        seed: whole number, at least 0.
        direction: ``"maximize"`` a score, or ``"minimize"`` a cost.
        method: ``"random"``, or ``"tpe"``, Optuna's tree-structured Parzen estimator.
        prune: whether a trial ends, by `Trial.report`, where its best report so far is
            worse than the median of the complete trials' at that step; the first 5 are
            run to their end.
        storage: file that keeps the search, a journal of Optuna's, which its dashboard
            shows; it must be this search's alone while it runs.
        name: of the search in that file, which may hold several.
        jobs: 1, or the number of processes that run trials beside each other. The
            objective must then pickle, and each process has its share of the cores,
            so that sums in matrix products may be rounded otherwise than alone. With
            ``"tpe"`` and with pruning, what comes of a search then depends on which
            trials happen to end first.
        progress: called after every trial with its `Outcome`, how many have ended and
            how many there shall be.

    Returns:
        The `Study` of all trials that have ended, those of earlier calls included.

    Raises:
        ArgumentError: an argument is out of its range.
        ArgumentTypeError: an argument is of the wrong kind.
        StateError: the file holds another search by that name, another process has it,
            or it is no journal; nothing has changed.
        MissingExtraError: Optuna is not installed.

    Source: Bergstra & Bengio 2012, Random search for hyper-parameter optimization; Ng,
    Improving deep neural networks, week 3, "Tuning process".

    Other libraries: Optuna's own samplers draw from one generator that moves on, and so
    draw the same values again when a search is resumed with the same seed.

    >>> from gdopt.tune import log
    >>> def objective(trial):
    ...     return -abs(trial["lr"] - 0.1)
    >>> study = tune(objective, {"lr": log(1e-4, 1)}, trials=40, seed=0)
    >>> 0.05 < study.best.values["lr"] < 0.2
    True
    """
    if not callable(objective):
        message = f"objective must be a function of a trial, got {objective!r}"
        raise ArgumentTypeError(message)
    space = space if isinstance(space, Space) else Space(space)
    trials, jobs = whole("trials", trials, least=1), whole("jobs", jobs, least=1)
    check_choice("direction", direction, DIRECTIONS)
    check_choice("method", method, SAMPLERS)
    settings = {
        "seed": whole("seed", seed, least=0),
        "method": method,
        "prune": check_flag("prune", prune),
        "direction": direction,
        "space": [[key, repr(scale)] for key, scale in space.items()],
    }
    crew = Alone(objective) if jobs == 1 else Processes(objective, jobs)
    with quiet(), opened(None if storage is None else Path(storage)) as kept:
        study = begin(kept, name, settings)
        _Search(study, space, trials, progress).run(crew)
        found = [_outcome(trial, space) for trial in ended(study)]
    return Study(space, found, direction)


@dataclass
class _Search:
    """One call of `tune`."""

    study: Any
    space: Space
    trials: int
    progress: Progress | None
    done: int = 0

    def run(self, crew: Alone | Processes) -> None:
        """Run trials until there are enough."""
        self.done = len(ended(self.study))
        if self.done >= self.trials:
            return
        tasks = self._tasks()
        under_way = 0
        with crew:
            while True:
                while under_way < crew.room and (task := next(tasks, None)):
                    crew.begin(task)
                    under_way += 1
                if not under_way:
                    return
                self._end(*crew.ended())
                under_way -= 1

    def _tasks(self) -> Iterator[Task]:
        """Give broken-off trials, then new ones, each drawn when it is due."""
        optuna = load_extra("optuna", EXTRA, PURPOSE)
        before = self.study.get_trials()
        for trial in before:
            if trial.state.name == "RUNNING":
                identity = trial._trial_id  # noqa: SLF001 - Optuna says it nowhere else
                yield self._task(optuna.trial.Trial(self.study, identity), trial)
        for _ in range(len(before), self.trials):
            yield self._task(self.study.ask())

    def _task(self, handle: Any, before: Any = None) -> Task:
        values = {
            key: scale.value(scale.draw(handle, scale.label(key)))
            for key, scale in self.space.items()
        }
        known = max(before.intermediate_values, default=-1) if before else -1

        def told(score: float, step: int) -> bool:
            if step > known:  # a trial that is run anew has told some already
                handle.report(score, step)
            pruned: bool = handle.should_prune()
            return pruned

        return Task(handle.number, values, told, handle)

    def _end(self, task: Task, verdict: Verdict) -> None:
        """Keep what came of a trial, and tell it."""
        states = load_extra("optuna.trial", EXTRA, PURPOSE).TrialState
        task.handle.set_user_attr("seconds", verdict.seconds)
        if verdict.error is not None:
            task.handle.set_user_attr("error", verdict.error)
        state = next(s for s in states if STATES.get(s.name) == verdict.state)
        trial = self.study.tell(task.number, verdict.score, state=state)
        self.done += 1
        if self.progress is not None:
            self.progress(_outcome(trial, self.space), self.done, self.trials)


def _outcome(trial: Any, space: Space) -> Outcome:
    """Read what Optuna keeps of a trial."""
    state = STATES[trial.state.name]
    return Outcome(
        number=trial.number,
        values=space.read(trial.params),
        state=state,
        score=trial.value if state == COMPLETE else None,
        reports=dict(trial.intermediate_values),
        error=trial.user_attrs.get("error"),
        seconds=trial.user_attrs.get("seconds"),
    )
