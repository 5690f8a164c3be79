"""Saves and loads an optimizer's state: by name, strict, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.checks import as_number
from gdopt.errors import GdoptError, StateError
from gdopt.optim.parameters import Parameters
from gdopt.optim.rules.rule import Rule
from gdopt.optim.settings.hyper import Hyper

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
    _mapping("the saved state", saved)
    _names("keys", {"format", "rule", "t", "hyper", "state"}, saved)
    _check_format(saved["format"])
    _same("rule", rule.name, saved["rule"])
    t = saved["t"]
    if isinstance(t, bool) or not isinstance(t, int | np.integer) or t < 0:
        message = f"t must be a whole number of at least 0, got {t!r}"
        raise StateError(message)
    _mapping("hyper", saved["hyper"])
    _names("hyper-parameters saved as numbers", hyper.state_dict(), saved["hyper"])
    _mapping("state", saved["state"])
    _names("parameters", parameters.arrays, saved["state"])
    for key, arrays in saved["state"].items():
        _mapping(f"the state of {key!r}", arrays)
        _names(f"the state of {key!r}", states, arrays)
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
            parts = setting.values() if isinstance(setting, Mapping) else [setting]
            for part in parts:
                as_number(name, part)
            hyper[name] = setting
    except GdoptError as error:
        for name in saved:
            hyper[name] = before[name]
        message = f"the saved hyper-parameters must be valid: {error}"
        raise StateError(message) from error


def _check_format(found: Any) -> None:
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not whole or not 1 <= found <= FORMAT:
        newer = ": a newer gdopt wrote it" if whole and found > FORMAT else ""
        message = f"the state must be of format {FORMAT} or older, got {found!r}{newer}"
        raise StateError(message)


def _mapping(what: str, saved: Any) -> None:
    if not isinstance(saved, Mapping):
        message = f"{what} must be a mapping, got {saved!r} ({type(saved).__name__})"
        raise StateError(message)


def _names(what: str, own: Iterable[str], saved: Iterable[Any]) -> None:
    _same(what, sorted(own), sorted(saved, key=str))


def _same(what: str, own: Any, saved: Any) -> None:
    if own != saved:
        message = f"{what} must be {own}, as here; the saved state has {saved}"
        raise StateError(message)
