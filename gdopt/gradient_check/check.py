"""Compares a function's gradients with two-sided differences of its loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import array_label
from gdopt.arrays.dtypes import is_float
from gdopt.checks import (
    check_count,
    check_flag,
    check_function,
    check_optional,
    check_positive,
    check_seed,
    listed,
)
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.gradient_check.probe import Probe, unit
from gdopt.gradient_check.report import (
    FINE,
    WRONG,
    GradientCheck,
    ParameterCheck,
    length,
    relative_error,
    usual_mistake,
)

EPS = {8: 2.0**-52, 4: 2.0**-23, 2: 2.0**-7}  # by the bytes of the coarsest number
# Losses and gradients of two calls may differ by some roundings, as sums on a GPU do.
SAME_LOSS, SAME_GRADIENT = 100, 1e4  # times EPS
NOISE_POINTS, NOISE_ORDER = 8, 4
CERTAIN = 4  # times the expected error is what rounding may give
STAYS = 0.75  # of the jump at a kink in half the step; of a curve's half of it does
WIDTH = 0.5  # of a jump from the mean of the one-sided differences to each
WIDTH_ALONG = 4  # the same along a direction, where jumps of several kinks cancel

Compared = tuple[
    dict[str, ParameterCheck], ParameterCheck | None, np.ndarray, np.ndarray
]


class Comparison:
    """Calls the function twice where the parameters are, then around them."""

    def __init__(
        self, probe: Probe, step: float, generator: np.random.Generator
    ) -> None:
        self.probe, self.step, self.generator = probe, step, generator
        self.loss, grads = probe.call("at the parameters as they are")
        self.gradient = probe.gradients(grads)
        self.kinks: set[str] = set()
        sizes = [np.dtype(array.dtype).itemsize for array in probe.arrays.values()]
        self.eps = EPS[min(probe.loss_dtype.itemsize, *sizes)]
        if changed := probe.changed():
            raise ArgumentError(
                "loss_and_grads must not change params, but it changes "
                f"{array_label(changed[0])}: leave the optimizer's step out"
            )
        self._refuse_other_gradients(self._same_loss())

    def run(self, directions: int | None) -> GradientCheck:
        """Compare along `directions`, or every element, and make the report."""
        if directions is None:
            checks, worst, analytic, numeric = self._every_element()
        else:
            checks, worst, analytic, numeric = self._directions(directions)
        self._same_loss()
        return GradientCheck(
            error=relative_error(analytic, numeric),
            rounding=self.rounding(analytic, numeric),
            parameters=checks,
            worst=worst,
            loss=self.loss,
            step=self.step,
            directions=directions,
            calls=self.probe.calls,
            kinks=tuple(name for name in self.gradient if name in self.kinks),
        )

    def rounding(self, analytic: np.ndarray, numeric: np.ndarray) -> float:
        """Return the relative error that rounding of the losses alone may make."""
        total = length(analytic) + length(numeric)
        expected = self.noise / (math.sqrt(2) * self.step) * math.sqrt(analytic.size)
        return CERTAIN * expected / total if total else 0.0

    def _same_loss(self) -> object:
        """Refuse a loss that differs from call to call; return the gradients."""
        loss, grads = self.probe.call("at the parameters as they are")
        scale = max(abs(loss), abs(self.loss))
        if abs(loss - self.loss) > SAME_LOSS * self.eps * scale:
            raise ArgumentError(
                "loss_and_grads must give the same loss for the same parameters, got "
                f"{self.loss!r} and then {loss!r}: for the check turn off dropout, and "
                "all else that is random, or use the same seed in every call"
            )
        return grads

    def _refuse_other_gradients(self, grads: object) -> None:
        second = self.probe.gradients(grads)
        for name, first in self.gradient.items():
            if relative_error(first, second[name]) > SAME_GRADIENT * self.eps:
                raise ArgumentError(
                    "loss_and_grads must give the same gradients for the same "
                    f"parameters, but that of {array_label(name)} differs from call to "
                    "call: are gradients accumulated, or is dropout on?"
                )

    @functools.cached_property
    def noise(self) -> float:
        """Estimate the standard deviation of the loss's rounding.

        Differences of order k along a line leave nothing of a smooth function, and
        ``(k!)^2 / (2k)!`` of the mean of their squares is the variance of what is left.
        It is at least that of the last rounding, of a loss that hardly moves.
        """
        direction = unit(self._normal(list(self.gradient)))
        losses = []
        for place in np.linspace(0.25, 2.25, NOISE_POINTS):  # a kink is at 0
            self.probe.move(direction, float(place) * self.step)
            losses.append(self.probe.call("near the parameters")[0])
        self.probe.put_back()
        left = np.diff(losses, NOISE_ORDER)
        share = math.factorial(NOISE_ORDER) ** 2 / math.factorial(2 * NOISE_ORDER)
        last = float(np.spacing(self.probe.loss_dtype.type(abs(self.loss))))
        return max(math.sqrt(share / left.size) * length(left), last / math.sqrt(12))

    def _every_element(self) -> Compared:
        numerics = {}
        for name, analytic in self.gradient.items():
            numerics[name] = np.empty_like(analytic)
            for index in np.ndindex(analytic.shape):
                at = functools.partial(self.probe.element, name, index, self.loss)
                first = float(analytic[index]), *at(self.step)
                numerics[name][index] = self._near(first, at, WIDTH, [name])
        checks = {}
        for name, analytic in self.gradient.items():
            numeric = numerics[name]
            both = functools.partial(_multiplied, analytic, numeric)
            checks[name] = one = self._check_of(name, analytic, numeric, both)
            if analytic.size:
                a, n = (self.probe.as_given(name, x) for x in (analytic, numeric))
                found = np.unravel_index(int(np.abs(a - n).argmax()), a.shape)
                checks[name] = one.at(found, a, n)
        located = [one for one in checks.values() if one.index is not None]
        worst = max(located, key=lambda one: one.difference, default=None)
        return checks, worst, _joined(self.gradient), _joined(numerics)

    def _directions(self, count: int) -> Compared:
        """Compare along whole directions, and where they disagree find out why."""
        analytic, numeric = self._pairs(list(self.gradient), count)
        error = relative_error(analytic, numeric)
        if error < FINE or error <= self.rounding(analytic, numeric):
            return {}, None, analytic, numeric
        checks, scores = {}, {}
        for name, gradient in self.gradient.items():
            own_count = count if gradient.size else 0
            pairs = functools.partial(self._pairs, [name], own_count)
            own, theirs = pairs()
            checks[name] = self._check_of(name, own, theirs, pairs)
            scores[name] = length(own - theirs) * math.sqrt(gradient.size)
        worst = max(scores, key=lambda name: scores[name])
        return checks, checks[worst], analytic, numeric

    def _pairs(
        self, names: list[str], count: int, factors: Any = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derive along `count` directions, in which the named parameters move.

        The derivatives are those by the gradients, times factors, and numeric ones.
        """
        pairs, own = np.empty((count, 2)), self.gradient
        gradient = {name: own[name] * factors for name in names}
        for k in range(count):
            direction = unit(self._normal(names))
            what = f"direction {k} of {listed(map(array_label, names))}"
            known = direction, gradient, what, self.loss
            at = functools.partial(self.probe.along, *known)
            found = at(self.step)
            pairs[k] = found[0], self._near(found, at, WIDTH_ALONG, names)
        return pairs[:, 0], pairs[:, 1]

    def _near(
        self,
        found: tuple[float, float, float],
        at: Callable[[float], Sequence[float]],
        width: float,
        names: list[str],
    ) -> float:
        """Return a two-sided difference, or at a kink what is nearest to the gradient.

        Args:
            found: the gradient, the difference and the jump.
            at: returns the difference and the jump, as its last, with another step.
            width: how far around the difference the gradient may be, in jumps.
            names: of what was moved.
        """
        analytic, numeric, jump = found
        gap = abs(analytic - numeric)
        if gap <= FINE * (abs(analytic) + abs(numeric)):
            return numeric
        sure, far = CERTAIN * self.noise / self.step, width * abs(jump) * (1 + WRONG)
        explained = gap > sure and far > gap / 2
        if not explained:
            return numeric
        *_, nearer, smaller = at(self.step / 2)
        if abs(smaller) < STAYS * abs(jump):  # no jump of the slope, but of curvature?
            limit = 2 * nearer - numeric  # there an error is proportional to the step
            if abs(analytic - limit) > max(gap / 3, 3 * sure):
                return numeric
        self.kinks.update(names)
        far += sure
        return min(max(analytic, numeric - far), numeric + far)

    def _normal(self, names: list[str]) -> dict[str, np.ndarray]:
        shapes = {name: self.gradient[name].shape for name in names}
        # A draw of shape () is a plain float.
        return {
            name: np.asarray(self.generator.standard_normal(shape))
            for name, shape in shapes.items()
        }

    def _check_of(
        self,
        name: str,
        analytic: np.ndarray,
        numeric: np.ndarray,
        compare: Callable[[Any], tuple[np.ndarray, np.ndarray]],
    ) -> ParameterCheck:
        """Check a parameter; `compare` is that of `usual_mistake`."""
        shape = tuple(self.probe.given[name].shape)
        error = relative_error(analytic, numeric)
        rounding = self.rounding(analytic, numeric)
        limit, mistake = max(FINE, rounding), ""
        if self.probe.is_complex(name) and error > limit:
            mistake = usual_mistake(compare, limit)
        return ParameterCheck(name, shape, error, rounding, mistake=mistake)


