"""A method of `scipy.optimize.minimize`, which takes a function, that is gdopt's."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gdopt


def gdopt_method(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., Any],
    bounds: Any = None,
    callback: Callable[[Any], Any] | None = None,
    tol: float | None = None,
    **options: Any,
) -> Any:
    """Minimize with `gdopt.minimize`, whose arguments `options` are."""
    from scipy.optimize import Bounds, OptimizeResult  # noqa: PLC0415 - an extra

    for name in ("hess", "hessp", "constraints"):
        if options.pop(name, None):
            message = f"{name} must be left out, as gdopt's methods do not use it"
            raise ValueError(message)
    options = {"gtol": tol} | options
    if isinstance(bounds, Bounds):
        options["bounds"] = bounds.lb, bounds.ub
    elif bounds is not None:  # a pair for each element, None where there is none
        low, high = np.array(list(bounds), float).T
        options["bounds"] = np.fmax(low, -np.inf), np.fmin(high, np.inf)
    x = np.array(x0, float)
    if callback is not None:
        options["callback"] = lambda _record: callback(x.copy())
    result = gdopt.minimize(lambda x: (fun(x, *args), jac(x, *args)), x, **options)
    return OptimizeResult(
        x=x,
        fun=result.fun,
        jac=jac(x, *args),
        nit=result.nit,
        nfev=result.nfev,
        success=result.success,
        message=result.reason,
    )
