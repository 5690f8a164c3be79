"""Update rules, and the optimizer that runs them."""

from collections.abc import Callable, Mapping

from gdopt.imports import public_dir
from gdopt.optim.classes import SGD, Adam, AdamW, Momentum, Nesterov, RMSprop
from gdopt.optim.optimizer import Optimizer
from gdopt.optim.rule import Rule, rule

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "Rule",
    "rule",
]
__dir__ = public_dir(__name__)

# By the names that commands and estimators take; each is called as (params, lr=...).
OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
