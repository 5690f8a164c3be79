"""gdopt: gradient descent for people who hold arrays."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from gdopt import arrays, averages, kernels, optim
from gdopt.arrays import Arena, as_array, backend_of, get_backend, use
from gdopt.averages import EWA, ewa, ewa_weights, ewa_window
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
from gdopt.imports import lazy_getattr, public_dir
from gdopt.kernels import Kernel
from gdopt.optim import (
    ADOPT,
    ASGD,
    FTRL,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Adan,
    Lion,
    Momentum,
    Nesterov,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    Rule,
    SignSGD,
    Yogi,
    rule,
)

# Imported when first asked for: an optimizer's step does not need them.
_LAZY = {
    "gdopt": "data estimators gradient_check nn planner plots problems schedules "
    "training tune",
    "gdopt.data": "MiniBatches Normalizer Split minibatches prefetch split",
    "gdopt.estimators": "MLPClassifier MLPRegressor",
    "gdopt.gradient_check": "GradientCheck check_gradient",
    "gdopt.planner": "Plan plan_batch_size",
    "gdopt.training": "fit load save",
}
if TYPE_CHECKING:
    from gdopt import (
        data,
        estimators,
        gradient_check,
        nn,
        planner,
        plots,
        problems,
        schedules,
        training,
        tune,
    )
    from gdopt.data import MiniBatches, Normalizer, Split, minibatches, prefetch, split
    from gdopt.estimators import MLPClassifier, MLPRegressor
    from gdopt.gradient_check import GradientCheck, check_gradient
    from gdopt.planner import Plan, plan_batch_size
    from gdopt.training import fit, load, save
else:
    __getattr__ = lazy_getattr(__name__, _LAZY)

__version__ = "0.1.0"
__all__ = [
    "ADOPT",
    "ASGD",
    "EWA",
    "FTRL",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Arena",
    "ArgumentError",
    "ArgumentTypeError",
    "BackendError",
    "DataWarning",
    "DivergenceError",
    "GdoptError",
    "GradientCheck",
    "Kernel",
    "Lion",
    "MiniBatches",
    "MissingExtraError",
    "Momentum",
    "Nesterov",
    "Normalizer",
    "Optimizer",
    "Plan",
    "PlanError",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Rule",
    "RuleError",
    "SignSGD",
    "Split",
    "StateError",
    "Yogi",
    "__version__",
    "arrays",
    "as_array",
    "averages",
    "backend_of",
    "check_gradient",
    "data",
    "ewa",
    "ewa_weights",
    "ewa_window",
    "fit",
    "get_backend",
    "gradient_check",
    "kernels",
    "load",
    "minibatches",
    "nn",
    "optim",
    "plan_batch_size",
    "planner",
    "plots",
    "prefetch",
    "problems",
    "rule",
    "save",
    "schedules",
    "split",
    "training",
    "tune",
    "use",
]
if find_spec("sklearn"):  # without it they cannot be imported
    __all__ += ["MLPClassifier", "MLPRegressor", "estimators"]
__dir__ = public_dir(__name__)
