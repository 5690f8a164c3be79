"""Options that several commands have, and what can be given for them."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gdopt import schedules
from gdopt.arrays.backend import NAMES, Backend, get_backend
from gdopt.checks import NOT_NEGATIVE, POSITIVE, Range
from gdopt.data.schema import TASKS
from gdopt.nn.inputs import KEEP
from gdopt.optim import OPTIMIZERS
from gdopt.schedules import per_epoch

Value = TypeVar("Value")
SEED = 0


# Of each optimizer, what did best on the dev examples of the digits; else its default.
LEARNING_RATES: dict[str, float] = {
    name: inspect.signature(kind).parameters["lr"].default
    for name, kind in OPTIMIZERS.items()
} | {
    **dict.fromkeys(("adam", "adamw", "rmsprop"), 0.003),
    **dict.fromkeys(("adabelief", "lamb", "lion", "signsgd"), 0.01),
    **dict.fromkeys(("nesterov", "adamax", "adan", "adopt", "muon"), 0.03),
    **dict.fromkeys(("adagrad", "radam"), 0.1),
    **dict.fromkeys(("sgd", "momentum", "asgd"), 0.3),
    **dict.fromkeys(("adadelta", "lars"), 10.0),
}


Make = Callable[[float, int, int], schedules.Schedule]


@dataclass(frozen=True)
class Decay:
    """A schedule: its formula, and how to make it."""

    formula: str  # for the help; e counts epochs from 0, T is the number of all steps
    make: Make  # of the rate at the first step, epochs, and steps in an epoch


def by_epoch(kind: Callable[..., schedules.Schedule], **how: float) -> Make:
    """Return what makes a schedule that changes once an epoch."""
    return lambda lr, _epochs, steps: per_epoch(kind(lr, **how), steps)


SCHEDULES = {
    "constant": Decay("lr", lambda lr, _epochs, _steps: schedules.constant(lr)),
    "inverse_time": Decay(
        "lr / (1 + 0.1 e)", by_epoch(schedules.inverse_time, rate=0.1)
    ),
    "exponential": Decay("lr 0.95^e", by_epoch(schedules.exponential, rate=0.95)),
    "inv_sqrt": Decay("lr / sqrt(e + 1)", by_epoch(schedules.inv_sqrt)),
    "halving": Decay(
        "half as much after each T / 4 steps",
        lambda lr, epochs, steps: schedules.halving(lr, max(1, epochs * steps // 4)),
    ),
    "polynomial": Decay(
        "lr (1 - step / T), a straight line to 0",
        lambda lr, epochs, steps: schedules.polynomial(lr, 0, epochs * steps),
    ),
    "cosine": Decay(
        "lr (1 + cos(pi step / T)) / 2, half a cosine to 0",
        lambda lr, epochs, steps: schedules.cosine(lr, 0, epochs * steps),
    ),
}


def reader(
    convert: Callable[[str], Value], rule: str, allowed: Callable[[Value], bool]
) -> Callable[[str], Value]:
    """Return a reader of an option's value; `rule` says what the value must be."""

    def read(text: str) -> Value:
        try:
            value = convert(text)
            fits = allowed(value)
        except ValueError:
            fits = False
        if not fits:
            raise argparse.ArgumentTypeError(f"must {rule}, got {text!r}")
        return value

    return read


def number(rule: str, bounds: Range) -> Callable[[str], float]:
    """Return a reader of finite numbers within bounds."""
    return reader(float, f"be {rule}", bounds.__contains__)


def count(text: str) -> int:
    """Read a whole number of at least 1, which can be counted to."""
    found = from_one(text)
    if found > sys.maxsize:
        raise argparse.ArgumentTypeError(f"must be at most {sys.maxsize}, got {text!r}")
    return found


