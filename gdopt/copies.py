"""What copies and pickles cannot hold, and how an object is made again."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, NoReturn, ParamSpec, Self, TypeVar

from gdopt.errors import ArgumentTypeError

P = ParamSpec("P")
T = TypeVar("T")


class NotCopied:
    """What is bound to where it runs; `_instead` is what may be copied."""

    _instead: ClassVar[str]

    def __reduce_ex__(self, _: Any) -> NoReturn:
        message = f"{self._instead}, got a {type(self).__name__} to copy or pickle"
        raise ArgumentTypeError(message)


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
