"""The formulas of the built-in optimizers, to call in a rule of your own.

A formula is called like a function, with the parameter, its state and the gradient; it
returns the new parameter and state. What is not given is its optimizer's default. A
rule that calls another is one pass, too. `initial` is what the state starts from, and
`ranges` are those of the hyper-parameters.

>>> import numpy as np
>>> import gdopt
>>> def sparse_adam(p, m, v, g, *, lr=1e-3, threshold=0.5, t):
...     p, m, v = gdopt.rules.adam(p, m, v, g, lr=lr, t=t)  # beta1, beta2, eps: Adam's
...     return np.where(abs(p) < threshold, 0.0, p), m, v
>>> p = np.array([1.0, -0.55])
>>> opt = gdopt.Optimizer(p, sparse_adam, lr=0.1)
>>> opt.step(2 * p)
True
>>> p.round(6)
array([0.9, 0. ])
"""

from typing import TYPE_CHECKING

from gdopt.imports import public_dir
from gdopt.optim.rule import BUILT_IN, Rule

__all__ = sorted(BUILT_IN)
if TYPE_CHECKING:

    def __getattr__(name: str) -> Rule: ...
else:
    globals().update(BUILT_IN)
__dir__ = public_dir(__name__)
