"""Update rules, and the optimizer that runs them."""

from gdopt.optim.optimizer import Optimizer
from gdopt.optim.rules.adaptive import Adam, AdamW, RMSprop
from gdopt.optim.rules.descent import SGD, Momentum, Nesterov
from gdopt.optim.rules.rule import Rule, rule

__all__ = [
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
