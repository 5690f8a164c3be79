"""Checks of arguments and saved states, and the text of their errors."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import operator
import reprlib
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from gdopt.errors import (
    ArgumentError,
    ArgumentTypeError,
    GdoptError,
    RuleError,
    StateError,
)

T = TypeVar("T")
Class = TypeVar("Class", bound=type)
MOST_LISTED = 10  # items in a message; a network may have hundreds of arrays
SHORT = reprlib.Repr()
SHORT.maxlist = SHORT.maxtuple = SHORT.maxdict = SHORT.maxset = MOST_LISTED
SHORT.maxstring = SHORT.maxother = 200


def listed(items: Iterable[object]) -> str:
    """Join items for a message, which lists ten of them at most."""
    names = [str(item) for item in items]
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def shown(value: object) -> str:
    """Return the `repr` of a value, without its items beyond the tenth."""
    with np.printoptions(threshold=MOST_LISTED, edgeitems=2):
        return SHORT.repr(value)


def shows(*names: str) -> Callable[[Class], Class]:
    """Add a `repr` with these attributes to a class."""

    def text(self: object) -> str:
        values = (f"{n.lstrip('_')}={shown(getattr(self, n))}" for n in names)
        return f"{type(self).__name__}({', '.join(values)})"

    def decorate(kind: Class) -> Class:
        kind.__repr__ = text  # type: ignore[method-assign, assignment]
        return kind

    return decorate


@dataclass(frozen=True)
class Range:
    """An interval of numbers, in the notation of mathematics: ``"[0, 1)"``.

    >>> 1.0 in Range.parse("[0, 1)")
    False
    >>> float("inf") in Range.parse("(0, inf]")
    True
    """

    text: str
    low: float
    high: float
    holds_low: bool
    holds_high: bool

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> Range:
        """Read ``"[0, 1)"``: a square bracket holds its end, a round one does not."""
        try:
            low, high = (float(part) for part in text[1:-1].split(","))
        except ValueError:
            message = f"a range must be written like '[0, 1)', got {text!r}"
            raise RuleError(message) from None
        return cls(text, low, high, text[0] == "[", text[-1] == "]")

    def __contains__(self, value: float) -> bool:
        above = value > self.low or (self.holds_low and value == self.low)
        below = value < self.high or (self.holds_high and value == self.high)
        return above and below

    def closed(self, dtype: Any) -> tuple[float, float]:
        """Return the first and last finite number of it that a dtype keeps.

        >>> Range.parse("[0, 1)").closed("float64")
        (0.0, 0.9999999999999999)
        """
        kinds, low, high = np.finfo(dtype), self.low, self.high
        if not self.holds_low:
            low = float(kinds.tiny) if low == 0 else math.nextafter(low, math.inf)
        if not self.holds_high:  # nor what rounds to it
            with np.errstate(all="ignore"):
                below = float(np.nextafter(np.dtype(dtype).type(high), kinds.min))
            high = math.nextafter((below + high) / 2, -math.inf)
        most = float(kinds.max)
        return max(low, -most), min(high, most)

    def __str__(self) -> str:
        ends = (self.low, self.holds_low), (self.high, self.holds_high)
        infinite = any(math.isinf(end) and held for end, held in ends)
        return self.text if infinite else f"{self.text} and finite"


def as_scalar(value: Any) -> Any:
    """Take a number out of a 0-d array of any library, or what ``float`` takes.

    >>> import fractions
    >>> as_scalar(np.array(2)), as_scalar(fractions.Fraction(1, 2)), as_scalar("2")
    (2, 0.5, '2')
    """
    # The item of a masked array is there also where masked; that of a time is a count.
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if isinstance(value, type | np.ma.MaskedArray) or kind in ("m", "M"):
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    number = isinstance(value, int | float) or not hasattr(value, "__float__")
    if number or hasattr(value, "ndim"):
        return value
    try:
        return float(value)
    except OverflowError:  # of a fraction, as a decimal number would be
        return math.copysign(math.inf, 1 if value > 0 else -1)
    except (TypeError, ValueError):  # of a symbol, or a signaling NaN
        return value


def as_number(name: str, value: Any) -> float:
    """Take a real number as a float, also of an array of shape (); refuse all else."""
    if type(value) is float:
        return value
    given, value = value, as_scalar(value)
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool | np.timedelta64):
        kind = type(given).__name__
        raise ArgumentTypeError(f"{name} must be a number, got {shown(given)} ({kind})")
    try:
        return float(value)
    except OverflowError:
        message = f"{name} must be finite, got an integer that is too large for a float"
        raise ArgumentError(message) from None


def check_number(name: str, value: Any, bounds: Range, dtype: Any = None) -> float:
    """Take a number within a range, also as the dtype of the arithmetic rounds it."""
    number = as_number(name, value)
    if number not in bounds:
        raise ArgumentError(f"{name} must be in {bounds}, got {value!r}")
    if dtype is not None and not bounds.holds_low and number > bounds.low:
        smallest = float(np.finfo(dtype).tiny)
        if bounds.low == 0 and number < smallest:
            raise ArgumentError(
                f"{name} must not vanish in {np.dtype(dtype)}, whose smallest normal "
                f"number is {smallest:.3g}, got {value!r}"
            )
    open_above = dtype is not None and not bounds.holds_high
    if open_above and bounds.closed(dtype)[1] < number < bounds.high < math.inf:
        kind = np.dtype(dtype)
        message = f"{name} must not round to {bounds.high:g} in {kind}, got {value!r}"
        raise ArgumentError(message)
    if dtype is not None and float(np.finfo(dtype).max) < abs(number) < math.inf:
        message = f"{name} must be finite in {np.dtype(dtype)}, got {value!r}"
        raise ArgumentError(message)
    return number


def check_int(name: str, value: Any, least: int, most: float = sys.maxsize) -> int:
    """Take a whole number from `least` to `most` as an int; refuse 3.0 and True."""
    if type(value) is int and least <= value <= most:  # a step checks some
        return value
    number: int | None = None
    if not isinstance(value, bool | np.bool_):
        with contextlib.suppress(TypeError):
            number = operator.index(value)
    if number is not None and least <= number <= most:
        return number
    rule = f"{name} must be a whole number of at least {least}"
    if most < sys.maxsize or (number is not None and number > most):
        rule += f" and at most {most}"
    kind = ArgumentTypeError if number is None else ArgumentError
    raise kind(f"{rule}, got {shown(value)}")


def check_flag(name: str, value: Any) -> bool:
    """Take True or False; refuse all else, such as a size put in its place."""
    if value is True or value is False:
        return value
    value = as_scalar(value)
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: T, choices: Collection[str]) -> T:
    """Take a name that is one of the choices."""
    value = as_scalar(value)
    with contextlib.suppress(TypeError):  # of a hash, or of pandas' NA
        if isinstance(value, Hashable) and value in choices:
            return value
    message = f"{name} must be one of {listed(choices)}, got {shown(value)}"
    raise ArgumentError(message)


def check_function(name: str, value: T, rule: str = "a function") -> T:
    """Take what can be called, but not a class, whose object is meant."""
    if not callable(value) or isinstance(value, type):
        made = f": write {value.__name__}(...)" if isinstance(value, type) else ""
        raise ArgumentTypeError(f"{name} must be {rule}, got {shown(value)}{made}")
    return value


def host_array(name: str, value: Any) -> np.ndarray:
    """Take what NumPy makes a plain array of, with text in place of bytes in UTF-8."""
    refuse_masked(name, value)
    with contextlib.suppress(TypeError, ValueError):  # of a device; uneven lists
        array = np.asarray(value)
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    rule = "be an array of numbers or of text in UTF-8"
    raise ArgumentTypeError(f"{name} must {rule}, got {shown(value)}")


def holds_numbers(value: Any) -> bool:
    """Return whether a value is a real number, or an array or lists of such."""
    try:
        numbers = np.asarray(value).dtype.kind in "iuf"
    except ValueError:  # lists of different lengths
        return False
    return numbers and not isinstance(value, np.ma.MaskedArray)


def check_kind(name: str, value: T, kind: type, what: str = "") -> T:
    """Take an object of a class."""
    if not isinstance(value, kind):
        package, got = kind.__module__.rpartition(".")[0], type(value).__name__
        rule = what or f"a {package}.{kind.__name__}"
        message = f"{name} must be {rule}, got {shown(value) if what else got}"
        raise ArgumentTypeError(message)
    return value


def check_utf8(name: str, value: Any) -> str:
    """Take text that UTF-8 can hold, as a database does."""
    text: str = check_text(name, value)
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"{name} must be text that UTF-8 can hold, got {shown(value)}"
        raise ArgumentError(message) from None
    return text


def has_axes(value: Any) -> bool:
    """Return whether a value is an array of one axis or more."""
    axes = getattr(value, "ndim", 0)  # that of a class is a descriptor
    return isinstance(axes, int) and axes > 0


def refuse_masked(name: str, value: Any) -> None:
    """Refuse a masked array, which NumPy takes for a plain one without its mask."""
    if isinstance(value, np.ma.MaskedArray):
        message = f"{name} must be a plain array, got {type(value).__name__}, whose "
        raise ArgumentTypeError(message + "mask is not read: leave out what is masked")


def check_sequence(name: str, values: Any) -> Sequence[Any]:
    """Take a list or tuple as it is, and a range or a one-dimensional array."""
    refuse_masked(name, values)
    if isinstance(values, range) or getattr(values, "ndim", 0) == 1:
        return list(values)
    if not isinstance(values, list | tuple):
        message = f"{name} must be a list or tuple, got {type(values).__name__}"
        raise ArgumentTypeError(message)
    return values


def check_each(check: Callable[[str, Any], T], name: str, values: Any) -> tuple[T, ...]:
    """Take a list or tuple as a tuple, after a check of each of its members."""
    numbered = enumerate(check_sequence(name, values))
    return tuple(check(f"{name}[{k}]", value) for k, value in numbered)


def check_increasing(
    name: str, values: Any, check: Callable[[str, Any], Any] | None = None
) -> tuple[Any, ...]:
    """Take strictly increasing numbers as a tuple: counts, or what `check` takes."""
    numbers = check_each(check or check_count, name, values)
    if any(low >= high for low, high in itertools.pairwise(numbers)):
        raise ArgumentError(f"{name} must be strictly increasing, got {shown(numbers)}")
    return numbers


def name_differences(expected: Collection[Any], got: Collection[Any]) -> str:
    """Say which names are missing and which are unknown; nothing where they agree."""
    known = set(expected)
    sides = {
        "missing": [name for name in expected if name not in got],
        "unknown": [name for name in got if name not in known],
    }
    return "; ".join(f"{k} {listed(map(repr, v))}" for k, v in sides.items() if v)


def check_state(
    name: str,
    saved: Any,
    keys: Iterable[str] | None = (),
    *,
    counts: Iterable[str] = (),
    same: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Take a saved state that has exactly these keys, as a new dictionary.

    With None for `keys` it may have any others than `counts` and `same`.
    What `counts` name must be whole numbers of at least 0, and `same` holds values that
    must be equal to the saved ones; the caller checks those of `keys`.
    """
    same, counts = same or {}, [*counts]
    if keys is None:
        keys = saved if isinstance(saved, Mapping) else ()
    expected = sorted({*keys, *counts, *same})
    if not isinstance(saved, Mapping):
        raise StateError(f"{name} must be a mapping, got {type(saved).__name__}")
    if wrong := name_differences(expected, saved):
        raise StateError(f"{name} must have the expected keys: {wrong}")
    for key, own in same.items():
        found = as_scalar(saved[key])  # as a file may hold arrays of shape ()
        flags = isinstance(found, bool) == isinstance(own, bool | np.bool_)
        if not flags or not np.array_equal(found, own):
            got = shown(saved[key])
            message = f"{key} of {name} must be {shown(own)} to match, got {got}"
            raise StateError(message)
    try:
        for key, part in saved.items():
            refuse_masked(key, part)
        counted = {key: check_int(key, saved[key], least=0) for key in counts}
    except GdoptError as error:
        raise StateError(f"{name} is damaged: {error}") from error
    return {**saved, **counted}


