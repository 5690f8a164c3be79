"""The search as Optuna stores it: in memory, or in a file of SQLite's."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.checks import shown
from gdopt.errors import ArgumentError, StateError
from gdopt.imports import load_extra
from gdopt.interrupt import uninterrupted
from gdopt.tune.study import COMPLETE, FAILED, PRUNED, Outcome

EXTRA, PURPOSE = "tune", "tuning"
SAMPLERS = {"random": "RandomSampler", "tpe": "TPESampler"}
SETTINGS = "gdopt"  # the name of the study's attribute that holds them
STARTUP_TRIALS = 5  # complete trials before one is pruned, as in Optuna
STATES = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED}  # of ended trials
TIMEOUT = 60.0  # seconds to wait while another process writes


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Optuna logs below warnings."""
    logging = load_extra("optuna.logging", EXTRA, PURPOSE)
    before = logging.get_verbosity()
    logging.set_verbosity(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other searches out of a file of Optuna's; they are refused."""
    filelock = load_extra("filelock", EXTRA, PURPOSE)
    other = path.exists() and not path.is_file()  # a folder, a device
    if other or not path.parent.is_dir():
        message = f"storage must name a file in a folder that exists, got '{path}'"
        raise ArgumentError(message)
    try:
        lock = filelock.FileLock(f"{path}.lock").acquire(timeout=0)
    except filelock.Timeout:
        message = f"storage is in use: another search is running in '{path}'"
        raise StateError(message) from None
    with lock:
        _refuse_foreign(path)
        yield


def _refuse_foreign(path: Path) -> None:
    """Refuse a file that holds anything but Optuna's tables, before it is changed."""
    if not path.exists():
        return
    models = load_extra("optuna.storages._rdb.models", EXTRA, PURPOSE)
    known = {"alembic_version", *models.BaseModel.metadata.tables}
    # Read-only, SQLite could not roll back what a killed search had begun to write.
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)
    try:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        foreign = {name for (name,) in connection.execute(query)} - known
    except sqlite3.DatabaseError as error:
        foreign = {str(error)}
    finally:
        connection.close()
    if foreign:
        what = min(foreign)
        message = f"storage must be an Optuna database, but '{path}' is not: {what}"
        raise StateError(message)


@contextmanager
def opened(path: Path | None) -> Iterator[Any]:
    """Open Optuna's storage in a file, or in memory without one."""
    storages = load_extra("optuna.storages", EXTRA, PURPOSE)
    if path is None:
        yield storages.InMemoryStorage()
        return

    def connect() -> sqlite3.Connection:  # by a path: SQLAlchemy reads ? and % in a URL
        return sqlite3.connect(path, timeout=TIMEOUT, check_same_thread=False)

    try:
        storage = storages.RDBStorage("sqlite:///file", {"creator": connect})
    except RuntimeError as error:
        message = f"storage must fit the installed Optuna, got '{path}': {error}"
        raise StateError(message) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@uninterrupted  # SQLAlchemy takes what a handler raises for a database's fault
def load_study(storage: Any, name: str, settings: Mapping[str, Any]) -> Any:
    """Return the search of that name, created if it does not exist."""
    optuna = load_extra("optuna", EXTRA, PURPOSE)
    pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS)
    given = {
        "storage": storage,
        "study_name": name,
        "sampler": make_sampler(settings["method"], settings["seed"]),
        "pruner": pruner if settings["prune"] else optuna.pruners.NopPruner(),
    }
    # Optuna's load_if_exists would change the file even where that is refused.
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(**given)
    else:
        study = optuna.create_study(direction=settings["direction"], **given)
    saved = study.user_attrs.get(SETTINGS)
    fresh = study.direction.name.lower() == settings["direction"] and not study.trials
    if saved is None and fresh:
        study.set_user_attr(SETTINGS, settings)
        return study
    if saved is None:
        got = f"another program's: {name!r}"
        raise StateError(f"name must be that of a gdopt search, got {got}")
    for key, value in settings.items():
        if saved.get(key) != value:
            began = f"{shown(saved.get(key))}, as when the search {name!r} began"
            raise StateError(f"{key} must be {began}, got {shown(value)}")
    return study


def make_sampler(method: str, seed: int) -> Any:
    """Return a sampler whose draws depend on seed, trial number and name alone.

    With ``"tpe"`` they depend on the scores of the trials before, too. Optuna's own
    samplers draw from one generator that moves on, so that an interrupted search
    would repeat its draws.
    """
    samplers = load_extra("optuna.samplers", EXTRA, PURPOSE)
    kind = getattr(samplers, SAMPLERS[method])

    def seeded(trial: Any, name: str = "") -> Any:
        entropy = (seed, trial.number, zlib.crc32(name.encode()))
        return kind(seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    class Seeded(samplers.BaseSampler):  # type: ignore[misc, name-defined] # an extra
        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return seeded(trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, space: Any) -> Any:
            return seeded(trial).sample_relative(study, trial, space)

        def sample_independent(self, study: Any, trial: Any, name: str, by: Any) -> Any:
            return seeded(trial, name).sample_independent(study, trial, name, by)

    return Seeded()


@uninterrupted
def ask(study: Any) -> int:
    """Begin a new trial of a study, and return its number."""
    number: int = study.ask().number
    return number


def handle_of(study: Any, number: int) -> Any:
    """Return Optuna's handle of a stored trial."""
    optuna = load_extra("optuna", EXTRA, PURPOSE)
    stored = study.get_trials(deepcopy=False)[number]
    return optuna.trial.Trial(study, stored._trial_id)  # noqa: SLF001 - no other way


@uninterrupted
def store(study: Any, outcome: Outcome) -> Any:
    """Store how a trial ended, and return Optuna's record of it."""
    handle = handle_of(study, outcome.number)
    handle.set_user_attr("seconds", outcome.seconds)
    if outcome.error is not None:
        handle.set_user_attr("error", outcome.error)
    states = load_extra("optuna.trial", EXTRA, PURPOSE).TrialState
    state = next(s for s in states if STATES.get(s.name) == outcome.state)
    return study.tell(outcome.number, outcome.score, state=state)
