"""gdopt: gradient descent for people who hold arrays."""

import importlib
from typing import TYPE_CHECKING, Any

from gdopt import nn, schedules, training
from gdopt.arrays import Arena, as_array, backend_of, get_backend, use
from gdopt.averages import EWA, ewa, ewa_weights, ewa_window
from gdopt.data import (
    MiniBatches,
    Normalizer,
    Split,
    minibatches,
    prefetch,
    split,
)
from gdopt.errors import (
    ArgumentError,
    ArgumentTypeError,
    BackendError,
    DataWarning,
    DivergenceError,
    GdoptError,
    MissingExtraError,
    PlanError,
    RuleError,
    StateError,
)
from gdopt.kernels import (
    Kernel,
    equal,
    exp,
    log,
    maximum,
    minimum,
    not_equal,
    sign,
    sqrt,
    square,
    where,
)
from gdopt.nn.gradient_check import GradientCheck, check_gradient
from gdopt.optim import (
    SGD,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    Rule,
    rule,
)
from gdopt.training import fit, load, save

if TYPE_CHECKING:
    from gdopt import planner as planner
    from gdopt import problems as problems
    from gdopt import tune as tune
    from gdopt.estimators import MLPClassifier as MLPClassifier
    from gdopt.estimators import MLPRegressor as MLPRegressor
    from gdopt.planner import Plan, plan_batch_size

__version__ = "0.1.0"
__all__ = [
    "EWA",
    "SGD",
    "Adam",
    "AdamW",
    "Arena",
    "ArgumentError",
    "ArgumentTypeError",
    "BackendError",
    "DataWarning",
    "DivergenceError",
    "GdoptError",
    "GradientCheck",
    "Kernel",
    "MiniBatches",
    "MissingExtraError",
    "Momentum",
    "Nesterov",
    "Normalizer",
    "Optimizer",
    "Plan",
    "PlanError",
    "RMSprop",
    "Rule",
    "RuleError",
    "Split",
    "StateError",
    "__version__",
    "as_array",
    "backend_of",
    "check_gradient",
    "equal",
    "ewa",
    "ewa_weights",
    "ewa_window",
    "exp",
    "fit",
    "get_backend",
    "load",
    "log",
    "maximum",
    "minibatches",
    "minimum",
    "nn",
    "not_equal",
    "plan_batch_size",
    "prefetch",
    "rule",
    "save",
    "schedules",
    "sign",
    "split",
    "sqrt",
    "square",
    "training",
    "use",
    "where",
]
# Imported when first asked for: they are not needed to train, or need an extra.
_LATER = {
    "MLPClassifier": "gdopt.estimators",
    "MLPRegressor": "gdopt.estimators",
    "Plan": "gdopt.planner",
    "plan_batch_size": "gdopt.planner",
    "planner": "gdopt",
    "problems": "gdopt",
    "tune": "gdopt",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        message = f"module 'gdopt' has no attribute {name!r}"
        raise AttributeError(message)
    if _LATER[name] == "gdopt":
        return importlib.import_module(f"gdopt.{name}")
    return getattr(importlib.import_module(_LATER[name]), name)
