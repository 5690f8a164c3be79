"""What a gradient check found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdopt.arrays.arena import array_label
from gdopt.tables import aligned

# Ng, Improving deep neural networks, week 1, "Gradient checking": with a step of 1e-7
# an error near 1e-7 is great, near 1e-5 needs a look, near 1e-3 is probably a
# mistake. As rounding alone gives about 1e-7, nothing is wrong below the last.
GREAT, FINE, WRONG = 1e-7, 1e-5, 1e-3
HEADER = ["  parameter", "shape", "error", "at", "analytic", "numeric"]
MISTAKES = {  # of complex gradients, by what both parts have to be multiplied by
    (1, -1): "the conjugate of dL/dRe + i dL/dIm, as jax.grad gives it: "
    "pass np.conj(g)",
    (2, 2): "half of dL/dRe + i dL/dIm, Wirtinger's derivative by conj(z): pass 2 * g",
    (2, -2): "Wirtinger's derivative by z: pass 2 * np.conj(g)",
}


def usual_mistake(
    compare: Callable[[Any], tuple[np.ndarray, np.ndarray]], error: float
) -> str:
    """Say what complex gradients are in place of dL/dRe + i dL/dIm, if it is usual.

    Args:
        compare: returns derivatives by gradients times some factors, and numeric ones.
        error: up to which they agree.
    """
    for factors, what in MISTAKES.items():
        if relative_error(*compare(np.array(factors))) <= error:
            return what
    return ""


def relative_error(analytic: np.ndarray, numeric: np.ndarray) -> float:
    """Measure ``|a - n| / (|a| + |n|)``: 0 where both are zero, 1 where one is."""
    total = length(analytic) + length(numeric)
    return length(analytic - numeric) / total if total else 0.0


def length(vector: np.ndarray) -> float:
    """Measure the Euclidean norm, where squares would overflow or vanish as well."""
    largest = float(np.abs(vector).max(initial=0.0))
    return largest * float(np.linalg.norm(vector / largest)) if largest else 0.0


@dataclass(frozen=True)
class ParameterCheck:
    """What was found for one parameter.

    Attributes:
        name: its key, or its position.
        shape: of the array.
        error: ``|a - n| / (|a| + |n|)`` of this parameter alone.
        rounding: of `error`, what the rounding of the losses alone may give.
        index: of the element where both differ most; None along directions, and where
            there is no element.
        analytic: the gradient given for that element.
        numeric: the two-sided difference there.
        mistake: what the gradient of a complex parameter is in place of
            dL/dRe + i dL/dIm, where it is one of the usual mistakes.
    """

    name: str
    shape: tuple[int, ...]
    error: float
    rounding: float
    index: tuple[int, ...] | None = None
    analytic: complex = math.nan
    numeric: complex = math.nan
    mistake: str = ""

    @property
    def difference(self) -> float:
        """How far analytic and numeric gradient differ at that element."""
        return abs(self.analytic - self.numeric)

    def at(
        self, index: Sequence[Any], analytic: np.ndarray, numeric: np.ndarray
    ) -> ParameterCheck:
        """Add the element where both differ most."""
        place = tuple(int(k) for k in index)
        a, n = analytic[place].item(), numeric[place].item()
        return replace(self, index=place, analytic=a, numeric=n)

    @property
    def place(self) -> str:
        """The element in words: ``"'W1'[0, 2]"``."""
        return array_label(self.name) + (str(list(self.index)) if self.index else "")


@dataclass(frozen=True)
class GradientCheck:
    """Analytic and numeric gradients, compared; `gdopt.check_gradient` makes it.

    ``print(check)`` shows a table.

    Attributes:
        error: ``|a - n| / (|a| + |n|)`` of the whole vector, or along all directions.
        rounding: of `error`, what the rounding of the losses alone may give; near or
            above 1 the gradient is too small relative to the loss to be checked with
            this step.
        parameters: by name. Along directions they are checked one by one only if the
            whole is not right, and are empty otherwise.
        worst: the parameter that holds the element where both differ most; along
            directions, the parameter that differs most, or None where none was
            checked.
        loss: at the parameters as they are.
        step: of the differences.
        directions: how many were taken; None for every element.
        calls: of the function.
        kinks: names of parameters with elements at a kink, where the gradient was
            compared with one-sided differences.
    """

    error: float
    rounding: float
    parameters: Mapping[str, ParameterCheck]
    worst: ParameterCheck | None
    loss: float
    step: float
    directions: int | None
    calls: int
    kinks: tuple[str, ...] = ()

    @property
    def suspects(self) -> tuple[str, ...]:
        """Names of parameters that by themselves are wrong, beyond all rounding."""
        return tuple(
            name
            for name, one in self.parameters.items()
            if one.error >= WRONG and one.error > one.rounding
        )

    @property
    def verdict(self) -> str:
        """The error in words: ``"great"``, ``"fine"``, ``"look again"``, ``"wrong"``.

        It is ``"kink"`` where it would be great or fine, but at a kink of the loss any
        gradient between the one-sided differences has been taken as right.
        They are below 1e-7, below 1e-5, below 1e-3, and from there on. It is "look
        again" as well where an error above does not exceed `rounding`, and where
        the whole is right but a parameter by itself is wrong.
        """
        if self.error >= WRONG:
            return "wrong" if self.error > self.rounding else "look again"
        if self.error >= FINE or self.suspects:
            return "look again"
        return "kink" if self.kinks else "fine" if self.error >= GREAT else "great"

    def __str__(self) -> str:
        where = "every element"
        if self.directions is not None:
            where = f"{self.directions} random directions"
        found = f"{self.verdict}: relative error {self.error:.1e} over {where}"
        headline = f"{found}, with a step of {self.step:g}"
        bands = f"(great below {GREAT:g}, fine below {FINE:g}, wrong from {WRONG:g})"
        lines = [headline, bands]
        if self.parameters:
            rows = [HEADER, *map(self._cells, self.parameters.values())]
            lines += ["", *aligned(rows), ""]
        if self.worst is not None and self.worst.index is not None:
            lines.append(
                f"largest difference at {self.worst.place}: analytic "
                f"{self.worst.analytic:.6g}, numeric {self.worst.numeric:.6g}"
            )
        if self.suspects:
            names = ", ".join(map(array_label, self.suspects))
            lines.append(f"wrong by themselves: {names}")
        if self.kinks:
            names = ", ".join(map(array_label, self.kinks))
            lines += [
                f"the loss has a kink here, as ReLU at 0, along {names}:",
                "any gradient between its one-sided differences was taken as right;",
                "to check it, add small random numbers to the parameters, biases too",
            ]
        lines += [
            f"the gradient of {array_label(one.name)} is {one.mistake}"
            for one in self.parameters.values()
            if one.mistake
        ]
        if self.error >= FINE and self.error <= self.rounding:
            lines.append(
                f"rounding of the loss alone may give {self.rounding:.1e}, as the "
                "gradient is small: check elsewhere, or with a larger step"
            )
        return "\n".join(lines)

    def _cells(self, one: ParameterCheck) -> list[str]:
        mark = ">" if self.worst is one else " "
        name = array_label(one.name).strip("'")
        first = [f"{mark} {name}", str(one.shape), f"{one.error:.1e}"]
        if one.index is None:
            return [*first, "-", "-", "-"]
        at = str(list(one.index)) if one.index else "-"
        return [*first, at, f"{one.analytic:.6g}", f"{one.numeric:.6g}"]
