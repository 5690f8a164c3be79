"""Complex values of a formula, traced as pairs of real ones."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.errors import RuleError
from gdopt.kernels.symbol import LARGEST_LOWERED_POWER, Symbol, join_kinds


class Modulus(Symbol):
    """``np.abs(z)``, whose square takes no root."""

    __slots__ = ()

    def __pow__(self, exponent: Any) -> Any:
        if not isinstance(exponent, int | float) or exponent % 2:
            return super().__pow__(exponent)
        re, im = map(_any, self.arguments)
        return (re * re + im * im) ** (exponent / 2)


class ComplexSymbol(Symbol):
    """A pair of real values with NumPy's meaning of a complex one.

    Operations are the textbook's on the parts, without contraction, so that every
    engine gives the same bits. Those that are not defined here refuse it.
    """

    __slots__ = ("imag", "real")

    def __init__(self, real: Any, imag: Any) -> None:
        real, imag = Symbol.of(real), Symbol.of(imag)
        axes = max(real.axes, imag.axes)
        super().__init__(kind=join_kinds((real.kind, imag.kind)), axes=axes)
        self.real, self.imag = real, imag  # type: ignore[misc]

    def as_real(self) -> Symbol:
        """Refuse what only real values are used for."""
        message = (
            "complex values in a rule are not compared, and have no sign, minimum, "
            "maximum, root, exp or log: take np.abs(z), z.real or z.imag"
        )
        raise RuleError(message)

    def __add__(self, other: Any) -> ComplexSymbol:
        if isinstance(other, ComplexSymbol):
            return _pair(operator.add, self, other)
        return ComplexSymbol(self.real + other, self.imag)

    __radd__ = __add__

    def __sub__(self, other: Any) -> ComplexSymbol:
        if isinstance(other, ComplexSymbol):
            return _pair(operator.sub, self, other)
        return ComplexSymbol(_any(self.real) - other, self.imag)

    def __rsub__(self, other: Any) -> ComplexSymbol:
        return ComplexSymbol(other - _any(self.real), -_any(self.imag))

    def __neg__(self) -> ComplexSymbol:
        return ComplexSymbol(-_any(self.real), -_any(self.imag))

    def __mul__(self, other: Any) -> ComplexSymbol:
        a, b = _any(self.real), _any(self.imag)
        if not isinstance(other, ComplexSymbol):
            return ComplexSymbol(other * a, other * b)
        c, d = other.real, other.imag
        return ComplexSymbol(a * c - b * d, a * d + b * c)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> ComplexSymbol:
        if isinstance(other, ComplexSymbol):
            other.__rtruediv__(self)
        return ComplexSymbol(_any(self.real) / other, _any(self.imag) / other)

    def __rtruediv__(self, other: Any) -> Any:
        message = "a rule does not divide by complex values: write x * np.conj(z) / "
        raise RuleError(message + "np.abs(z)**2 for x / z")

    def __pow__(self, exponent: Any) -> Any:
        if exponent not in range(1, LARGEST_LOWERED_POWER + 1):
            message = (
                f"complex values in a rule take powers 1 to {LARGEST_LOWERED_POWER}"
            )
            raise RuleError(message + f", got {exponent!r}")
        return self if exponent == 1 else self * self ** (exponent - 1)

    def __abs__(self) -> Modulus:
        return Modulus("hypot", (self.real, self.imag), kind=self.kind)

    def conjugate(self) -> ComplexSymbol:
        """Return the complex conjugate."""
        return ComplexSymbol(self.real, -_any(self.imag))

    conj = conjugate

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **more: Any
    ) -> Any:
        if ufunc in ON_COMPLEX and method == "__call__":
            return ON_COMPLEX[ufunc](*inputs, **more)
        return _any(super()).__array_ufunc__(ufunc, method, *inputs, **more)

    def __array_function__(
        self, function: Any, kinds: Any, inputs: Any, more: Any
    ) -> Any:
        if function in ON_COMPLEX:
            return ON_COMPLEX[function](*inputs, **more)
        return _any(super()).__array_function__(function, kinds, inputs, more)


def _any(value: Any) -> Any:
    """Hide from the type checker that operators are made by a loop."""
    return value


def _pair(function: Callable[..., Any], x: Any, y: Any) -> ComplexSymbol:
    return ComplexSymbol(function(x.real, y.real), function(x.imag, y.imag))


def _where(condition: Any, x: Any, y: Any) -> ComplexSymbol:
    x, y = (v if isinstance(v, Symbol) else Symbol.of(v) for v in (x, y))
    choose = _any(np.where)
    return _pair(lambda a, b: choose(Symbol.of(condition), a, b), x, y)


def _norm(z: ComplexSymbol, **axes: Any) -> Any:
    """Join the norms of the parts; hypot would not round the same everywhere."""
    re, im = (_any(np.linalg.norm)(part, **axes) for part in (z.real, z.imag))
    largest = np.maximum(re, im)
    safe = np.where(largest > 0, largest, 1.0)
    return largest * np.sqrt((re / safe) ** 2 + (im / safe) ** 2)


ON_COMPLEX: dict[Any, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.negative: operator.neg,
    np.positive: operator.pos,
    np.power: operator.pow,
    np.square: lambda z: z * z,
    np.absolute: abs,
    np.conjugate: lambda z: z.conjugate(),
    np.real: lambda val: val.real,
    np.imag: lambda val: val.imag,
    np.where: _where,
    np.linalg.norm: _norm,
}
