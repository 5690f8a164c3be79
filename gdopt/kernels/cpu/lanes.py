"""Prints how Numba loops reduce, in the public order.

Elements are added to lanes, which are joined by halves for each segment, and segments
by neighbours. A call costs as much as a short row, a slice a reference count, and a
signed index a test: offsets into whole buffers are unsigned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gdopt.kernels.sums import BIG, GROW, LANES, SEGMENT, SHRINK, SMALL
from gdopt.kernels.symbol import COLUMN, Symbol

NARROW = 32  # columns up to which the elements of TILE rows are taken side by side
TILE = 32
LEVELS = 64  # of neighbours, in an array of any size

PLAIN = ["{0} += x * x"]  # a square, to a lane in float64
SCALED = [
    f"big = abs(x) > {BIG!r}",
    f"small = abs(x) < {SMALL!r}",
    "{0} += 0.0 if big or small else x * x",
    f"x *= {SHRINK!r} if big else {GROW!r}",
    "{1} += x * x if big else 0.0",
    "{2} += x * x if small else 0.0",
]
ROOT = f"""
@jit
def root(taken, big, small):
    if big > 0:
        total, scale = big + taken * {SHRINK!r} * {SHRINK!r}, {1 / SHRINK!r}
    elif taken == 0:
        total, scale = small, {1 / GROW!r}
    else:
        total, scale = taken + small / {GROW!r} / {GROW!r}, 1.0
    return sqrt(total) * scale

"""
JOIN = {"sum": "x + y", "max": "x if x >= y or x != x else y"}
# A tree of neighbours: the newest results, one for each column, then level by level
# those that wait for their right neighbour.
HELPERS = """
@jit
def join_{operation}(x, y):
    return {join}


@jit
def push_{operation}(tree, place, columns, number):
    level = place + columns
    while number & 1:
        for c in range(columns):
            tree[place + c] = join_{operation}(tree[level + c], tree[place + c])
        level += columns
        number >>= 1
    for c in range(columns):
        tree[level + c] = tree[place + c]


@jit
def fold_{operation}(tree, place, columns, count):
    level, first = place + columns, True
    while count:
        if count & 1:
            for c in range(columns):
                x = tree[level + c]
                tree[place + c] = x if first else join_{operation}(x, tree[place + c])
            first = False
        level += columns
        count >>= 1

"""
HALVE = """
@inlined
def halve_{operation}_{rows}(lanes, place, width):
"""
HALF = """    if width > {half}:
        for l in range(uint64({size})):
            x, y = lanes[place + l], lanes[place + uint64({size}) + l]
            lanes[place + l] = join_{operation}(x, y)
