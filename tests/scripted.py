"""Callbacks called with made-up records, in a run that is not one."""

from types import SimpleNamespace

from gdopt.optim.parameters import Parameters
from gdopt.training.objectives import Objective
from gdopt.training.records import Record


def begin(callback, params, **changes):
    """Begin a run without data of some parameters; return the callback."""
    parts = {
        "parameters": Parameters.of(params),
        "objective": Objective(len, params),
        "data": None,
        "dev": None,
    }
    callback.begin(SimpleNamespace(**parts | changes))
    return callback


def losses(callback, values, before=None):
    """Call it with records of some losses; return what it answers.

    ``before(step)`` is called before each record, whose steps count from 0.
    """
    answers = []
    for step, value in enumerate(values):
        if before is not None:
            before(step)
        answers.append(callback(Record(step, 1, value, value)))
    return answers
