"""The space of a search: hyper-parameters by name, each with its scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gdopt.checks import check_count, check_flag, check_utf8, shown
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.tune.scales import (
    Scale,
    log_one_minus,
    log_uniform,
    power_of_two,
    uniform_int,
)

LARGEST = 512  # mini-batch; the course takes 64 to 512


class Space(Mapping[str, Scale]):
    """Hyper-parameters by name, the most important first, each with its scale.

    ``space | {"beta": ...}`` is a space with more of them, or others.

    Args:
        scales: from names to scales, at least one.

    Raises:
        ArgumentError: there is none, or a name is empty or taken twice.
        ArgumentTypeError: a name is not text, or a scale is not a scale.

    >>> space = Space({"lr": log_uniform(1e-4, 1)}) | {"units": uniform_int(50, 100)}
    >>> space
    Space(lr=log_uniform(low=0.0001, high=1.0), units=uniform_int(low=50, high=100))
    """

    def __init__(self, scales: Mapping[str, Scale]) -> None:
        if not isinstance(scales, Mapping):
            kind = type(scales).__name__
            message = f"scales must be a mapping from names to scales, got {kind}"
            raise ArgumentTypeError(message)
        if not scales:
            raise ArgumentError("scales must hold at least one, got none")
        for name, scale in scales.items():
            if not check_utf8("name in scales", name):
                raise ArgumentError("scales must have names that are not empty, got ''")
            if not isinstance(scale, Scale):
                rule = f"scales[{name!r}] must be a scale"
                line = "gdopt.tune.log_uniform(1e-4, 1)"
                raise ArgumentTypeError(f"{rule}, as {line}, got {shown(scale)}")
        labels = [scale.prefix + name for name, scale in scales.items()]
        for label in labels:
            if labels.count(label) > 1:
                raise ArgumentError(f"scales must not keep two numbers as {label!r}")
        self._scales = dict(scales)

    def __getitem__(self, name: str) -> Scale:
        return self._scales[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scales)

    def __len__(self) -> int:
        return len(self._scales)

    def __or__(self, others: Mapping[str, Scale]) -> Space:
        if not isinstance(others, Mapping):
            return NotImplemented
        return Space({**self._scales, **others})

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{n}={s}' for n, s in self.items())})"

    def draw(self, trial: Any) -> dict[str, Any]:
        """Return the values that Optuna's trial draws, or has drawn before."""
        return {
            name: scale.value(scale.draw(trial, scale.prefix + name))
            for name, scale in self.items()
        }

    def read(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of what Optuna has stored."""
        return {
            name: scale.value(drawn[scale.prefix + name])
            for name, scale in self.items()
            if scale.prefix + name in drawn
        }


def course_space(
    *, momentum: bool = True, adam: bool = False, examples: int | None = None
) -> Space:
    """Return the course's hyper-parameters, in its order of importance.

    First the learning rate, 0.0001 to 1 by its logarithm. Then beta of momentum, 0.9 to
    0.999 by the logarithm of 1 - beta, the hidden units of a layer, 50 to 100, and the
    mini-batch size, a power of two from 64 to 512. Then the layers, 2 to 4, the last
    one counted, and the rate of the decay ``lr / (1 + decay_rate epoch)``, 0.001 to 1
    by its logarithm. The betas of Adam are left alone.

    Args:
        momentum: whether there is a ``beta``.
        adam: whether Adam's ``beta1``, 0.8 to 0.99, and ``beta2``, 0.9 to 0.9999, both
            by the logarithm of 1 - beta, are searched after all.
        examples: to train on, at least 1: of fewer than 512, the mini-batch size is at
            most the power of two below, and at least an eighth of that.

    Raises:
        ArgumentError: `examples` is below 1.
        ArgumentTypeError: an argument is of the wrong kind.

    Source: Ng, Improving deep neural networks, week 3, "Tuning process" and "Using an
    appropriate scale to pick hyperparameters". The range of the decay rate and those of
    Adam's betas are gdopt's.

    >>> list(course_space())  # doctest: +NORMALIZE_WHITESPACE
    ['learning_rate', 'beta', 'hidden_units', 'batch_size', 'layers', 'decay_rate']
    """
    space: dict[str, Scale] = {"learning_rate": log_uniform(1e-4, 1)}
    if check_flag("momentum", momentum):
        space["beta"] = log_one_minus(0.9, 0.999)
    space |= {
        "hidden_units": uniform_int(50, 100),
        "batch_size": _batch_sizes(examples),
        "layers": uniform_int(2, 4),
        "decay_rate": log_uniform(1e-3, 1),
    }
    if check_flag("adam", adam):
        space |= {
            "beta1": log_one_minus(0.8, 0.99),
            "beta2": log_one_minus(0.9, 0.9999),
        }
    return Space(space)


def _batch_sizes(examples: int | None) -> Scale:
    count = LARGEST if examples is None else check_count("examples", examples)
    most = min(1 << (count.bit_length() - 1), LARGEST)
    return power_of_two(max(1, most // 8), most)
