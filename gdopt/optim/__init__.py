"""Update rules, and the optimizer that runs them."""

from gdopt.optim.adaptive import Adam, AdamW, RMSprop
from gdopt.optim.descent import SGD, Momentum, Nesterov
from gdopt.optim.optimizer import Optimizer
from gdopt.optim.rule import Rule, rule

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
