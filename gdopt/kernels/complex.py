"""Complex values of a formula, traced as pairs of real ones."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from gdopt.errors import RuleError
from gdopt.kernels.functions import FUNCTIONS, UFUNCS
from gdopt.kernels.symbol import LARGEST_LOWERED_POWER, Symbol, join_kinds

# What a formula does that differs from itself on real and imaginary parts apart.
COUPLING: ContextVar[set[str] | None] = ContextVar("COUPLING", default=None)
NO_ORDER = "complex values have no order: compare np.abs(z), z.real or z.imag"


def _note(operation: str) -> None:
    found = COUPLING.get()
    if found is not None:
        found.add(operation)


def _known(exponent: Any) -> float | None:
    value = exponent.value if isinstance(exponent, Symbol) else exponent
    return value if isinstance(value, int | float) else None


class Modulus(Symbol):
    """The modulus of a complex value, whose square needs no root."""

    __slots__ = ()

    def __pow__(self, exponent: Any) -> Any:
        known = _known(exponent)
        if known is None or known % 2:
            return super().__pow__(exponent)
        re, im = self.arguments
        return (re * re + im * im) ** (known / 2)


class ComplexSymbol(Symbol):
    """A pair of real values with NumPy's meaning of a complex one.

    Each operation is the textbook's on the parts, without contraction, so that every
    engine gives the same bits. Division by a complex value is refused, as are order
    and all functions that the parts do not have.
    """

    __slots__ = ("im", "re")

    def __init__(self, re: Any, im: Any) -> None:
        self.re, self.im = Symbol.of(re), Symbol.of(im)
        kind = join_kinds((self.re.kind, self.im.kind))
        super().__init__(kind=kind, axes=max(self.re.axes, self.im.axes))

    @staticmethod
    def of(value: Any) -> Symbol:
        """Make a number a constant; complex values stay."""
        return value if isinstance(value, ComplexSymbol) else Symbol.of(value)

    def as_real(self) -> Symbol:
        """Refuse what only real values can be used for."""
        raise RuleError(_refused("this operation"))

    def _combined(self, other: Any, operation: Callable[[Any, Any], Any]) -> Any:
        """Add or subtract a value: of a real one, to the real part alone."""
        other = ComplexSymbol.of(other)
        if isinstance(other, ComplexSymbol):
            return ComplexSymbol(
                operation(self.re, other.re), operation(self.im, other.im)
            )
        _note("a real value added to a complex one")
        return ComplexSymbol(operation(self.re, other), self.im)

    def __add__(self, other: Any) -> Any:
        return self._combined(other, lambda x, y: x + y)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._combined(other, lambda x, y: x - y)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __neg__(self) -> ComplexSymbol:
        return ComplexSymbol(-self.re, -self.im)

    def __mul__(self, other: Any) -> ComplexSymbol:
        other = ComplexSymbol.of(other)
        if not isinstance(other, ComplexSymbol):
            return ComplexSymbol(other * self.re, other * self.im)
        _note("a product of complex values")
        a, b, c, d = self.re, self.im, other.re, other.im
        return ComplexSymbol(a * c - b * d, a * d + b * c)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> ComplexSymbol:
        other = ComplexSymbol.of(other)
        if isinstance(other, ComplexSymbol):
            return other.__rtruediv__(self)
        return ComplexSymbol(self.re / other, self.im / other)

    def __rtruediv__(self, _: Any) -> ComplexSymbol:
        message = "a rule does not divide by complex values: write x * np.conj(z) / "
        raise RuleError(message + "np.abs(z)**2 for x / z")

    def __pow__(self, exponent: Any) -> Any:
        known = _known(exponent)
        if known is None or known % 1 or not 1 <= known <= LARGEST_LOWERED_POWER:
            message = "a complex value in a rule takes powers from 1 to "
            message += (
                f"{LARGEST_LOWERED_POWER}, got {exponent!r}: write np.abs(z) ** x"
            )
            raise RuleError(message)
        result: Any = self
        for _ in range(int(known) - 1):
            result = self * result
        return result

    def __rpow__(self, _: Any) -> Any:
        raise RuleError(_refused("a complex exponent"))

    def __abs__(self) -> Modulus:
        _note("np.abs")
        return Modulus("hypot", (self.re, self.im), kind=self.kind)

    @property
    def real(self) -> Symbol:
        """The real part."""
        _note("the real part")
        return self.re

    @property
    def imag(self) -> Symbol:
        """The imaginary part."""
        _note("the imaginary part")
        return self.im

    def conjugate(self) -> ComplexSymbol:
        """Return the complex conjugate."""
        _note("np.conj")
        return ComplexSymbol(self.re, -self.im)

    conj = conjugate

    def __eq__(self, other: object) -> Any:
        return self._equal(other)

    def __ne__(self, other: object) -> Any:
        return ~self._equal(other)

    __hash__ = object.__hash__

    def _equal(self, other: Any) -> Any:
        _note("a comparison")
        other = ComplexSymbol.of(other)
        return (self.re == other.real) & (self.im == other.imag)

    def __lt__(self, _: Any) -> Any:
        raise RuleError(NO_ORDER)

    __le__ = __gt__ = __ge__ = __lt__

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **keywords: Any
    ) -> Any:
        if ufunc not in PLAIN or method != "__call__" or keywords:
            if method == "__call__" and ufunc in UFUNCS:
                raise RuleError(_refused(f"np.{ufunc.__name__}"))
            return super().__array_ufunc__(ufunc, method, *inputs, **keywords)
        return PLAIN[ufunc](*map(ComplexSymbol.of, inputs))

    def __array_function__(
        self, function: Any, types: Any, arguments: Any, keywords: Any
    ) -> Any:
        if function in PLAIN:
            return PLAIN[function](*arguments, **keywords)
        if function in FUNCTIONS:
            raise RuleError(_refused(f"np.{function.__name__}"))
        return super().__array_function__(function, types, arguments, keywords)


def _refused(what: str) -> str:
    return (
        f"{what} is not for complex values in a rule: take np.abs(z), z.real or z.imag"
    )


def _where(condition: Any, x: Any, y: Any) -> ComplexSymbol:
    """Choose parts; a real value other than 0 is noted, as it has one part alone."""
    values, condition = [ComplexSymbol.of(v) for v in (x, y)], Symbol.of(condition)
    for value in values:
        if not isinstance(value, ComplexSymbol) and value.value != 0:
            _note("a real value in place of a complex one")
    (a, b), (c, d) = (_parts(value) for value in values)
    return ComplexSymbol(np.where(condition, a, c), np.where(condition, b, d))


def _parts(value: Symbol) -> tuple[Symbol, Symbol]:
    if isinstance(value, ComplexSymbol):
        return value.re, value.im
    return value, Symbol.of(0.0)


def _of_parts(function: Callable[..., Any]) -> Callable[..., ComplexSymbol]:
    def apply(z: ComplexSymbol, *arguments: Any, **keywords: Any) -> ComplexSymbol:
        re, im = (function(part, *arguments, **keywords) for part in (z.re, z.im))
        return ComplexSymbol(re, im)

    return apply


def _norm(z: ComplexSymbol, **keywords: Any) -> Any:
    """Join the norms of the parts; hypot would not round the same everywhere."""
    re, im = (np.linalg.norm(part, **keywords) for part in (z.re, z.im))
    largest = np.maximum(re, im)
    safe = np.where(largest > 0, largest, 1.0)
    return largest * np.sqrt((re / safe) ** 2 + (im / safe) ** 2)


PLAIN: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.linalg.norm: _norm,
    np.sum: _of_parts(np.sum),
    np.mean: _of_parts(np.mean),
    np.real: lambda val: val.real,
    np.imag: lambda val: val.imag,
    np.conjugate: lambda z: z.conjugate(),
    np.absolute: abs,
    np.square: lambda z: z * z,
    np.power: lambda x, y: x**y,
    np.add: lambda x, y: x + y,
    np.subtract: lambda x, y: x - y,
    np.multiply: lambda x, y: x * y,
    np.divide: lambda x, y: x / y,
    np.negative: lambda z: -z,
    np.positive: lambda z: z,
    np.equal: lambda x, y: x == y,
    np.not_equal: lambda x, y: x != y,
}
