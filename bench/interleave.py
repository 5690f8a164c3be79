"""Times several sides alternately, each in a process of its own.

The idle threads of one library slow down the next one in the same process: OpenBLAS's
and OpenMP's spin for tens of milliseconds. Processes that wait for a request do not.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from load import Foreign, Spinners
from machine import HERE, environment

REST = 0.05  # seconds, until idle threads of the side before have stopped spinning
MISSED = 10  # exit status, which neither Python nor pytest gives to errors
Times = dict[str, float]  # seconds of a step: median, min, p90 and mean of a round


@dataclass(frozen=True)
class Effort:
    """How long and how often to measure.

    Attributes:
        makes: how often all sides are made anew: where memory happens to lie changes
            a step by up to 60 %, as addresses that agree in their last bits collide.
        rounds: of each side, every time.
        seconds: that a round takes at least.
        calls: steps of a round, timed one by one, in place of `seconds`.
        busy: every make is a new process, and a spinner runs on each core meanwhile.
    """

    makes: int
    rounds: int
    seconds: float = 0.05
    calls: int | None = None
    busy: bool = False


class SideError(RuntimeError):
    """A side could not be made or timed.

    Attributes:
        kind: the name of the error's class.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Side:
    """What is timed in a process of its own.

    Attributes:
        key: tells apart the sides of one process.
        function: makes the contender, as ``"module.name"``.
        arguments: of that function.
        check: another function of the same arguments, called once at first.
        checkout: of gdopt, which takes the place of the present one.
        cores: how many its process may use; by default all.
        product: whether a product of matrices runs before each step.
        process: tells apart processes; by default the key.
    """

    key: str
    function: str
    arguments: tuple[Any, ...] = ()
    check: str | None = None
    checkout: Path | None = None
    cores: int | None = None
    product: bool = False
    process: str | None = None

    @property
    def place(self) -> tuple[Any, ...]:
        """Return the key of the process: sides with equal keys share one."""
        return self.process or self.key, self.checkout

    def start(self) -> Worker:
        """Start its process."""
        return Worker(self)


class Worker:
    """The process of a side."""

    def __init__(self, side: Side) -> None:
        limit = [] if side.cores is None else [str(side.cores)]
        self._process = subprocess.Popen(  # noqa: S603 - its own script
            [sys.executable, str(HERE / "worker.py"), *limit],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(side.checkout),
        )
        self.pids = [self._process.pid]

    def request(self, name: str, *arguments: Any) -> Any:
        """Have a method of `worker.Requests` called; return what it returns.

        Raises:
            SideError: it raised an error, or the process has ended.
        """
        process = self._process
        try:
            pickle.dump((name, arguments), process.stdin)
            process.stdin.flush()
            done, value = pickle.load(process.stdout)  # noqa: S301 - the bench's own
        except (EOFError, BrokenPipeError):
            kind = "Ended"
            raise SideError(kind, f"ended with exit status {process.wait()}") from None
        if not done:
            raise SideError(*value)
        return value

    def make(self, side: Side, effort: Effort, *, first: bool) -> None:
        """Make the contender of a side anew."""
        if first and side.check is not None:
            self.request("call", side.check, side.arguments)
        self.request(
            "make",
            side.key,
            side.function,
            side.arguments,
            effort.seconds,
            effort.calls,
            side.product,
        )

    def time(self, side: Side) -> Times:
        """Time a round of a side."""
        return self.request("time", side.key)

    def close(self) -> None:
        """End the process, which holds nothing that is needed."""
        self._process.kill()
        self._process.communicate()


class Workers:
    """The processes of sides, started where they are asked for, and ended together."""

    def __init__(self) -> None:
        self._running: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def of(self, side: Any) -> Any:
        """Return the process of a side."""
        if side.place not in self._running:
            self._running[side.place] = side.start()
        return self._running[side.place]

    def close(self) -> None:
        """End all."""
        while self._running:
            self._running.popitem()[1].close()


@dataclass(frozen=True)
class Turn:
    """A round of every side.

    Attributes:
        times: of each side, in their order.
        foreign: share of the processor's time that other processes took meanwhile.
    """

    times: list[Times]
    foreign: float


def take_turns(
    sides: Sequence[Any], effort: Effort, workers: Workers | None = None
) -> list[Turn]:
    """Make and time all sides alternately, in the reverse order every other time.

    Args:
        sides: each a `Side`, or what else can be started, made and timed.
        effort: how often.
        workers: processes to use, which stay; by default they end with this call.

    Raises:
        SideError: a side cannot be made or timed.
    """
    found = []
    with Workers() if workers is None else nullcontext(workers) as running:
        for k in range(effort.makes):
            if effort.busy and k > 0:
                running.close()
            for side in _ordered(sides, k):
                running.of(side).make(side, effort, first=k == 0)
            found += [
                _turn(sides, number, effort, running)
                for number in range(k, k + effort.rounds)
            ]
    return found


def _ordered(sides: Sequence[Any], number: int) -> list[Any]:
    return list(reversed(sides)) if number % 2 else list(sides)


def _turn(sides: Sequence[Any], number: int, effort: Effort, running: Workers) -> Turn:
    times, rest = {}, min(REST, effort.seconds)
    with Spinners() if effort.busy else nullcontext() as spinners:
        own = [pid for side in sides for pid in running.of(side).pids]
        own += spinners.pids if spinners else []
        with Foreign(own) as foreign:
            for side in _ordered(sides, number):
                time.sleep(rest)
                times[id(side)] = running.of(side).time(side)
    return Turn([times[id(side)] for side in sides], foreign.share)


def interleave(
    sides: Sequence[Any], effort: Effort, workers: Workers | None = None
) -> list[tuple[float, ...]]:
    """Return the median seconds of a step of each side, for every turn."""
    turns = take_turns(sides, effort, workers)
    return [tuple(times["median"] for times in turn.times) for turn in turns]