def check_format(name: str, found: Any, newest: int) -> None:
    """Refuse what was written in another format than 1 up to the newest one."""
    found = as_scalar(found)
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not whole or not 1 <= found <= newest:
        newer = ": a newer gdopt wrote it" if whole and found > newest else ""
        rule = f"must be of format {newest} or older"
        raise StateError(f"{name} {rule}, got {shown(found)}{newer}")


def check_like(name: str, array: Any, model: Any) -> None:
    """Refuse an array whose shape or dtype is not another's; nothing is broadcast."""
    if array.shape != model.shape:
        raise ArgumentError(f"{name} must have shape {model.shape}, got {array.shape}")
    if array.dtype != model.dtype:
        raise ArgumentTypeError(f"{name} must be {model.dtype}, got {array.dtype}")


def check_saved_array(name: str, saved: Any, own: Any) -> Any:
    """Take a saved array that has the dtype and shape of the array it replaces."""
    array = saved if hasattr(saved, "dtype") else np.asarray(saved)
    if isinstance(array, np.ma.MaskedArray):
        raise StateError(f"{name} must be a plain array, got a masked one")
    here, there = (f"{one.dtype} of shape {one.shape}" for one in (own, array))
    if here != there:
        raise StateError(f"{name} must be {here} to match, got {there}")
    return array


