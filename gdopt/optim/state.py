"""Saves and loads an optimizer's state: by name, strict, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.errors import GdoptError, StateError
from gdopt.optim.hyper import Hyper
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule

FORMAT = 1


def save(
    rule: Rule, hyper: Hyper, states: Mapping[str, Arena], parameters: Parameters
) -> dict[str, Any]:
    """Copy the state to NumPy arrays and numbers, in nested dictionaries."""
    to_host = parameters.backend.to_host
    return {
        "format": FORMAT,
        "rule": rule.name,
        "t": hyper.step,
        "hyper": hyper.state_dict(),
        "state": {
            key: {name: np.array(to_host(arena[key])) for name, arena in states.items()}
            for key in parameters.arrays
        },
    }


def load(
    saved: Mapping[str, Any],
    rule: Rule,
    hyper: Hyper,
    states: Mapping[str, Arena],
    parameters: Parameters,
) -> None:
    """Check a saved state against its new home, then take it over.

    Raises:
        StateError: it does not fit; nothing has changed.
    """
    wanted = {"format", "rule", "t", "hyper", "state"}
    _same("keys", sorted(wanted), sorted(saved))
    if not isinstance(saved["format"], int) or saved["format"] > FORMAT:
        message = (
            f"the state must be of format {FORMAT} or older, got {saved['format']}: "
            "a newer gdopt wrote it"
        )
        raise StateError(message)
    _same("rule", rule.name, saved["rule"])
    t = saved["t"]
    if isinstance(t, bool) or not isinstance(t, int | np.integer) or t < 0:
        message = f"t must be a whole number of at least 0, got {t!r}"
        raise StateError(message)
    _same(
        "hyper-parameters saved as numbers",
        sorted(hyper.state_dict()),
        sorted(saved["hyper"]),
    )
    _same("parameters", sorted(parameters.arrays), sorted(saved["state"]))
    for key, arrays in saved["state"].items():
        _same(f"the state of {key!r}", sorted(states), sorted(arrays))
        for name, array in arrays.items():
            own = states[name][key]
            _same(f"the shape of {key!r}'s {name}", own.shape, np.shape(array))
            _same(
                f"the dtype of {key!r}'s {name}",
                str(own.dtype),
                str(np.asarray(array).dtype),
            )
    _take_hyper(hyper, saved["hyper"])
    hyper.step = int(t)
    for key, arrays in saved["state"].items():
        for name, array in arrays.items():
            own = states[name][key]
            own[...] = parameters.backend.from_host(array, parameters.device)


def _take_hyper(hyper: Hyper, saved: Mapping[str, Any]) -> None:
    before = dict(hyper.settings)
    try:
        for name, setting in saved.items():
            hyper[name] = setting
    except GdoptError as error:
        for name in saved:
            hyper[name] = before[name]
        message = f"the saved hyper-parameters must be valid: {error}"
        raise StateError(message) from error


def _same(what: str, own: Any, saved: Any) -> None:
    if own != saved:
        message = f"{what} must be {own}, as here; the saved state has {saved}"
        raise StateError(message)
