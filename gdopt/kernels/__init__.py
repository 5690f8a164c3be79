"""How a formula becomes one pass over memory."""

from gdopt.imports import public_dir
from gdopt.kernels.kernel import Kernel
from gdopt.kernels.ops import (
    equal,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    not_equal,
    sign,
    sqrt,
    square,
    tanh,
    where,
)

__all__ = [
    "Kernel",
    "equal",
    "exp",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "not_equal",
    "sign",
    "sqrt",
    "square",
    "tanh",
    "where",
]
__dir__ = public_dir(__name__)
