"""What a step is given to know of all gradients, of which its own are a part."""

from __future__ import annotations

from typing import Any, NamedTuple

from gdopt.arrays.backend import is_on_device
from gdopt.checks import as_number, check_flag
from gdopt.errors import ArgumentError, BackendError
from gdopt.optim.parameters import Parameters
from gdopt.optim.transforms import Transforms


class Known(NamedTuple):
    """The norm of all gradients, and whether they are finite; None where not known."""

    norm: Any = None  # a float, or a 0-d array on the parameters' GPU
    finite: bool | None = None

    @classmethod
    def of(
        cls, norm: Any, finite: Any, transforms: Transforms, parameters: Parameters
    ) -> Known:
        """Check what a step is given."""
        if norm is finite is None:
            return UNKNOWN
        finite = None if finite is None else check_flag("finite", finite)
        if norm is None:
            return cls(None, finite)
        if transforms.measures:
            message = "norm must not be given here: it is that of the gradients as "
            message += "given, and what limits it is that after accumulate, clip_value"
            raise ArgumentError(message + ", clip_each, agc or complex_mode='modulus'")
        if not is_on_device(norm) or norm.ndim or norm.dtype.kind not in "iuf":
            norm = as_number("norm", norm)
            if norm < 0:
                raise ArgumentError(f"norm must be at least 0, got {norm}")
            return cls(norm, finite)
        own = parameters.backend
        device = own.device(norm) if own.is_array(norm) else "another device"
        if device != parameters.device:
            message = f"norm must be on {parameters.device}, got one on {device}"
            raise BackendError(message)
        return cls(norm, finite)


UNKNOWN = Known()


def run_step(executor: Any, grads: Any, known: Known) -> Any:
    """Do a step, in one compiled call where it is one; return whether it was done."""
    if known.norm is None and executor.run_compiled(grads):
        return True
    return executor.run(grads, *([] if known is UNKNOWN else [known]))
