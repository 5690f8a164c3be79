"""Update rules, and the optimizer that runs them."""

from collections.abc import Callable, Mapping

from gdopt.imports import public_dir
from gdopt.optim.adam import Adam, AdamW
from gdopt.optim.adaptive import FTRL, Adadelta, Adagrad, RMSprop
from gdopt.optim.descent import ASGD, SGD, Momentum, Nesterov
from gdopt.optim.moments import ADOPT, AdaBelief, Adamax, Adan, RAdam, Yogi
from gdopt.optim.optimizer import Optimizer
from gdopt.optim.rule import Rule, rule
from gdopt.optim.signs import Lion, Rprop, SignSGD

# By the names that commands and estimators take; each is called as (params, lr=...).
OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    kind.__name__.lower(): kind for kind in Optimizer.__subclasses__()
}
__all__ = [
    "ADOPT",
    "ASGD",
    "FTRL",
    "OPTIMIZERS",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Lion",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Rule",
    "SignSGD",
    "Yogi",
    "rule",
]
__dir__ = public_dir(__name__)