FINITE = Range.parse("(-inf, inf)")
NOT_NEGATIVE = Range.parse("[0, inf)")
POSITIVE = Range.parse("(0, inf)")


def field_checks(kind: type) -> dict[str, Callable[[str, Any], Any]]:
    """Return the checks in the annotations of a class, by the names of its fields.

    A check is a function of a name and a value, in ``Annotated[int, check_count]``;
    ``Literal["a", "b"]`` lists the choices of a name.
    """
    checks: dict[str, Callable[[str, Any], Any]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is Literal:
            checks[name] = functools.partial(check_choice, choices=get_args(hint))
        checks.update((name, check) for check in getattr(hint, "__metadata__", ()))
    return checks


def check_optional(check: Callable[[str, Any], T], name: str, value: Any) -> T | None:
    """Check a value that may be left out, as None."""
    return None if value is None else check(name, value)


check_text = functools.partial(check_kind, kind=str, what="text")
check_mapping = functools.partial(check_kind, kind=Mapping, what="a mapping")
check_count = functools.partial(check_int, least=1)
check_seed = functools.partial(check_int, "seed", least=0, most=math.inf)
check_finite = functools.partial(check_number, bounds=FINITE)
check_not_negative = functools.partial(check_number, bounds=NOT_NEGATIVE)
check_positive = functools.partial(check_number, bounds=POSITIVE)
