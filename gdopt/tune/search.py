"""The search: draw, run, store, prune, and resume after an interruption."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gdopt.checks import (
    check_choice,
    check_count,
    check_flag,
    check_function,
    check_int,
    check_mapping,
    check_optional,
    check_seed,
    check_utf8,
)
from gdopt.errors import ArgumentError
from gdopt.files import check_path
from gdopt.tune.space import Space
from gdopt.tune.storage import (
    SAMPLERS,
    STATES,
    ask,
    load_study,
    locked,
    opened,
    quiet,
    store,
)
from gdopt.tune.study import COMPLETE, DIRECTIONS, Outcome, Study
from gdopt.tune.workers import Objective, check_pickles, run_in_processes, run_trial

MOST_JOBS = 1024  # more processes start no work before the memory is full
Progress = Callable[[Outcome, int, int], None]


def tune(
    objective: Objective,
    space: Space | Mapping[str, Any],
    *,
    trials: int,
    seed: int = 0,
    direction: str = "maximize",
    method: str = "random",
    prune: bool = False,
    storage: str | os.PathLike[str] | None = None,
    name: str = "search",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Study:
    """Try hyper-parameters at random, or led by what was found before, with Optuna.

    The course's advice: draw at random and on a grid never, as it is unknown
    beforehand which hyper-parameter matters; each on its proper scale; from coarse to
    fine, by `zoom`; many models at a time ("caviar", `jobs`) where there are processors
    enough.

    What trial k draws depends on the seed and on k alone, and with ``method="tpe"`` on
    the trials before, too. With a `storage`, a search that was interrupted, even by
    kill -9, continues when it is called again: a trial that was running is run again
    under its own number with the same values, and the search ends with the trials of
    one that was not interrupted. With more `trials` than before, it continues from
    there.

    A trial that raises an error counts as failed and the search continues; `progress`
    and the study report it.

    Args:
        objective: takes a `Trial` and returns its score, a finite number.
        space: what to draw from.
        trials: their total number, those of earlier calls included.
        seed: whole number, at least 0; by default 0, so that a call without it is
            reproducible.
        direction: ``"maximize"`` a score, or ``"minimize"`` a loss.
        method: ``"random"``, or ``"tpe"``, Optuna's tree-structured Parzen estimator.
        prune: whether a trial ends, by `Trial.report`, where its best report so far is
            worse than the median of the complete trials' at that step; the first 5 are
            run to their end.
        storage: file that stores the search, an SQLite database of Optuna's, which its
            dashboard shows. While the search runs, a lock on ``STORAGE.lock`` keeps
            others out.
        name: of the search in that file, which may hold several.
        jobs: 1, or the number of processes, at most 1024, that run trials at the same
            time. The
            objective must then be picklable, and each process has its share of the
            cores, so that sums in matrix products may be rounded otherwise than alone.
            With ``"tpe"`` and with pruning, the result then depends on which trials
            happen to end first. A process that dies fails only its own trial.
        progress: called after every trial with its `Outcome`, how many have ended and
            their total number.

    Returns:
        The `Study` of all trials that have ended, those of earlier calls included.

    Raises:
        ArgumentError: an argument is out of its range.
        ArgumentTypeError: an argument is of the wrong kind.
        StateError: the file holds another search by that name, another search is
            running in it, or it is not a database of Optuna's; nothing has changed.
        MissingExtraError: Optuna is not installed.

    Source: Bergstra & Bengio 2012, Random search for hyper-parameter optimization; Ng,
    Improving deep neural networks, week 3, "Tuning process".

    Other libraries: Optuna's own samplers draw from one generator that moves on, and so
    draw the same values again when a search is resumed with the same seed.

    >>> from gdopt.tune import log_uniform
    >>> def objective(trial):
    ...     return -abs(trial["lr"] - 0.1)
    >>> study = tune(objective, {"lr": log_uniform(1e-4, 1)}, trials=40, seed=0)
    >>> 0.05 < study.best.values["lr"] < 0.2
    True
    """
    check_function("objective", objective, "a function of a trial")
    check_optional(check_function, "progress", progress)
    space = space if isinstance(space, Space) else Space(check_mapping("space", space))
    trials = check_count("trials", trials)
    jobs = check_int("jobs", jobs, least=1, most=MOST_JOBS)
    check_choice("direction", direction, DIRECTIONS)
    check_choice("method", method, SAMPLERS)
    if not check_utf8("name", name):
        raise ArgumentError(f"name must be text that is not empty, got {name!r}")
    settings = {
        "seed": check_seed(seed),
        "method": method,
        "prune": check_flag("prune", prune),
        "direction": direction,
        "space": [[key, repr(scale)] for key, scale in space.items()],
    }
    if jobs > 1:
        check_pickles(objective)
    with quiet(), _file(storage, jobs) as path, opened(path) as kept:
        study = load_study(kept, name, settings)
        done = len(_ended(study))
        numbers = _numbers(study, trials) if done < trials else iter(())
        if jobs == 1:
            ended = (run_trial(objective, space, study, number) for number in numbers)
        else:
            search = objective, space, path, name, settings
            ended = run_in_processes(min(jobs, trials), numbers, *search)
        with closing(ended):
            for outcome in ended:
                stored = store(study, outcome)
                done += 1
                if progress is not None:
                    progress(_outcome(stored, space), done, trials)
        return Study(space, [_outcome(one, space) for one in _ended(study)], direction)


@contextmanager
def _file(storage: str | os.PathLike[str] | None, jobs: int) -> Iterator[Path | None]:
    """Return the path of the search's file: locked, temporary, or None in memory."""
    if storage is not None:
        path = check_path("storage", storage)
        with locked(path):
            yield path
    elif jobs > 1:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "search.db")
    else:
        yield None


def _numbers(study: Any, trials: int) -> Iterator[int]:
    """Yield the trials that were interrupted, then new ones, as each is due."""
    before = study.get_trials(deepcopy=False)
    yield from (trial.number for trial in before if trial.state.name == "RUNNING")
    for _ in range(len(before), trials):
        yield ask(study)


def _ended(study: Any) -> list[Any]:
    """Return Optuna's trials that have ended, in the order of their numbers."""
    return [trial for trial in study.get_trials() if trial.state.name in STATES]


def _outcome(stored: Any, space: Space) -> Outcome:
    state = STATES[stored.state.name]
    return Outcome(
        number=stored.number,
        values=space.read(stored.params),
        state=state,
        score=stored.value if state == COMPLETE else None,
        reports=dict(stored.intermediate_values),
        error=stored.user_attrs.get("error"),
        seconds=stored.user_attrs.get("seconds"),
    )
