"""The built-in rules: a file for each family, each formula below its class."""

from typing import TYPE_CHECKING

from gdopt.imports import public_dir
from gdopt.optim.families.adam import *
from gdopt.optim.families.adaptive import *
from gdopt.optim.families.descent import *
from gdopt.optim.families.factored import *
from gdopt.optim.families.moments import *
from gdopt.optim.families.muon import *
from gdopt.optim.families.rmsprop import *
from gdopt.optim.families.schedule_free import *
from gdopt.optim.families.signs import *
from gdopt.optim.families.successors import *
from gdopt.optim.families.trust_ratio import *
from gdopt.optim.optimizer import Optimizer

if not TYPE_CHECKING:  # for a type checker, what is imported with * is exported
    __all__ = sorted(kind.__name__ for kind in Optimizer.__subclasses__())
__dir__ = public_dir(__name__)
