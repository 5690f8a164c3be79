"""A saved state that does not fit is refused with both sides shown; nothing changes."""

import numpy as np
import pytest
from oracles import CASES

import gdopt

GENERATOR = np.random.default_rng(17)
START = {"W": GENERATOR.standard_normal((3, 4)), "b": GENERATOR.standard_normal(4)}
START |= {"h": GENERATOR.standard_normal(5).astype(np.float16), "s": np.array(0.5)}
ROWS = [
    {
        name: np.array(GENERATOR.standard_normal(array.shape), array.dtype)
        for name, array in START.items()
    }
    for _ in range(10)
]
ADAMW = CASES["adamw corrected"]


def fading(step):
    return 0.02 / (1 + step)


def fresh():
    return {name: array.copy() for name, array in START.items()}


def run(optimizer, rows):
    for row in rows:
        optimizer.step(row)
    return optimizer


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def replaced(saved, state, array):
    """Put another array in the place of one of W's."""
    row = {**saved["state"]["W"], state: array}
    return {**saved, "state": {**saved["state"], "W": row}}


def with_hyper(saved, **settings):
    return {**saved, "hyper": {**saved["hyper"], **settings}}


MISFITS = {
    "another rule": (
        lambda s: {**s, "rule": "adam"},
        "rule of the saved state must be 'adamw' .* got 'adam'",
    ),
    "a newer format": (lambda s: {**s, "format": 3}, "format 2 or older, got 3"),
    "a format that never was": (lambda s: {**s, "format": 0}, "format .* got 0"),
    "a format that is a truth value": (
        lambda s: {**s, "format": True},
        "format .* got True",
    ),
    "a format that is text": (lambda s: {**s, "format": "1"}, "format .* got '?1"),
    "no format": (
        lambda s: without(s, "format"),
        "the saved state must have the expected keys: missing 'format'",
    ),
    "an unknown key": (
        lambda s: {**s, "more": 1},
        "the saved state must have .*: unknown 'more'",
    ),
    "keys that are no names": (
        lambda s: {**s, 3: 1},
        "the saved state must have .*: unknown 3",
    ),
    "nothing": (lambda _: {}, "the saved state .*: missing 'format', 'hyper'"),
    "no mapping": (lambda _: None, "None"),
    "a list": (lambda _: ["format", "rule", "t", "hyper", "state"], "list"),
    "t negative": (lambda s: {**s, "t": -1}, "t must be .* at least 0, got -1"),
    "t beyond 64 bits": (
        lambda s: {**s, "t": 1 << 63},
        "t must be .* at most 9223372036854775807, got 9223372036854775808",
    ),
    "t not whole": (lambda s: {**s, "t": 1.0}, "t must be a whole number .* got 1.0"),
    "t a truth value": (lambda s: {**s, "t": True}, "t must be .* got True"),
    "a missing parameter": (
        lambda s: {**s, "state": without(s["state"], "b")},
        "^state must have the expected keys: missing 'b'$",
    ),
    "an unknown parameter": (
        lambda s: {**s, "state": {**s["state"], "c": s["state"]["W"]}},
        "^state must have the expected keys: unknown 'c'$",
    ),
    "no parameters": (lambda s: {**s, "state": None}, "^state must be .*None"),
    "no arrays of a parameter": (
        lambda s: {**s, "state": {**s["state"], "b": None}},
        "state of 'b' must be .*None",
    ),
    "a missing state": (
        lambda s: {**s, "state": {**s["state"], "W": without(s["state"]["W"], "m")}},
        "the state of 'W' must have the expected keys: missing 'm'$",
    ),
    "another shape": (
        lambda s: replaced(s, "v", np.zeros((4, 3))),
        r"the v of 'W' must be .* shape \(3, 4\) to match, got .* shape \(4, 3\)",
    ),
    "a shape that would broadcast": (
        lambda s: replaced(s, "v", np.zeros(4)),
        r"the v of 'W' must be .* shape \(3, 4\) to match, got .* shape \(4,\)",
    ),
    "another dtype": (
        lambda s: replaced(s, "v", np.zeros((3, 4), np.float32)),
        "the v of 'W' must be float64 of .* to match, got float32 of",
    ),
    "no array": (
        lambda s: replaced(s, "v", None),
        "the v of 'W' must be .*, got object",
    ),
    "a missing setting": (
        lambda s: {**s, "hyper": without(s["hyper"], "lr")},
        "hyper must have the expected keys: missing 'lr'; load_state_dict",
    ),
    "an unknown setting": (
        lambda s: with_hyper(s, beta3=0.5),
        "hyper must have .*: unknown 'beta3'",
    ),
    "no settings": (
        lambda s: {**s, "hyper": None},
        "hyper must be a mapping, got None",
    ),
    "a setting out of range": (
        lambda s: with_hyper(s, beta1=1.5),
        r"must be valid: beta1 must be in \[0, 1\) and finite, got 1.5",
    ),
    "a setting that is text": (
        lambda s: with_hyper(s, eps="1e-8"),
        "must be valid: eps must be a number, got '1e-8'",
    ),
    "a setting that is code": (
        lambda s: with_hyper(s, beta1=fading),
        "must be valid: beta1 must be a number",
    ),
    "a setting by other names": (
        lambda s: with_hyper(s, beta1={"W": 0.1}),
        "must be valid: beta1 must have the names of the parameters",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    misfit, unchanged, numpy_engine
):
    change, message = MISFITS[misfit]
    other = run(ADAMW.make(fresh(), lr=0.5), ROWS[:5])
    saved = change(other.state_dict())
    optimizer = run(ADAMW.make(fresh()), ROWS[:2])
    with unchanged(optimizer), pytest.raises(gdopt.StateError, match=message):
        optimizer.load_state_dict(saved)
    control = run(run(ADAMW.make(fresh()), ROWS[:2]), ROWS[2:])
    run(optimizer, ROWS[2:])
    for name, array in control.params.items():
        np.testing.assert_array_equal(optimizer.params[name], array)


def test_where_a_rate_was_a_schedule_a_number_is_refused(unchanged, numpy_engine):
    optimizer = ADAMW.make(fresh())
    saved = ADAMW.make(fresh(), lr=fading).state_dict()
    message = r"missing 'lr'; load_state_dict\(state, hyper=False\) keeps the settings "
    with unchanged(optimizer), pytest.raises(gdopt.StateError, match=message):
        optimizer.load_state_dict(saved)
