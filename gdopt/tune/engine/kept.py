"""The search as Optuna keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gdopt.errors import ArgumentError, StateError
from gdopt.extras import load_extra
from gdopt.tune.engine.sampler import EXTRA, PURPOSE, sampler
from gdopt.tune.engine.trial import COMPLETE, FAILED, PRUNED

LEAST = 5  # complete trials before one is pruned, as in Optuna
SETTINGS = "gdopt"  # under which the study keeps them
STATES = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED}  # of ended trials


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from telling on standard error what the caller tells by itself."""
    logging = load_extra("optuna.logging", EXTRA, PURPOSE)
    before = logging.get_verbosity()
    logging.set_verbosity(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.set_verbosity(before)


def begin(storage: Any, name: str, settings: dict[str, Any]) -> Any:
    """Begin a search in a storage, or go on with the one that is there."""
    optuna = load_extra("optuna", EXTRA, PURPOSE)
    if not isinstance(name, str) or not name:
        message = f"name must be text that is not empty, got {name!r}"
        raise ArgumentError(message)
    pruners = optuna.pruners
    given = {
        "storage": storage,
        "study_name": name,
        "sampler": sampler(settings["method"], settings["seed"]),
        "pruner": pruners.MedianPruner(LEAST)
        if settings["prune"]
        else pruners.NopPruner(),
    }
    # Optuna's load_if_exists would leave a line in the file even where that is refused.
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(**given)
    else:
        study = optuna.create_study(direction=settings["direction"], **given)
    saved = study.user_attrs.get(SETTINGS)
    ours = study.direction.name.lower() == settings["direction"] and not study.trials
    if saved is None and ours:
        study.set_user_attr(SETTINGS, settings)
        return study
    if saved is None:
        message = f"name must be of a search of gdopt's, got another one's: {name!r}"
        raise StateError(message)
    for key, value in settings.items():
        if saved.get(key) != value:
            message = (
                f"{key} must be {saved.get(key)!r}, as when the search {name!r} began, "
                f"got {value!r}"
            )
            raise StateError(message)
    return study


def ended(study: Any) -> list[Any]:
    """Give Optuna's trials that have ended, in the order of their numbers."""
    return [trial for trial in study.get_trials() if trial.state.name in STATES]
