"""Saves and loads an optimizer's state: by name, strict, all or nothing."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout, array_label
from gdopt.arrays.backend import Array
from gdopt.checks import as_number, check_format, check_saved_array, check_state
from gdopt.errors import GdoptError, StateError
from gdopt.kernels.symbol import ELEMENT, reduced_shape
from gdopt.optim.hyper import Hyper
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule

FORMAT = 1
MOST = (1 << 63) - 1  # steps: they are counted in an int64


def save(
    rule: Rule,
    counts: Mapping[str, int],
    hyper: Hyper,
    states: Mapping[str, Arena],
    parameters: Parameters,
    *,
    held: Mapping[str, Array] | None = None,
) -> dict[str, Any]:
    """Copy the state to NumPy arrays and numbers, in nested dictionaries.

    Args:
        rule: of the optimizer.
        counts: the steps done, "t", and others.
        hyper: the settings.
        states: the arrays.
        parameters: whose state it is.
        held: the parameters, while these hold averages.
    """
    to_host = parameters.backend.to_host
    own = {key: np.array(to_host(array)) for key, array in (held or {}).items()}
    return ({"params": own} if held else {}) | {
        "format": FORMAT,
        "rule": rule.name,
        **counts,
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
    *,
    counts: Collection[str],
) -> tuple[dict[str, int], dict[str, Array]]:
    """Check a saved state against this optimizer, and take it over.

    Returns:
        The counts; and the parameters, if they held averages when it was saved.

    Raises:
        StateError: it does not fit; nothing has changed.
    """
    keys, same = ["format", "hyper", "state"], {"rule": rule.name}
    keys += ["params"] if isinstance(saved, Mapping) and "params" in saved else []
    saved = check_state("the saved state", saved, keys, counts=counts, same=same)
    if saved["t"] > MOST:
        message = f"t must be at most {MOST}, got {saved['t']}"
        raise StateError(message)
    check_format("the state", saved["format"], FORMAT)
    check_state("hyper", saved["hyper"], hyper.state_dict())
    check_state("state", saved["state"], parameters.arrays)
    for key, arrays in saved["state"].items():
        check_state(f"the state of {key!r}", arrays, states)
        for name, array in arrays.items():
            check_saved_array(f"the {name} of {key!r}", array, states[name][key])
    held = saved.get("params", {})
    if held:
        check_state("params", held, parameters.arrays)
    for key, array in held.items():
        check_saved_array(array_label(key), array, parameters.arrays[key])
    to_device = functools.partial(
        parameters.backend.from_host, device=parameters.device
    )
    _take_hyper(hyper, saved["hyper"])
    for key, arrays in saved["state"].items():
        for name, array in arrays.items():
            states[name][key] = to_device(array)
    counted = {name: saved[name] for name in counts}
    return counted, {key: to_device(array) for key, array in held.items()}


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


def state_layout(layout: Layout, rule: Rule, name: str) -> Layout:
    """Place a state: one that is not of elements is float64, whatever its parameter."""
    if name not in rule.per:
        return layout
    placed = {}
    for key, slot in layout.slots.items():
        kind = rule.kind_of(name, len(slot.shape))
        group = slot.group if kind == ELEMENT else "float64"
        placed[key] = reduced_shape(kind, slot.shape), group
    return Layout.place(placed)
