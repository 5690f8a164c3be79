"""Complex values of a formula, traced as pairs of real ones."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gdopt.errors import RuleError
from gdopt.kernels.symbol import LARGEST_LOWERED_POWER, Symbol, join_kinds
from gdopt.kernels.trace import Signature

POWERS = range(1, LARGEST_LOWERED_POWER + 1)


class Modulus(Symbol):
    """``np.abs(z)``, whose square takes no root."""

    __slots__ = ()

    def __pow__(self, exponent: Any) -> Any:
        known = getattr(exponent, "value", exponent)  # of a constant, or a number
        if known is None or known % 2:
            return super().__pow__(exponent)
        parts: Any = self.arguments
        re, im = parts
        return (re * re + im * im) ** (known / 2)


class ComplexSymbol(Symbol):
    """A pair of real values with NumPy's meaning of a complex one.

    Operations are the textbook's on the parts, without contraction, so that every
    engine gives the same bits. Those that are not defined here refuse it.
    """

    __slots__ = ("imag", "real")
    real: Any
    imag: Any

    def __init__(self, real: Any, imag: Any) -> None:
        real, imag = Symbol.of(real), Symbol.of(imag)
        axes = max(real.axes, imag.axes)
        super().__init__(kind=join_kinds((real.kind, imag.kind)), axes=axes)
        self.real, self.imag = real, imag

    def as_real(self) -> Symbol:
        """Refuse what only real values are used for."""
        raise RuleError(
            "complex values in a rule are not compared, and have no sign, minimum, "
            "maximum, root, exp or log: take np.abs(z), z.real or z.imag"
        )

    def __add__(self, other: Any) -> ComplexSymbol:
        if isinstance(other, ComplexSymbol):
            return _pair(operator.add, self, other)
        return ComplexSymbol(self.real + other, self.imag)

    __radd__ = __add__

    def __sub__(self, other: Any) -> ComplexSymbol:
        if isinstance(other, ComplexSymbol):
            return _pair(operator.sub, self, other)
        return ComplexSymbol(self.real - other, self.imag)

    def __rsub__(self, other: Any) -> ComplexSymbol:
        return ComplexSymbol(other - self.real, -self.imag)

    def __neg__(self) -> ComplexSymbol:
        return ComplexSymbol(-self.real, -self.imag)

    def __mul__(self, other: Any) -> ComplexSymbol:
        a, b = self.real, self.imag
        if not isinstance(other, ComplexSymbol):
            return ComplexSymbol(other * a, other * b)
        c, d = other.real, other.imag
        return ComplexSymbol(a * c - b * d, a * d + b * c)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> ComplexSymbol:
        return ComplexSymbol(self.real / other, self.imag / other)

    def __rtruediv__(self, other: Any) -> Any:
        message = "a rule does not divide by complex values: write x * np.conj(z) / "
        raise RuleError(message + "np.abs(z)**2 for x / z")

    def __pow__(self, exponent: Any) -> Any:
        known: Any = getattr(exponent, "value", exponent)
        if known not in POWERS:
            rule = f"take powers 1 to {POWERS[-1]}"
            raise RuleError(f"complex values in a rule {rule}, got {known!r}")
        return self if known == 1 else self * self ** (known - 1)

    def __abs__(self) -> Modulus:
        return Modulus("hypot", (self.real, self.imag), kind=self.kind)

    def conjugate(self) -> ComplexSymbol:
        """Return the complex conjugate."""
        return ComplexSymbol(self.real, -self.imag)

    conj = conjugate

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **more: Any
    ) -> Any:
        if ufunc in ON_COMPLEX and method == "__call__":
            return ON_COMPLEX[ufunc](*map(as_symbol, inputs), **more)
        # What is not an operation of complex values refuses them.
        return super().__array_ufunc__(ufunc, method, *inputs, **more)  # type: ignore[misc]

    def __array_function__(
        self, function: Any, kinds: Any, inputs: Any, more: Any
    ) -> Any:
        if function in ON_COMPLEX:
            return ON_COMPLEX[function](*inputs, **more)
        return super().__array_function__(function, kinds, inputs, more)  # type: ignore[misc]


def as_symbol(value: Any) -> Symbol:
    """Make a number a constant; real and complex values stay."""
    return value if isinstance(value, Symbol) else Symbol.of(value)


def on_parts(
    function: Callable[..., Any],
    signature: Signature,
    imag: Mapping[str, str],
    made_complex: Callable[[str], None],
) -> Callable[..., Any]:
    """Return a formula on real values: on both parts of those that are complex.

    Args:
        function: the formula on complex and real values.
        signature: of it.
        imag: names of the imaginary parts; each follows its real part.
        made_complex: called with the name of a real array that becomes complex.
    """

    def parts(names: Iterable[str]) -> tuple[str, ...]:
        pairs = [(name, imag[name]) if name in imag else (name,) for name in names]
        return tuple(itertools.chain(*pairs))

    def formula(*inputs: Any, **scalars: Any) -> Any:
        given = dict(zip(own.arrays, inputs, strict=True)) | scalars

        def value(name: str) -> Any:
            pair = name in imag
            return (
                ComplexSymbol(given[name], given[imag[name]]) if pair else given[name]
            )

        named = {name: value(name) for name in signature.scalars}
        results = function(*map(value, signature.arrays), **named)
        results, made = results if isinstance(results, tuple) else (results,), []
        for name, result in zip(
            signature.arrays, map(as_symbol, results), strict=False
        ):
            if isinstance(result, ComplexSymbol) and name not in imag:
                made_complex(name)
            made += [result.real, result.imag] if name in imag else [result.real]
        return (*made,)

    own = Signature(parts(signature.arrays), parts(signature.scalars), {})
    own.put_on(formula)
    formula.__name__ = f"complex_{getattr(function, '__name__', 'rule')}"
    return formula


def _pair(function: Callable[..., Any], x: Any, y: Any) -> ComplexSymbol:
    return ComplexSymbol(function(x.real, y.real), function(x.imag, y.imag))


def _where(condition: Any, x: Any, y: Any) -> ComplexSymbol:
    choose: Any = functools.partial(np.where, Symbol.of(condition))
    return _pair(choose, as_symbol(x), as_symbol(y))


def _norm(z: ComplexSymbol, **axes: Any) -> Any:
    """Join the norms of the parts; hypot would not round the same everywhere."""
    re, im = (np.linalg.norm(part, **axes) for part in (z.real, z.imag))
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
    np.where: _where,
    np.linalg.norm: _norm,
}