from_one = reader(int, "be a whole number of at least 1", lambda value: value >= 1)
seed = reader(int, "be a whole number of at least 0", lambda value: value >= 0)
positive = number("a positive number", POSITIVE)
not_negative = number("a number of at least 0", NOT_NEGATIVE)
sizes = reader(
    lambda text: [int(part) for part in text.split(",")],
    "be whole numbers of at least 1, as 64,32",
    lambda found: min(found) >= 1,
)


def add_problem(add: Callable[..., Any]) -> None:
    """Add the data, the backend and the seed."""
    text = "scikit-learn's digits, or .npz, .csv[.gz], *-images-idx3-ubyte[.gz]"
    add("data", nargs="?", default="digits", metavar="digits | FILE", help=text)
    add_backend(add)
    text = "of split, weights and mini-batches (%(default)s)"
    add("--seed", type=seed, default=SEED, metavar="N", help=text)
    text = "of CSV: what is learned, by name or number from 1 (the last column, if no "
    add("--target", metavar="NAME | N", help=text + "other one can hold classes)")
    text = "of CSV: classes or numbers as target (default: found out where it is clear)"
    add("--task", choices=TASKS, help=text)
    text = "of CSV: the features (all but the target)"
    add("--columns", nargs="+", metavar="NAME | N", help=text)
    text = "of CSV: columns that are not features"
    add("--exclude", nargs="+", metavar="NAME | N", help=text)
    add_form(add)


def add_form(add: Callable[..., Any]) -> None:
    """Add how a CSV file is written."""
    text = "of CSV: what is between cells (the first of tab ; , | that fits)"
    add("--delimiter", metavar="CHARACTER", help=text)
    text = "of CSV: . or , (found out)"
    add("--decimal", metavar="MARK", help=text)


def add_backend(add: Callable[..., Any]) -> None:
    """Add the backend."""
    text = "auto is CuPy if there is a GPU (default: GDOPT_BACKEND, else auto)"
    add("--backend", choices=NAMES, help=text)


def add_picture(add: Callable[..., Any], name: str) -> None:
    """Add the file of the picture."""
    text = f"a PNG (default: {name}.png, with a number if that exists)"
    add("--picture", metavar="FILE", help=text)


def add_folder(add: Callable[..., Any], name: str) -> None:
    """Add the folder of the results."""
    text = f"a new or empty folder (default: runs/{name}-1, -2, ...)"
    add("--out", metavar="FOLDER", help=text)


def add_network(add: Callable[..., Any]) -> None:
    """Add the network, its optimizer and its regularization."""
    add_optimizer(add, default="adam")
    text = "units of the hidden layers, as 64,32 (256)"
    add("--hidden", type=sizes, nargs="+", default=[[256]], metavar="N", help=text)
    add_l2(add)
    text = "weight of the L1 penalty, LAMBDA / (2 m) sum of |W| (%(default)s)"
    add("--l1", type=not_negative, default=0.0, metavar="LAMBDA", help=text)
    share = number("a number above 0, up to 1", KEEP)
    text = "probability to keep a hidden unit; below 1 is dropout (%(default)s)"
    add("--keep-prob", type=share, default=1.0, metavar="P", help=text)
    text = "normalize hidden layers over each mini-batch"
    add("--batch-norm", action="store_true", help=text)
    text = "normalize hidden layers over their units, in each example"
    add("--layer-norm", action="store_true", help=text)


def add_optimizer(add: Callable[..., Any], *, default: str) -> None:
    """Add the optimizer."""
    text = f"one of {', '.join(OPTIMIZERS)} (%(default)s)"
    add("--optimizer", choices=OPTIMIZERS, default=default, metavar="NAME", help=text)


def add_l2(add: Callable[..., Any]) -> None:
    """Add the weight of the L2 penalty."""
    text = (
        "weight of the L2 penalty, LAMBDA / (2 m) sum of W^2 with mini-batches of m "
        "(%(default)s)"
    )
    add("--l2", type=not_negative, default=0.03, metavar="LAMBDA", help=text)


def chosen_backend(arguments: argparse.Namespace) -> Backend:
    """Return the backend that was asked for."""
    return get_backend(arguments.backend)