def _multiplied(
    analytic: np.ndarray, numeric: np.ndarray, factors: Any
) -> tuple[np.ndarray, np.ndarray]:
    return analytic * factors, numeric


def _joined(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays.values()])


STEP = 1e-7  # the course's, for float64


def check_gradient(
    loss_and_grads: Callable[[Any], tuple[Any, Any]],
    params: Any,
    *,
    step: float | None = None,
    nominal_step: bool = False,
    directions: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare gradients with two-sided differences ``(f(p + h) - f(p - h)) / 2h``.

    The relative error ``|a - n| / (|a| + |n|)`` of the whole vector, a analytic and n
    numeric, is "great" below 1e-7, "fine" below 1e-5, to be checked again below 1e-3,
    and "wrong" from there on. Right gradients come out at 1e-9 to 1e-7, as the loss is
    rounded. How much is measured, too, and where rounding alone explains an error, the
    verdict is "look again", not "wrong".

    Parameters are moved in place, one element after the other, and have the bits they
    had when this returns or fails, by Ctrl-C, too. All else that the function changes
    stays changed, such as batch normalization's running averages.

    At a kink, such as ReLU's where biases are zero, ``(f(p + h) - f(p)) / h`` and
    ``(f(p) - f(p - h)) / h`` differ, and the gradient is right if it lies between them.
    The verdict is then "kink": move the parameters a little, and check again.

    Args:
        loss_and_grads: called with `params` as they are given; returns the loss, one
            number, and its gradients in the same form as `params`, or as a sequence in
            their order. Called twice for every element: take few examples. What is
            random in it has to be the same in every call.
        params: an array, a list, tuple or mapping of them, or a `gdopt.Arena`; NumPy or
            CuPy, of any strides. Of complex ones both parts are moved; their gradient
            is dL/dRe + i dL/dIm, and the report says where it is the conjugate or half
            of that.
        step: h, positive; 1e-7 by default where parameters and loss are float64. Other
            dtypes need one: about 1e-3 for float32.
        nominal_step: whether to divide by the nominal 2h, as the course's formula and
            torch's ``gradcheck`` do; by default by the difference of the parameters as
            they are stored. As p + h is rounded, a nominal step alone makes a relative
            error of up to about ``eps |p| / h``.
        directions: how many random directions of length 1 to take the derivative along,
            in place of every element, for large models. Where they disagree, the
            parameters are distinguished, but not their elements.
        seed: of the directions, at least 0; on every backend the same ones.

    Returns:
        The errors, with the element where both differ most, or along directions the
        parameter; ``print`` shows a table.

    Raises:
        ArgumentError: two calls with the same parameters differ, as with dropout on;
            the function changes the parameters; a loss or gradient is not finite; a
            gradient has another shape; the step vanishes next to a parameter; a number
            is out of its range.
        ArgumentTypeError: float32 or half without a step; something is of the wrong
            kind.
        BackendError: arrays are on several devices.

    Source: Ng, Improving deep neural networks, week 1, "Gradient checking"; Moré & Wild
    2011, Estimating computational noise; Press et al., Numerical recipes, section 5.7,
    for a step that is exactly representable.

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
    > params      (2,)  3.2e-01  [1]         6    12.25
    <BLANKLINE>
    largest difference at params[1]: analytic 6, numeric 12.25
    wrong by themselves: params
    """
    check_function("loss_and_grads", loss_and_grads)
    step = check_optional(check_positive, "step", step)
    directions = check_optional(check_count, "directions", directions)
    generator = np.random.default_rng(check_seed(seed))
    check_flag("nominal_step", nominal_step)
    probe = Probe(loss_and_grads, params, nominal_step=nominal_step)
    with probe.backend.on(probe.device), probe:
        if step is None:
            for name, array in probe.given.items():
                _refuse_coarse(array_label(name), array.dtype)
        comparison = Comparison(probe, step or STEP, generator)
        if step is None:
            _refuse_coarse("the loss", probe.loss_dtype)
        return comparison.run(directions)


def _refuse_coarse(what: str, dtype: Any) -> None:
    """Refuse what 1e-7 is too small a step for."""
    if dtype == np.complex64 or (is_float(dtype) and np.dtype(dtype).itemsize < 8):
        raise ArgumentTypeError(
            f"step must be given, as {what} is {np.dtype(dtype)}, where {STEP:g} is "
            "lost in rounding: use float64 parameters and data for the check"
        )
