"""Compares a function's gradients with two-sided differences of its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.arrays.storage import is_float
from gdopt.checks import POSITIVE, check_number, whole
from gdopt.errors import ArgumentTypeError
from gdopt.nn.gradient_check.comparison import Comparison
from gdopt.nn.gradient_check.probe import Probe
from gdopt.nn.gradient_check.report import GradientCheck

STEP = 1e-7  # the course's, for float64


def check_gradient(
    loss_and_grads: Callable[[Any], tuple[Any, Any]],
    params: Any,
    *,
    step: float | None = None,
    directions: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare gradients with two-sided differences ``(f(p + h) - f(p - h)) / 2h``.

    The relative error ``|a - n| / (|a| + |n|)`` of the whole vector, a analytic and n
    numeric, is "great" below 1e-7, "fine" below 1e-5, to be looked at again below 1e-3,
    and "wrong" from there on. Right gradients come out at 1e-9 to 1e-7, as the loss is
    rounded. How much is measured, too, and where rounding alone explains an error, the
    verdict is "look again", not "wrong".

    Parameters are moved in place, one element after the other, and have the bits they
    had when this returns or fails, by Ctrl-C, too. All else that the function changes
    stays changed: batch normalization's running averages, say. At a kink, as ReLU has
    one at 0, no gradient agrees.

    Args:
        loss_and_grads: called with `params` as they are given; returns the loss, one
            number, and its gradients in the same form as `params`, or as a sequence in
            their order. Called twice for every element: take few examples. What is
            random in it has to be the same in every call.
        params: an array, a list, tuple or mapping of them, or a `gdopt.Arena`; NumPy or
            CuPy, of any strides.
        step: h, positive; 1e-7 by default where parameters and loss are float64. Other
            dtypes need one: about 1e-3 for float32.
        directions: how many random directions of length 1 to take the derivative along,
            in place of every element, for large models. Where they disagree, the
            parameters are told apart, but not their elements.
        seed: of the directions, at least 0; on every backend the same ones.

    Returns:
        The errors, with the element where both differ most, or along directions the
        parameter; ``print`` shows a table.

    Raises:
        ArgumentError: two calls with the same parameters differ, as with dropout on;
            the function changes the parameters; a loss or gradient is not finite; a
            gradient has another shape; the step vanishes beside a parameter; a number
            is out of its range.
        ArgumentTypeError: float32 or half without a step; something is of the wrong
            kind.
        BackendError: arrays are on several devices.

    Source:
        Ng, Improving deep neural networks, week 1, "Gradient checking"; Moré & Wild
        2011, Estimating computational noise.

    torch's ``gradcheck`` compares element by element, with tolerances and a step of
    1e-6.

    >>> w = np.array([1.0, 2.0])
    >>> check = check_gradient(lambda w: ((w**3).sum(), 3 * w**2), w)
    >>> check.verdict
    'great'
    >>> print(check_gradient(lambda w: ((w**3).sum(), 3 * w), w, step=0.5))
    wrong: relative error 3.2e-01 over every element, with a step of 0.5
    (great below 1e-07, fine below 1e-05, wrong from 0.001)
    <BLANKLINE>
      parameter  shape    error   at  analytic  numeric
    > 0           (2,)  3.2e-01  [1]         6    12.25
    <BLANKLINE>
    they differ most at '0'[1]: the analytic gradient is 6, the difference gives 12.25
    wrong by themselves: '0'
    """
    if not callable(loss_and_grads):
        kind = type(loss_and_grads).__name__
        message = f"loss_and_grads must be a function, got {kind}"
        raise ArgumentTypeError(message)
    if step is not None:
        step = check_number("step", step, POSITIVE)
    if directions is not None:
        directions = whole("directions", directions, least=1)
    generator = np.random.default_rng(whole("seed", seed, least=0))
    with Probe(loss_and_grads, params) as probe:
        if step is None:
            for name, array in probe.arrays.items():
                _refuse_coarse(repr(name), array.dtype)
        comparison = Comparison(probe, step or STEP, generator)
        if step is None:
            _refuse_coarse("the loss", probe.loss_dtype)
        return comparison.run(directions)


def _refuse_coarse(what: str, dtype: Any) -> None:
    """Refuse what 1e-7 is too small a step for."""
    if is_float(dtype) and np.dtype(dtype).itemsize < 8:
        message = (
            f"step must be given, as {what} is {np.dtype(dtype)}, where {STEP:g} is "
            "lost in rounding: better hold parameters and data in float64 for the check"
        )
        raise ArgumentTypeError(message)
