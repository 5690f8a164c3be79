"""The table of the optimizers under test, and its rules in plain Python floats.

Each row stands with its textbook's formula in `parity`: one number at a time, corrected
moments written out, nothing folded; and with how other libraries name the same.
"""

from parity import (
    adam,
    adaptive,
    descent,
    layers,
    moments,
    muon,
    schedule_free,
    signs,
)
from parity.case import Case, at

__all__ = ["CASES", "MATRIX_CASES", "Case", "at", "by_rule"]
ROWS = (descent.ROWS, adaptive.ROWS, adam.ROWS, moments.ROWS, signs.ROWS)
ROWS += (layers.ROWS, schedule_free.ROWS)
CASES = {case.name: case for rows in ROWS for case in rows}
MATRIX_CASES = {case.name: case for case in muon.ROWS}


def by_rule(rule, start, gradients, **hyper):
    """Run gdopt's own rule on Python floats; the last parameters and states."""
    found = []
    for place, number in enumerate(start):
        row = (number, *(_first(rule.start(state), number) for state in rule.states))
        for step, gradient in enumerate(gradients):
            scalars = at(hyper, step)
            if "t" in rule.kernel.signature.scalars:
                scalars["t"] = step + 1
            returned = rule(*row, gradient[place], **scalars)
            row = returned if isinstance(returned, tuple) else (returned,)
        found.append(row)
    return [list(column) for column in zip(*found, strict=True)]


def _first(initial, number):
    return number if initial == "p" else float(initial)
