"""gdopt: gradient descent for people who hold arrays."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from gdopt import (
    arrays as arrays,
    averages as averages,
    errors,
    kernels as kernels,
    optim as optim,
)
from gdopt.arrays import (
    Arena as Arena,
    as_array as as_array,
    backend_of as backend_of,
    get_backend as get_backend,
    use as use,
)
from gdopt.averages import (
    EWA as EWA,
    ewa as ewa,
    ewa_std as ewa_std,
    ewa_var as ewa_var,
    ewa_weights as ewa_weights,
    ewa_window as ewa_window,
)
from gdopt.errors import *
from gdopt.imports import lazy_getattr, public_dir
from gdopt.kernels import Kernel as Kernel
from gdopt.optim import Optimizer as Optimizer, Rule as Rule, rule as rule
from gdopt.optim.families import *

# Imported when first asked for: an optimizer's step does not need them.
_LAZY = {
    "gdopt": "data estimators gradient_check nn parallel planner plots problems rules "
    "schedules training tune",
    "gdopt.data": "MiniBatches Normalizer Split minibatches prefetch split",
    "gdopt.estimators": "MLPClassifier MLPRegressor",
    "gdopt.gradient_check": "GradientCheck check_gradient",
    "gdopt.planner": "Plan plan_batch_size",
    "gdopt.training": "Model fit load minimize save steps",
}
if TYPE_CHECKING:
    from gdopt import (
        data as data,
        gradient_check as gradient_check,
        nn as nn,
        parallel as parallel,
        planner as planner,
        plots as plots,
        problems as problems,
        rules as rules,
        schedules as schedules,
        training as training,
        tune as tune,
    )
    from gdopt.data import (
        MiniBatches as MiniBatches,
        Normalizer as Normalizer,
        Split as Split,
        minibatches as minibatches,
        prefetch as prefetch,
        split as split,
    )
    from gdopt.estimators import (
        MLPClassifier as MLPClassifier,
        MLPRegressor as MLPRegressor,
    )
    from gdopt.gradient_check import (
        GradientCheck as GradientCheck,
        check_gradient as check_gradient,
    )
    from gdopt.planner import Plan as Plan, plan_batch_size as plan_batch_size
    from gdopt.training import (
        Model as Model,
        fit as fit,
        load as load,
        minimize as minimize,
        save as save,
        steps as steps,
    )
else:  # for a type checker, what is imported with * is exported
    __getattr__ = lazy_getattr(__name__, _LAZY, foreign="gdopt.schedules.names")
    __all__ = [
        "Arena",
        "EWA",
        "Kernel",
        "Optimizer",
        "Rule",
        "__version__",
        "arrays",
        "as_array",
        "averages",
        "backend_of",
        "ewa",
        "ewa_std",
        "ewa_var",
        "ewa_weights",
        "ewa_window",
        "get_backend",
        "kernels",
        "optim",
        "rule",
        "use",
        *errors.__all__,
        *optim.families.__all__,
        *(name for names in _LAZY.values() for name in names.split()),
    ]
    if not find_spec("sklearn"):  # without it they cannot be imported
        for name in ("MLPClassifier", "MLPRegressor", "estimators"):
            __all__.remove(name)

__version__ = "0.1.0"
__dir__ = public_dir(__name__)
