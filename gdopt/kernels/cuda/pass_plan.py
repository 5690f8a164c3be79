"""Says which launch computes each value that is not an element's, and where it is kept.

A launch does one pass. Its blocks sum their parts; the last block of an array to finish
adds these up, and computes what hangs on them before the next pass. What hangs on a row
or a column alone is computed by the block that finishes it, where one does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gdopt.kernels.passes import REDUCTIONS, ArrayPass, ReducingProgram
from gdopt.kernels.symbol import ARRAY, COLUMN, ROW, SCALAR, Symbol, is_among


@dataclass(frozen=True, eq=False)
class Group:
    """Values of one kind that one loop computes, in order."""

    kind: str
    nodes: tuple[Symbol, ...]
    reduced: bool = False  # the first ones are reductions of the launch's pass
    local: bool = False  # a block may compute them before the others of the array end
    writes: dict[int, Symbol] = field(default_factory=dict)  # by places of inputs


@dataclass(frozen=True, eq=False)
class PassLaunch:
    """One launch, and what is computed from its sums."""

    one: ArrayPass | None  # None where only values of arrays, rows or columns are made
    groups: tuple[Group, ...]  # of rows, columns, the array; then what needs several


class PassPlan:
    """The launches of a program, in order, and where they keep values, by kind."""

    def __init__(self, program: ReducingProgram) -> None:
        self.program = program
        first, *others = program.between
        passes: list[ArrayPass | None] = list(program.passes)
        nodes = others
        self.inline = set(first)  # computed again wherever they are needed
        if not passes or any(node.operation in REDUCTIONS for node in first):
            self.inline, passes, nodes = set(), [None, *passes], [first, *others]
        nodes = [*nodes, *[()] * (len(passes) - len(nodes))]
        self.launches = [
            PassLaunch(one, tuple(_groups(one, own)))
            for one, own in zip(passes, nodes, strict=True)
        ]
        self._place_results()
        self.slots = self._find_slots()

    def leaves(self, symbols: Iterable[Symbol]) -> set[Symbol]:
        """Return what is read for some values: those inline are not kept anywhere."""
        found: set[Symbol] = set()
        for symbol in symbols:
            if symbol in self.inline:
                found |= self.leaves(symbol.arguments)
            elif symbol.kind != SCALAR:
                found.add(symbol)
        return found

    def reads(self, group: Group) -> set[Symbol]:
        """Return the values from elsewhere, and from the group, that it reads."""
        arguments = [argument for node in group.nodes for argument in node.arguments]
        own = [argument for argument in arguments if not argument.element]
        return self.leaves([*own, *group.writes.values()])

    def _place_results(self) -> None:
        """Say where each state that is not of elements is written: as soon as can be.

        That is behind all that read its old value, and not before all have read it.
        """
        program = self.program
        late: dict[str, dict[int, Symbol]] = {}
        for place, result in enumerate(program.results):
            symbol = program.inputs[place]
            if symbol.element or result is symbol:
                continue
            every = (group for launch in self.launches for group in launch.groups)
            group = next((g for g in every if is_among(result, g.nodes)), None)
            if group is not None and self._may_overwrite(symbol, group):
                group.writes[place] = result
            else:
                late.setdefault(symbol.kind, {})[place] = result
        last = self.launches[-1]
        groups = [Group(kind, (), writes=own) for kind, own in late.items()]
        self.launches[-1] = PassLaunch(last.one, (*last.groups, *groups))

    def _may_overwrite(self, symbol: Symbol, group: Group) -> bool:
        """Return whether nothing reads an old value once that group has begun."""
        begun = False
        for launch in self.launches:
            own = group in launch.groups
            hoisted = launch.one.program.hoisted if launch.one else ()
            read = symbol in self.leaves(hoisted)
            if read and (begun or (own and group.local)):
                return False
            for other in launch.groups:
                before = not begun and (not own or not group.local)
                if other is not group and not before and symbol in self.reads(other):
                    return False
                begun = begun or other is group
        results = self.program.results
        return not any(symbol in self.leaves([result]) for result in results)

    def _find_slots(self) -> dict[str, dict[Symbol, int]]:
        """Number the values that are read in another loop, or launch, than their own.

        The last block has the values of its array in registers.
        """
        slots: dict[str, dict[Symbol, int]] = {ARRAY: {}, ROW: {}, COLUMN: {}}
        home: dict[Symbol, tuple[int, Group]] = {}
        for number, launch in enumerate(self.launches):
            used: list[tuple[Group | None, set[Symbol]]] = []
            if launch.one is not None:
                used.append((None, self.leaves(launch.one.program.hoisted)))
            for group in launch.groups:
                home |= dict.fromkeys(group.nodes, (number, group))
            used += [(group, self.reads(group)) for group in launch.groups]
            for user, symbols in used:
                for symbol in (known for known in home if known in symbols):
                    own_launch, own_group = home[symbol]
                    near = own_launch == number and symbol.kind == ARRAY
                    if own_group is not user and not near:
                        slots[symbol.kind].setdefault(symbol, len(slots[symbol.kind]))
        return slots


def _groups(one: ArrayPass | None, nodes: tuple[Symbol, ...]) -> list[Group]:
    """Group what is computed after a pass."""
    reductions = one.reductions if one else ()
    new = {*reductions, *nodes}
    found, taken = [], set[Symbol]()
    for kind in (ROW, COLUMN):
        own = [value for value in reductions if value.kind == kind]
        if not own:
            continue
        for node in nodes:
            needs = set(node.arguments) & new
            if (
                node.kind == kind
                and node.operation not in REDUCTIONS
                and needs <= set(own)
            ):
                own.append(node)
        taken |= set(own)
        found.append(Group(kind, tuple(own), reduced=True, local=True))
    own = [value for value in reductions if value.kind == ARRAY]
    if own:
        taken |= set(own)
        found.append(Group(ARRAY, tuple(own), reduced=True))
    rest: list[list[Symbol]] = []
    for node in nodes:
        if node in taken:
            continue
        joins = rest and rest[-1][0].kind == node.kind
        if joins and not {node.operation, rest[-1][0].operation} & set(REDUCTIONS):
            rest[-1].append(node)
        else:
            rest.append([node])
    return found + [Group(own[0].kind, tuple(own)) for own in rest]
