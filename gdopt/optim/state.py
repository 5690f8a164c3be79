"""Saves and loads an optimizer's state: by name, strict, all or nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gdopt.arrays.arena import Layout, array_label
from gdopt.arrays.backend import Array
from gdopt.checks import as_number, check_format, check_saved_array, check_state
from gdopt.errors import GdoptError, StateError
from gdopt.kernels.symbol import ELEMENT, reduced_shape
from gdopt.optim.hyper import Hyper
from gdopt.optim.options import EXACT
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule

FORMAT = 1
MISSING = "missing"  # arrays without a gradient, of those that are accumulated
OF_OPTIONS = {*EXACT, "calls", "finite_steps", MISSING}  # what options add to a state
INNER = "inner_rule"  # the rule without what the options add to it


def checked(
    saved: Mapping[str, Any],
    rule: Rule,
    hyper: Hyper,
    states: Mapping[str, Mapping[str, Array]],
    parameters: Parameters,
    *,
    counts: Collection[str],
    with_hyper: bool = True,
    same_options: bool = True,
) -> tuple[dict[str, int], dict[str, Array], Callable[[], None]]:
    """Check a saved state against this optimizer, and move it to its device.

    Return the counts, the parameters if they held averages when it was saved, and what
    writes state and settings, which can no longer fail.
    """
    keys = ["format", "rule", "hyper", "state"]
    if isinstance(saved, Mapping):
        keys += [key for key in ("params", INNER) if key in saved]
    saved = check_state("the saved state", saved, keys, counts=counts)
    _check_rule(saved, rule, same_options=same_options)
    check_format("the state", saved["format"], FORMAT)
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
    backend, device = parameters.backend, parameters.device
    to_device = functools.partial(backend.from_host, device=device)
    settings = _checked_hyper(hyper, saved["hyper"]) if with_hyper else {}
    with parameters.on_device():
        held = {key: to_device(array) for key, array in held.items()}
        moved = [
            (states[name][key], to_device(array))
            for key, arrays in saved["state"].items()
            for name, array in arrays.items()
        ]

    def write() -> None:
        for name, setting in settings.items():
            hyper[name] = setting
        with parameters.on_device():
            for own, array in moved:
                own[...] = array

    return {name: saved[name] for name in counts}, held, write


def _check_rule(saved: Mapping[str, Any], rule: Rule, *, same_options: bool) -> None:
    """Refuse another rule, and other options around the same one if they count."""
    name, own = saved["rule"], rule.inner or rule
    theirs = {"rule": saved.get(INNER, name)}
    if same_options and np.array_equal(theirs["rule"], own.name):
        with _suggesting():
            check_state("the saved state", {"rule": name}, same={"rule": rule.name})
    check_state("the saved state", theirs, same={"rule": own.name})


@contextmanager
def _suggesting() -> Iterator[None]:
    """Add to an error about settings how the state is loaded without them."""
    try:
        yield
    except StateError as error:
        hint = "load_state_dict(state, hyper=False) keeps the settings and options here"
        message = f"{error}; {hint}"
        raise StateError(message) from error


def with_own_options(saved: Any, own: Any) -> Any:
    """Return a saved state that holds of options what this optimizer has of them."""
    if not isinstance(saved, Mapping) or not isinstance(own, Mapping):
        return saved
    kept = {
        key: with_own_options(part, own.get(key))
        for key, part in saved.items()
        if key in own or key not in OF_OPTIONS
    }
    return kept | {key: own[key] for key in OF_OPTIONS & own.keys() - saved.keys()}


def fit(
    saved: Any, own: Any, place: tuple[str, ...] = ()
) -> tuple[Any, list[str], list[str]]:
    """Return what of a saved state matches, with this optimizer's own for the rest.

    Also return what is missing in `saved`, and what was not expected, by `place`.
    """
    if hasattr(own, "shape"):
        array = saved if hasattr(saved, "dtype") else np.asarray(saved)
        if (array.shape, array.dtype) == (own.shape, own.dtype):
            return saved, [], []
        return own, [".".join(place)], [".".join(place)]
    is_setting = "hyper" in place[-2:-1]
    if is_setting or not isinstance(own, Mapping) or not isinstance(saved, Mapping):
        return saved, [], []
    own = {key: part for key, part in own.items() if key != INNER}
    own |= {INNER: saved[INNER]} if INNER in saved else {}
    fitted = dict(own)
    missing = [".".join((*place, key)) for key in own if key not in saved]
    unexpected = [".".join((*place, str(key))) for key in saved if key not in own]
    for key in [key for key in own if key in saved]:
        fitted[key], *rest = fit(saved[key], own[key], (*place, key))
        missing += rest[0]
        unexpected += rest[1]
    return fitted, missing, unexpected


@_suggesting()
def _checked_hyper(hyper: Hyper, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Set saved settings to see whether they can be, and set those before again."""
    saved = check_state("hyper", saved, hyper.state_dict())
    before = dict(hyper.settings)
    try:
        for name, given in saved.items():
            parts = given if isinstance(given, Mapping) else {"": given}
            numbers = {key: as_number(name, part) for key, part in parts.items()}
            hyper[name] = numbers if parts is given else numbers[""]
            saved[name] = hyper.settings[name]
    except GdoptError as error:
        message = f"the saved hyper-parameters must be valid: {error}"
        raise StateError(message) from error
    finally:
        for name in saved:
            hyper[name] = before[name]
    return saved


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
