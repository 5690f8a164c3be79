"""What copies and pickles cannot hold, and how an object is made again."""

from __future__ import annotations

import functools
import importlib
import operator
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, ClassVar, NoReturn, ParamSpec, Self, TypeVar

from gdopt.errors import ArgumentTypeError, RuleError

P = ParamSpec("P")
T = TypeVar("T")


class NotCopied:
    """What is bound to where it runs; `_instead` is what may be copied."""

    _instead: ClassVar[str]

    def __reduce_ex__(self, _: Any) -> NoReturn:
        message = f"{self._instead}, got a {type(self).__name__} to copy or pickle"
        raise ArgumentTypeError(message)


class MappingProxy(Mapping[str, T]):
    """Shows a mapping, as `types.MappingProxyType`, which cannot be copied."""

    def __init__(self, held: Mapping[str, T]) -> None:
        self._held = held

    def __getitem__(self, name: str) -> T:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return repr(self._held)


def pickled(made: object, function: Callable[..., Any], *rest: Any) -> Any:
    """Say how pickle finds what is made of a function, or makes it again.

    Raises:
        RuleError: it does not find the function by its name.
    """
    module, name = function.__module__, function.__qualname__
    here = _find(module, name)
    if here is made:  # it was decorated
        return _find, (module, name)
    if here is not function:
        message = f"{module}.{name} cannot be pickled: define it at the top of a module"
        raise RuleError(message)
    return type(made), (function, *rest)


def _find(module: str, name: str) -> Any:
    if module not in sys.modules:
        importlib.import_module(module)
    here: Any = sys.modules[module]
    for part in name.split("."):
        here = getattr(here, part, None)
    return here


class Running(NotCopied, Iterator[T]):
    """A running loop: what a generator yields."""

    _instead = "a running loop is not copied: copy what it runs over, and its state"

    def __init__(self, generator: Generator[T, None, None]) -> None:
        self.close, self._next = generator.close, generator.__next__

    def __iter__(self) -> Self:
        return self

    # Not in a frame of its own: a signal would come between generator and caller.
    __next__ = property(operator.attrgetter("_next"))


def running(function: Callable[P, Iterator[T]]) -> Callable[P, Running[T]]:
    """Let a generator function return a loop that refuses to be copied."""

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> Running[T]:
        return Running(function(*arguments, **options))  # type: ignore[arg-type]

    return wrapper


def made_again(function: Callable[P, T]) -> Callable[P, T]:
    """Let what a function returns keep the call, `_made`, that makes it again."""

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> T:
        made = function(*arguments, **options)
        again = functools.partial(wrapper, *arguments, **options)
        vars(made)["_made"] = again, ()
        return made

    return wrapper