"""


def inside(head: str, *parts: Iterable[str]) -> list[str]:
    """Return a line and, indented, those that it governs."""
    return [head, *(f"    {line}" for line in itertools.chain(*parts))]


def lane_count(rows: int) -> int:
    """Return the number of lanes where some short rows are taken side by side."""
    return LANES if rows == 1 else NARROW * rows


def print_helpers() -> str:
    """Print the functions that join terms, for sums and for largest values."""
    text = ROOT
    for operation, join in JOIN.items():
        text += HELPERS.format(operation=operation, join=join)
        for rows in (1, TILE):
            half = lane_count(rows) // rows
            text += HALVE.format(operation=operation, rows=rows)
            while half := half // 2:
                text += HALF.format(operation=operation, half=half, size=half * rows)
    return text


@dataclass(frozen=True)
class Sum:
    """Where a reduction is accumulated."""

    value: Symbol
    places: range  # of its terms, one or three, among those of the pass

    @property
    def operation(self) -> str:
        """How terms are joined."""
        return "max" if self.value.operation == "max" else "sum"

    def lanes(self, at: str = "l", rows: int = 1) -> list[str]:
        """Name a lane of each term."""
        size = lane_count(rows)
        return [f"lanes[{at} + uint64({k * size})]" for k in self.places]

    def columns(self, at: str) -> list[str]:
        """Name the sum of a column of each term."""
        return [f"sums[uint64({k} * depth * longest) + {at}]" for k in self.places]

    def tops(self) -> list[str]:
        """Name the roots of the trees that join the segments."""
        return [f"tree[{k * LEVELS}]" for k in self.places]

    def trees(self) -> list[str]:
        """Print the arguments of the functions that join neighbours."""
        if self.value.kind == COLUMN:
            return [f"sums, {k} * depth * longest, columns" for k in self.places]
        return [f"tree, {k * LEVELS}, 1" for k in self.places]

    def start(self, targets: Iterable[str]) -> list[str]:
        """Print what terms start from."""
        first = "-inf" if self.operation == "max" else "0.0"
        return [f"{target} = {first}" for target in targets]

    def add(self, operand: str, targets: Sequence[str]) -> list[str]:
        """Print how an element is added to the terms."""
        if self.value.operation == "norm":
            lines = SCALED if len(self.places) > 1 else PLAIN
        else:
            lines = [f"{{0}} = join_{self.operation}({{0}}, x)"]
        return [line.format(*targets) for line in (f"x = float64({operand})", *lines)]

    def halve(self, rows: int = 1) -> list[str]:
        """Print how lanes are joined by halves; those beyond ``width`` were not set."""
        name, size = f"halve_{self.operation}_{rows}", lane_count(rows)
        return [f"{name}(lanes, uint64({k * size}), width)" for k in self.places]

    def push(self, number: str) -> list[str]:
        """Print how the latest results, of that number, join their neighbours."""
        return [f"push_{self.operation}({tree}, {number})" for tree in self.trees()]

    def fold(self, count: str) -> list[str]:
        """Print how all results are joined."""
        return [f"fold_{self.operation}({tree}, {count})" for tree in self.trees()]

    def finish(self, terms: Sequence[str]) -> str:
        """Print the value, from its terms."""
        if self.value.operation != "norm":
            return terms[0]
        return f"root({', '.join([*terms, '0.0', '0.0'][:3])})"


def gather(parts: Iterable[Iterable[str]]) -> list[str]:
    """Return lines one after the other."""
    return list(itertools.chain.from_iterable(parts))


def set_width(total: str) -> list[str]:
    """Print how many lanes a number of elements reaches."""
    loop = inside(f"while width < {LANES} and width < {total}:", ["width *= 2"])
    return ["width = 1", *loop]


def print_segments(
    sums: Sequence[Sum],
    total: str,
    body: Iterable[str],
    first: str = "0",
    by_row: Sequence[str] | None = None,
) -> list[str]:
    """Print a loop over elements, with their sums, segment by segment.

    The body is done for element l of those from i on, in the unit from j on, where
    `first` is the unit's first. For elements of several rows, `by_row` starts each.
    """
    loop = inside("for l in range(uint64(m)):", body)
    if by_row is None:
        place = [f"j, i = uint64({first} + low), uint64(low)"]
        head = f"for low in range({SEGMENT} * s, high, {LANES}):"
        walk = inside(head, [f"m = min({LANES}, high - low)", *place], loop)
    else:
        walk = [f"low = {SEGMENT} * s"]
        walk += inside(
            "while low < high:",
            ["row = low // columns", "column = low - row * columns"],
            [f"m = min({LANES} - low % {LANES}, columns - column, high - low)"],
            [f"b, j, i = uint64(low % {LANES}), uint64(low), uint64(column)"],
            ["c = uint64(row)", *by_row],
            loop,
            ["low += m"],
        )
    starts = (one.start(one.lanes()) for one in sums)
    ends = [
        f"{top} = {lane}"
        for one in sums
        for top, lane in zip(one.tops(), one.lanes("uint64(0)"), strict=True)
    ]
    push = gather(one.push("s") for one in sums)
    return inside(
        f"for s in range(({total} + {SEGMENT - 1}) // {SEGMENT}):",
        [f"high = min({total}, {SEGMENT} * (s + 1))"],
        inside("for l in range(uint64(width)):", *starts),
        walk,
        gather(own.halve() for own in sums),
        ends,
        inside(f"if {total} > {SEGMENT}:", push),
    )


def fold_segments(sums: Sequence[Sum], total: str) -> list[str]:
    """Print how the results of segments are joined."""
    count = f"({total} + {SEGMENT - 1}) // {SEGMENT}"
    lines = gather(one.fold(count) for one in sums)
    return inside(f"if {total} > {SEGMENT}:", lines) if lines else []
