"""What options can be: optimizers and schedules by name, and numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

from gdopt import schedules
from gdopt.optim import SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSprop


@dataclass(frozen=True)
class Method:
    """An optimizer, and the rate that did best on the dev examples of the digits."""

    kind: Callable[..., Optimizer]
    lr: float


OPTIMIZERS = {
    "sgd": Method(SGD, 0.3),
    "momentum": Method(Momentum, 0.3),
    "nesterov": Method(Nesterov, 0.03),
    "rmsprop": Method(RMSprop, 0.003),
    "adam": Method(Adam, 0.003),
    "adamw": Method(AdamW, 0.003),
}


@dataclass(frozen=True)
class Decay:
    """A schedule: its formula, and how to make it.

    Attributes:
        formula: for the help; e counts epochs from 0, T is the number of all steps.
        make: of the rate at the first step, epochs, and steps in an epoch.
    """

    formula: str
    make: Callable[[float, int, int], schedules.Schedule]


SCHEDULES = {
    "constant": Decay("lr", lambda lr, _epochs, _steps: schedules.constant(lr)),
    "inverse_time": Decay(
        "lr / (1 + 0.1 e)",
        lambda lr, _, steps: schedules.per_epoch(
            schedules.inverse_time(lr, rate=0.1), steps
        ),
    ),
    "exponential": Decay(
        "lr 0.95^e",
        lambda lr, _, steps: schedules.per_epoch(
            schedules.exponential(lr, rate=0.95), steps
        ),
    ),
    "inv_sqrt": Decay(
        "lr / sqrt(e + 1)",
        lambda lr, _, steps: schedules.per_epoch(schedules.inv_sqrt(lr), steps),
    ),
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


def whole_number(least: int) -> Callable[[str], int]:
    """Make a reader of whole numbers of at least `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            message = f"must be a whole number of at least {least}, got {text!r}"
            raise argparse.ArgumentTypeError(message)
        return number

    return read


def number(rule: str, allowed: Callable[[float], bool]) -> Callable[[str], float]:
    """Make a reader of finite numbers; `rule` says which are `allowed`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and allowed(value)):
            message = f"must be {rule}, got {text!r}"
            raise argparse.ArgumentTypeError(message)
        return value

    return read


positive = number("a positive number", lambda value: value > 0)
not_negative = number("a number of at least 0", lambda value: value >= 0)
probability = number("a number above 0, up to 1", lambda value: 0 < value <= 1)


def batch_size(text: str) -> int | None:
    """Read a whole number of at least 1, or ``auto``, which is None."""
    return None if text == "auto" else whole_number(least=1)(text)


def batch_sizes(text: str) -> list[int]:
    """Read sizes that rise: ``64,128,256``."""
    found = sizes(text)
    if found != sorted(set(found)):
        message = f"must rise, as 64,128,256, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return found


def sizes(text: str) -> list[int]:
    """Read the sizes of layers: ``64,32``."""
    read = whole_number(least=1)
    try:
        return [read(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        message = f"must be whole numbers of at least 1, as 64,32, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None
