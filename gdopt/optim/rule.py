"""A rule: the formula of one update, what its state starts from, and its ranges."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, overload

import numpy as np

from gdopt.checks import FINITE, Range, check_kind, check_mapping, listed
from gdopt.copies import pickled
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError, RuleError
from gdopt.kernels.kernel import Kernel
from gdopt.kernels.ops import check_operand
from gdopt.kernels.symbol import ARRAY, COLUMN, ELEMENT, ROW, own_kind
from gdopt.kernels.trace import ENGINES_OWN

BETA, NOT_NEGATIVE, POSITIVE = "[0, 1)", "[0, inf)", "(0, inf)"
RANGES = {  # of scalars that several built-in rules have
    **dict.fromkeys(("beta", "beta1", "beta2", "beta3", "rho", "momentum"), BETA),
    **dict.fromkeys(("lr", "weight_decay"), NOT_NEGATIVE),
    "eps": POSITIVE,
}
KINDS = (ROW, COLUMN, ARRAY)  # of state that is not of elements
BUILT_IN: dict[str, BuiltInRule] = {}  # by name, as in `gdopt.rules`
RESERVED: set[str] = set()  # names of members and options of `Optimizer`
OF_OPTIONS = {"master", "accumulated", "slow", "average", "norms", "peaks"}  # states


@dataclass(frozen=True, eq=False)
class Rule:
    """The formula of one update; call it like the function it is made of.

    Attributes:
        function: ``f(p, *state, g, *, scalars) -> (p, *state)``, or p alone.
        initial: what each state array starts from: a number, or ``"p"`` for a copy of
            the parameter.
        ranges: of the scalars, in the notation ``"[0, 1)"``; ``"(0, inf]"`` holds
            infinity, and scalars without a range must be finite.
        per: names of the state arrays that hold one float64 value for each ``"row"``,
            ``"column"`` or ``"array"``, and not for each element. A vector has one
            column, and each of its elements is a row.
        inner: the rule that this one adds an optimizer's options to, if it does.
    """

    function: Callable[..., Any]
    initial: Mapping[str, float | str]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    per: Mapping[str, str] = field(default_factory=dict)
    inner: Rule | None = None

    def __post_init__(self) -> None:
        """Trace the formula, so that a mistake in it shows immediately."""
        arrays = self.kernel.signature.arrays
        self._refuse_unknown("per", self.per, self.states)
        for state, kind in self.per.items():
            if kind not in KINDS:
                message = f"per: {state!r} must be one of {listed(map(repr, KINDS))}"
                message += f", got {kind!r}"
                raise RuleError(message)
        if len(arrays) < 2:
            message = f"{self.name}: a rule takes a parameter and a gradient at least"
            raise RuleError(message)
        results = len(self.kernel.program().results)
        if results != len(arrays) - 1:
            message = f"{self.name} must return {len(arrays) - 1} values "
            message += f"({listed(arrays[:-1])}), got {results}"
            if results < len(arrays) - 1 and not self.kernel.signature.scalars:
                line = self.kernel.signature.starred(results + 1)
                message += f"; put hyper-parameters after a *: def {self.name}{line}"
            raise RuleError(message)
        self._refuse_unknown("state", self.initial, self.states)
        for state, start in self.initial.items():
            number = isinstance(start, int | float) and not isinstance(start, bool)
            if start != "p" and not number:
                message = f"{state!r} must start from a number or 'p', got {start!r}"
                raise RuleError(message)
            if start == "p" and state in self.per:
                message = f"{state!r} holds one value per {self.per[state]}: it must "
                raise RuleError(message + "start from a number, got 'p'")
        self._refuse_unknown("ranges", self.ranges, self.scalars)
        for name, bounds in self.ranges.items():
            check_kind(f"ranges[{name!r}]", bounds, Range)
        self._refuse_members()

    def _refuse_members(self) -> None:
        """Refuse hyper-parameters and state with the name of what options add."""
        module = getattr(self.function, "__module__", None) or ""
        if module.startswith("gdopt."):
            return
        for state in OF_OPTIONS.intersection(self.states):
            message = f"{self.name}: {state!r} is a state of the options of optimizers"
            raise RuleError(message + ": choose another name")
        for scalar in RESERVED.intersection(self.scalars):
            message = f"{self.name}: {scalar!r} is a member or an option of optimizers"
            raise RuleError(message + ": choose another name for the hyper-parameter")

    def _refuse_unknown(
        self, what: str, given: Mapping[str, Any], known: tuple[str, ...]
    ) -> None:
        for name in check_mapping(what, given):
            if name not in known:
                wanted = listed(known) or "nothing"
                raise RuleError(f"{self.name}: {what} may name {wanted}, got {name!r}")

    def __repr__(self) -> str:
        ranges = {name: bounds.text for name, bounds in self.ranges.items()}
        formula = f"{self.name}{self.kernel.signature}"
        per = f", per={dict(self.per)}" if self.per else ""
        return f"Rule({formula}, initial={dict(self.initial)}, ranges={ranges}{per})"

    def __str__(self) -> str:
        return f"{self!r}\n\n{self.kernel}"

    def __call__(self, *arrays: Any, **scalars: Any) -> Any:
        """Apply the formula to numbers or arrays, or to symbols within another rule.

        Of what overflows or underflows on the way, NumPy says nothing, as in a step.

        Raises:
            ArgumentTypeError: one of them is something else, is missing, or is unknown.
            ArgumentError: a built-in formula does not compute with such shapes.
        """
        given = {**self.defaults, **scalars}
        try:
            named = inspect.signature(self.function).bind(*arrays, **given).arguments
        except TypeError as error:
            message = f"{self.name}{self.kernel.signature} must have its arguments, "
            raise ArgumentTypeError(message + f"got others: {error}") from None
        for name, value in named.items():
            check_operand(f"{self.name}: {name}", value)
        try:
            with np.errstate(all="ignore"):
                return self.function(*arrays, **given)
        except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
            if isinstance(error, GdoptError) or not isinstance(self, BuiltInRule):
                raise
            message = f"{self.name}{self.kernel.signature} must have arguments that "
            raise ArgumentError(message + f"fit, got {error}") from error

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        return pickled(self, self.function, self.initial, self.ranges, self.per)

    @functools.cached_property
    def kernel(self) -> Kernel:
        """The formula as passes over memory, of which most need one."""
        return Kernel(self.function, self.per)

    @property
    def name(self) -> str:
        """Name of the formula."""
        return getattr(self.function, "__name__", "rule")

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state arrays."""
        return self.kernel.signature.arrays[1:-1]

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the hyper-parameters; what a step computes itself is not one."""
        return tuple(s for s in self.kernel.signature.scalars if s not in ENGINES_OWN)

    @property
    def defaults(self) -> Mapping[str, float]:
        """Hyper-parameters that need not be given."""
        return self.kernel.signature.defaults

    def start(self, state: str) -> float | str:
        """Say what a state array starts from."""
        return self.initial.get(state, 0)

    def kind_of(self, state: str, axes: int) -> str:
        """Return for how much of an array of some axes a state holds one value."""
        return own_kind(self.per.get(state, ELEMENT), axes)

    def check_axes(self, axes: Iterable[int], elements: Collection[str] = ()) -> None:
        """Trace the formula for arrays with these numbers of axes, if they count.

        Raises:
            RuleError: it does not take them.
        """
        if self.kernel.by_shape:
            for count in sorted(set(axes)):
                self.kernel.program(elements, count)

    def bounds(self, scalar: str) -> Range:
        """Return the range of a hyper-parameter."""
        return self.ranges.get(scalar, FINITE)


@overload
def rule(function: Callable[..., Any], /) -> Rule: ...
@overload
def rule(
    *,
    state: Mapping[str, float | str] | None = None,
    ranges: Mapping[str, str | Range] | None = None,
    per: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Rule]: ...
def rule(
    function: Callable[..., Any] | None = None,
    /,
    *,
    state: Mapping[str, float | str] | None = None,
    ranges: Mapping[str, str | Range] | None = None,
    per: Mapping[str, str] | None = None,
) -> Any:
    """Make a function a rule that `Optimizer` takes.

    Positional parameters are arrays: the parameter, its state, and last the gradient;
    the function returns the new parameter and state, in that order. Keyword-only
    parameters are hyper-parameters; ``t`` counts the steps from 1.

    Args:
        function: the formula, where the decorator is used bare.
        state: what each state array starts from, a number or ``"p"`` for a copy of the
            parameter; 0 where it is not named.
        ranges: of the hyper-parameters, in the notation ``"[0, 1)"``, or as another
            rule's `ranges` holds them.
        per: the state that holds one float64 value for each ``"row"``, ``"column"`` or
            ``"array"``, and not for each element, by its name.

    Raises:
        RuleError: the function cannot be traced, or its signature is not a rule's.

    >>> @rule(state={"a": "p"}, ranges={"lr": "[0, inf)"})
    ... def averaged(p, a, g, *, lr, t):
    ...     p = p - lr * g
    ...     return p, a + (p - a) / t
    >>> averaged(1.0, 1.0, 2.0, lr=0.1, t=1)
    (0.8, 0.8)
    """

    def make(function: Callable[..., Any]) -> Rule:
        given: dict[str, Any] = {"state": state, "ranges": ranges, "per": per}
        own = [dict(check_mapping(n, {} if v is None else v)) for n, v in given.items()]
        return Rule(function, own[0], _parsed(own[1]), own[2])

    return make if function is None else make(function)


def _parsed(ranges: Mapping[str, str | Range]) -> dict[str, Range]:
    return {
        name: Range.parse(bounds) if isinstance(bounds, str) else bounds
        for name, bounds in ranges.items()
    }


@dataclass(frozen=True, eq=False, repr=False)
class BuiltInRule(Rule):
    """A rule of gdopt, which is traced when it is first used: most never are."""

    kind: type = type  # class of the optimizer, whose defaults are the rule's

    def __reduce__(self) -> Any:
        return _with_fields, (self.name, self.initial, self.ranges)

    def __post_init__(self) -> None:
        """Check nothing: importing gdopt would take longer by all traces."""

    @functools.cached_property
    def kernel(self) -> Kernel:
        """The formula as passes over memory, with the defaults of the class."""
        kernel = Kernel(self.function, self.per)
        taken = inspect.signature(self.kind).parameters
        names = [name for name in kernel.signature.scalars if name in taken]
        defaults = {name: taken[name].default for name in names}
        kernel.signature = replace(kernel.signature, defaults=defaults)
        return kernel


def _with_fields(name: str, initial: Any, ranges: Any) -> Rule:
    """Return the built-in rule of a name, perhaps with other starts and ranges."""
    rule = BUILT_IN[name]
    same = (rule.initial, rule.ranges) == (initial, ranges)
    return rule if same else replace(rule, initial=initial, ranges=ranges)


def built_in(
    kind: type,
    *,
    start: Mapping[str, str | float] | None = None,
    per: Mapping[str, str] | None = None,
    **ranges: str,
) -> Callable[[Callable[..., Any]], BuiltInRule]:
    """Make a function a rule of a class of optimizers, written below the class.

    State starts from a number, ``"p"``, or the default of the class's argument that is
    named. Ranges are those of `RANGES` where they are not given.
    """
    taken = inspect.signature(kind).parameters
    initial = {
        state: taken[str(begin)].default if begin in taken else begin
        for state, begin in (start or {}).items()
    }

    def make(function: Callable[..., Any]) -> BuiltInRule:
        names = inspect.signature(function).parameters
        shared = {name: RANGES[name] for name in names if name in RANGES}
        own = _parsed(shared | ranges), per or {}
        made = BuiltInRule(function, initial, *own, kind=kind)
        BUILT_IN[made.name] = made
        return made

    return make


@functools.cache
def variant(
    rule: BuiltInRule, *, start: tuple[tuple[str, float], ...] = (), **ranges: str
) -> BuiltInRule:
    """Return a rule with other starts, in pairs, and ranges: the same one each time."""
    initial = {**rule.initial, **dict(start)}
    return replace(rule, initial=initial, ranges={**rule.ranges, **_parsed(ranges)})


def is_number(setting: Any, value: float) -> bool:
    """Return whether a setting is that number itself: no schedule and no array."""
    number = isinstance(setting, int | float | np.integer | np.floating)
    return number and not isinstance(setting, bool) and setting == value
