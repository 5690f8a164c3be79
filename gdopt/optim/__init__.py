"""Update rules, and the optimizer that runs them."""

from collections.abc import Callable, Mapping

from gdopt.optim.optimizer import Optimizer
from gdopt.optim.rules.adaptive import Adam, AdamW, RMSprop
from gdopt.optim.rules.descent import SGD, Momentum, Nesterov
from gdopt.optim.rules.rule import Rule, rule

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

# By the names that commands and estimators take; called as Adam(params, lr=...).
OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
