"""Update rules, and the optimizer that runs them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gdopt.imports import public_dir
from gdopt.optim import families
from gdopt.optim.families import *
from gdopt.optim.optimizer import Optimizer as Optimizer
from gdopt.optim.rule import Rule as Rule, rule as rule

# By the names that commands take; each is called as (params, lr=...).
OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    kind.__name__.lower(): kind for kind in Optimizer.__subclasses__()
}
if not TYPE_CHECKING:  # for a type checker, what is imported with * is exported
    __all__ = ["OPTIMIZERS", "Optimizer", "Rule", "rule", *families.__all__]
__dir__ = public_dir(__name__)
