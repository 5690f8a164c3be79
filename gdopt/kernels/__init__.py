"""How a formula becomes one pass over memory."""

from gdopt.imports import public_dir
from gdopt.kernels.kernel import Kernel

__all__ = ["Kernel"]
__dir__ = public_dir(__name__)
