"""Saves and loads an optimizer's state: by name, strict, all or nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gdopt.arrays.arena import Layout, array_label
from gdopt.arrays.backend import Array
from gdopt.checks import (
    as_number,
    as_scalar,
    check_format,
    check_saved_array,
    check_state,
)
from gdopt.errors import GdoptError, StateError
from gdopt.kernels.symbol import ELEMENT, reduced_shape
from gdopt.optim.hyper import Hyper
from gdopt.optim.options import DECAY_MODES, EXACT
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule
from gdopt.optim.transforms import HYPER

FORMAT = 2  # in format 1 the rule was named with all options
FORMS = {"accumulate", "ema", "lookahead", "swa"}  # options that decide what state is
OTHERS = HYPER.keys() - FORMS  # options that do not
SETTINGS = {name for option in OTHERS for name in HYPER[option]}
WORDS = {word for option in OTHERS for word in option.split("_")}
WORDS |= {"maximize", *DECAY_MODES}
MISSING = "missing"  # arrays without a gradient, of those that are accumulated
SCALING = {"finite_steps"}  # what a dynamic loss scale counts
OF_OPTIONS = {*EXACT, "calls", *SCALING, MISSING}  # what options add to a state
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
        if "rule" in saved:  # first, as its form decides what else there is
            _check_rule(saved, rule, same_options=same_options)
    saved = check_state("the saved state", saved, keys, counts=counts)
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
    settings = _checked_hyper(hyper, saved["hyper"], rule) if with_hyper else {}
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


def form_of(name: str, inner: str) -> str:
    """Name a rule with those of the options around it that decide what state is."""
    if not name.startswith(f"{inner}_"):
        return name
    words = name.removeprefix(f"{inner}_").split("_")
    return "_".join([inner, *(word for word in words if word not in WORDS)])


def names_of(rule: Rule) -> dict[str, str]:
    """Return what a saved state says of its rule."""
    inner = (rule.inner or rule).name
    form = form_of(rule.name, inner)
    return {"rule": form} | ({} if form == inner else {INNER: inner})


def _check_rule(saved: Mapping[str, Any], rule: Rule, *, same_options: bool) -> None:
    """Refuse another rule, and other forms of the same one if they count."""
    own = names_of(rule)
    inner, theirs = own.get(INNER, own["rule"]), saved.get(INNER, saved["rule"])
    if same_options and np.array_equal(theirs, inner):
        form = {"rule": form_of(str(as_scalar(saved["rule"])), inner)}
        with _suggesting():
            check_state("the saved state", form, same={"rule": own["rule"]})
    check_state("the saved state", {"rule": theirs}, same={"rule": inner})


@contextmanager
def _suggesting() -> Iterator[None]:
    """Add to an error about settings how the state is loaded without them."""
    try:
        yield
    except StateError as error:
        hint = "load_state_dict(state, hyper=False) keeps the settings and options here"
        raise StateError(f"{error}; {hint}") from error


def with_own_options(saved: Any, own: Any, names: set[str] = OF_OPTIONS) -> Any:
    """Return a saved state that holds of options what this optimizer has of them."""
    if not isinstance(saved, Mapping) or not isinstance(own, Mapping):
        return saved
    kept = {
        key: with_own_options(part, own.get(key), names)
        for key, part in saved.items()
        if key in own or key not in names
    }
    return kept | {key: own[key] for key in names & own.keys() - saved.keys()}


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
def _checked_hyper(
    hyper: Hyper, saved: Mapping[str, Any], rule: Rule
) -> dict[str, Any]:
    """Set saved settings to see whether they can be, and set those before again.

    Those of options may be missing, or are left out where the option is not here.
    """
    of_options = SETTINGS.difference((rule.inner or rule).scalars)
    own = [*hyper.state_dict()]
    if isinstance(saved, Mapping):
        absent = of_options.difference(hyper)
        saved = {name: part for name, part in saved.items() if name not in absent}
        own = [name for name in own if name in saved or name not in of_options]
    saved = check_state("hyper", saved, own)
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
