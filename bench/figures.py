"""The figures that gdopt is judged by: what is compared with what, and the bar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cases import CASES, MILLION, Case, Training, arrays_of_256, one_array
from interleave import Effort

FULL = Effort(makes=6, rounds=3)
BUSY = Effort(makes=7, rounds=1, calls=200, busy=True)
MANY = Effort(makes=1, rounds=50, seconds=0.1)
ONCE = Effort(makes=1, rounds=20)
ZEROS = Effort(makes=6, rounds=1, calls=100)
ZERO_STEPS = 900
NUMPY, NUMBA, ONE_CORE = "gdopt NumPy", "gdopt Numba", "gdopt Numba, 1 core"
TEXTBOOK, LOOP = "textbook NumPy", "plain Numba loop"
FUSED, FUSED_1, OPTAX = "torch fused", "torch fused, 1 thread", "optax under jit"
COMPILED, PARTS = "torch compiled", "gdopt Numba, no products"
TRAFFIC, PRODUCTS = "memory traffic", "products alone"
TRAINING_PEERS = (OPTAX, FUSED, COMPILED)


@dataclass(frozen=True)
class Figure:
    """One side's time over another's, and what it may be.

    Attributes:
        what: is measured.
        one: the contender above the line.
        others: those below the line, of which the fastest counts.
        case: of all; None for what `startup` times.
        target: bound of the ratio, if there is one.
        other_case: of those below the line, where it is another one.
        earlier: below the line is the contender of the earlier checkout.
        by: statistics of a round that are compared; ``"min"`` is that of all rounds.
        difference: the seconds above the line are compared less those below it.
        product: whether a product of matrices runs before each step.
        zeros: the contender above the line has had gradients of zeros for long.
        effort: how often to measure.
        shared: contenders share a process, as they are only tried.
    """

    what: str
    one: str
    others: tuple[str, ...] = ()
    case: Case | Training | None = None
    target: float | None = None
    other_case: Case | None = None
    earlier: bool = False
    by: tuple[str, ...] = ("median",)
    difference: bool = False
    product: bool = False
    zeros: bool = False
    effort: Effort = FULL
    shared: bool = False


def figures() -> list[Figure]:
    """List all figures; ``--only`` finds them by the words of `what`."""
    parts = after_products, large_arrays, training, busy, norms, averages
    parts += many_arrays, rows, small_arrays, elementwise, starts, own_rules, zeros
    return [figure for part in parts for figure in part()]


def after_products() -> Iterator[Figure]:
    million = one_array(10**6)
    below = replace(million, name="adam, 999,999 elements", shapes=((999_999,),))
    what = "after a product, one array of 1e6"
    yield Figure(
        f"{what}, over 999,999",
        NUMBA,
        (NUMBA,),
        million,
        1.3,
        other_case=below,
        product=True,
    )
    yield Figure(
        f"{what}, over a serial loop", NUMBA, (LOOP,), million, 0.7, product=True
    )


def large_arrays() -> Iterator[Figure]:
    large, what = one_array(10**7), "one array of 1e7"
    yield Figure(what, NUMPY, (FUSED,), large, 2.6)
    yield Figure(what, NUMBA, (FUSED,), large, 0.95)
    yield Figure(f"{what}, over the memory's limit", NUMBA, (TRAFFIC,), large)
    yield Figure(
        f"{what}, over the earlier checkout",
        NUMBA,
        case=large,
        target=1.05,
        earlier=True,
        by=("min",),
        effort=MANY,
    )


def training() -> Iterator[Figure]:
    small = Training()
    yield Figure(f"{small.name}, batch 128", NUMPY, (FUSED,), small, 1.15)
    yield Figure(f"{small.name}, batch 128", NUMBA, TRAINING_PEERS, small, 0.95)
    yield Figure(f"{MILLION.name}, batch 128", NUMBA, TRAINING_PEERS, MILLION, 0.85)
    yield Figure(f"{MILLION.name}, over 1 core", NUMBA, (ONE_CORE,), MILLION, 0.65)
    for case in (small, MILLION):
        yield Figure(f"{case.name}, over its products", NUMBA, (PRODUCTS,), case)
    what = f"{small.name}, all but products, over the earlier checkout"
    yield Figure(what, PARTS, case=small, target=0.45, earlier=True)


def busy() -> Iterator[Figure]:
    both = ("median", "mean")
    for case in (Training(), MILLION):
        what = f"busy cores, {case.name}"
        yield Figure(what, NUMBA, (OPTAX,), case, 1.0, by=both, effort=BUSY)
    what, million = "busy cores, one array of 1e6", one_array(10**6)
    yield Figure(what, NUMBA, (LOOP,), million, effort=BUSY)
    yield Figure(
        f"{what} after a product", NUMBA, (LOOP,), million, product=True, effort=BUSY
    )


def norms() -> Iterator[Figure]:
    limit = {"clip_norm": 1.0}
    large, some = one_array(10**7), Case("3e4 elements", ((30_000,),))
    arena = CASES["300 arrays of 256, in an arena"]
    fifty = [
        Case(f"50 arrays of 64, {label}", ((64,),) * 50, memory=memory)
        for memory, label in (("arena", "in an arena"), ("apart", "apart"))
    ]
    for name, case, bar in (
        (ONE_CORE, large, 1.4),
        (NUMBA, some, 2.0),
        *((NUMBA, case, 2.0) for case in fifty),
        (NUMBA, arena, 2.3),
    ):
        clipped = replace(case, options=limit)
        what = f"clip_norm over a step without, {case.name}"
        yield Figure(what, name, (name,), clipped, bar, other_case=case)
    for case in (one_array(10**6), arena):
        clipped = replace(case, options=limit)
        what = f"clip_norm over the earlier checkout, {case.name}"
        yield Figure(what, NUMPY, case=clipped, target=1.0, earlier=True)


def averages() -> Iterator[Figure]:
    for count in (10**6, 10**7):
        case = one_array(count, "ewa")
        yield Figure(f"EWA.update, {case.name}", NUMBA, (FUSED,), case, 1.1)
        what = f"EWA.update, {case.name}, over the memory's limit"
        yield Figure(what, NUMBA, (TRAFFIC,), case)


def many_arrays() -> Iterator[Figure]:
    arena = CASES["300 arrays of 256, in an arena"]
    fresh = CASES["300 arrays of 256, apart, fresh gradients"]
    for name, bar in ((NUMPY, 0.15), (NUMBA, 0.05)):
        yield Figure("300 arrays of 256 in an arena", name, (FUSED,), arena, bar)
    what = "plain dict of 300 arrays, fresh gradients"
    yield Figure(what, NUMPY, (FUSED_1,), fresh, 1.0)
    yield Figure(what, NUMBA, (FUSED,), fresh, 0.6)
    carried = replace(fresh, name="300 of torch's of 256", rule="adamw", memory="torch")
    yield Figure("300 parameters of torch of 256", NUMBA, (FUSED,), carried, 1.0)
    copied = CASES["100 arrays, 12.5 M, gradients copied into an arena"]
    own = CASES["100 arrays, 12.5 M, in an arena"]
    what = "12.5 M gradients copied into an arena, over a step without"
    yield Figure(what, NUMBA, (NUMBA,), copied, other_case=own)


def rows() -> Iterator[Figure]:
    table = Case("20,000 rows of 128", ((20_000, 128),))
    what = "at=1,000 random rows of 20,000, over all"
    for name in (NUMPY, NUMBA):
        yield Figure(what, f"{name}, rows", (name,), table, 0.2)


def small_arrays() -> Iterator[Figure]:
    thousand = one_array(10**3)
    arena = replace(thousand, memory="arena")
    yield Figure("small: 1e3 elements", NUMBA, (LOOP,), thousand, 3.0)
    yield Figure(
        "small: 1e3 in an arena", NUMBA, (LOOP,), arena, 2.0, other_case=thousand
    )
    for count in (10, 100, 1000):
        what, case = f"small: {count:,} elements", one_array(count)
        yield Figure(what, NUMPY, (TEXTBOOK,), case, 1.7)
    dozens = arrays_of_256(36, "fresh")
    set_anew = replace(dozens, sets_lr=True)
    what = "small: 36 arrays, the rate set at every step, over a step without"
    yield Figure(what, NUMBA, (NUMBA,), set_anew, 1.05, other_case=dozens)


def elementwise() -> Iterator[Figure]:
    for rule in ("minimum", "maximum", "clip"):
        what = f"{rule}, one array of 1e6"
        yield Figure(what, NUMPY, (TEXTBOOK,), one_array(10**6, rule), 1.5)


def starts() -> Iterator[Figure]:
    for one, other, bar, difference in (
        ("gdopt's import after NumPy", "import numpy", 0.7, False),
        ("gdopt's first step, cached", "a cached line of Numba", 0.05, True),
        ("gdopt --help", "python -c 'import numpy'", 2.5, False),
    ):
        what = f"start: {one}"
        yield Figure(
            what,
            one,
            (other,),
            target=bar,
            by=("min",),
            difference=difference,
            effort=ONCE,
        )


def own_rules() -> Iterator[Figure]:
    arena = CASES["300 arrays of 256, in an arena"]
    for case in (arena, one_array(10**6), one_array(10**7)):
        name = case.name.removeprefix("adam, ")
        what = f"a user's own Adam over the built-in, {name}"
        for one in (NUMPY, NUMBA):
            yield Figure(what, f"{one}, own rule", (one,), case, 1.05)


def zeros() -> Iterator[Figure]:
    what = "last 100 of 1,000 steps with zero gradients over ordinary ones, 1e6"
    million = one_array(10**6)
    for name, bar in ((NUMPY, 1.5), (NUMBA, 1.5), (FUSED, None)):
        yield Figure(what, name, (name,), million, bar, zeros=True, effort=ZEROS)


def shrink(figure: Figure) -> Figure:
    """Make a figure small enough to try whether it works."""
    effort = replace(
        figure.effort,
        makes=1,
        rounds=1,
        seconds=0.001,
        calls=figure.effort.calls and 5,
    )
    cases: dict[str, Any] = {
        name: _small(getattr(figure, name)) for name in ("case", "other_case")
    }
    others = tuple(name for name in figure.others if name != COMPILED)
    tried = {"target": None, "effort": effort, "others": others, "shared": True}
    return replace(figure, **tried, **cases)


def _small(case: Case | Training | None) -> Case | Training | None:
    if case is None:
        return None
    if isinstance(case, Training):
        return replace(case, sizes=(20, 8, 4), batches=2)
    several = ((4,),) * 3
    return replace(case, shapes=several if len(case.shapes) > 1 else ((1000,),))
