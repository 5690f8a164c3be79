"""Prints what runs before a pass, without the host.

A one-thread kernel fills the table of hoisted values from what is known on the host
(float64, by value or as rows for many steps ahead) and what is known on the device
alone: 0-d arrays, and the norm of the gradients. It decides whether the step is done,
and counts the steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gdopt.kernels.cuda.text import KernelText, print_statements
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import VALUE, BaseProgram


@dataclass(frozen=True)
class HoistedSplit:
    """The hoisted values of a program, parted by where they are known."""

    known: tuple[Symbol, ...]  # expressions that the host computes
    given: tuple[str, ...]  # names of scalars that live on the device, in order
    instructions: tuple[Symbol, ...]  # of the device, each behind what it needs


def split_hoisted(program: BaseProgram, on_device: Collection[str]) -> HoistedSplit:
    """Find the largest expressions that do without the scalars on the device."""
    known: dict[Symbol, None] = {}
    given: dict[str, None] = {}
    instructions: dict[Symbol, None] = {}
    needs: dict[Symbol, bool] = {}

    def needs_device(node: Symbol) -> bool:
        if node not in needs:
            parts = [needs_device(argument) for argument in node.arguments]
            needs[node] = node.name in on_device or any(parts)
        return needs[node]

    def visit(node: Symbol) -> None:
        if node in instructions or node in known or node.name in given:
            return
        if not needs_device(node):
            known[node] = None
        elif node.operation is None:
            given[node.name] = None
        else:
            for argument in node.arguments:
                visit(argument)
            instructions[node] = None

    for value in program.hoisted:
        visit(value)
    return HoistedSplit(tuple(known), tuple(given), tuple(instructions))


@dataclass(frozen=True)
class PrologueOptions:
    """What a prologue does besides filling the table."""

    norm: bool = False  # read norm_, the norm of the gradients
    given_norm: bool = False  # take it from given_ instead
    skip: bool = False  # decide done_: False where norm_[1] is not finite
    gated: bool = False  # done_ is decided by others
    counter: bool = False  # take the row of the step that counter_ counts
    counts: bool = False  # count that step, after which it is t
    by_value: bool = False  # the host's values are k0_, k1_, ...; the table has one row


def print_prologue(
    program: BaseProgram, split: HoistedSplit, compute: str, options: PrologueOptions
) -> KernelText:
    """Print the kernel; one thread runs it.

    It takes known_ (steps, rows, known), or k0_, k1_, ..., and given_ (rows, given),
    float64; count_, the number of rows; norm_; and writes scalars_ (rows, hoisted),
    done_ and counter_ = (steps done, step of the first row).
    """
    inputs = ["raw float64 given_", "int32 count_"]
    if options.by_value:
        inputs += [f"float64 k{k}_" for k in range(len(split.known))]
    else:
        inputs.append("raw float64 known_")
    outputs = [f"raw {compute} scalars_"]
    body = ["long long step_ = 0;"]
    if options.norm or options.skip:
        inputs.append("raw float64 norm_")
        body.append("const double root_ = norm_[0];")
    if options.counter:
        outputs.append("raw int64 counter_")
        body.append("step_ = counter_[0] - counter_[1];")
    body += ["for (int r_ = 0; r_ < count_; ++r_) {"]
    body += ["  " + line for line in _row(program, split, options)]
    body.append("}")
    if options.skip:
        outputs.append("raw bool done_")
        body += [
            "const bool finite_ = norm_[1] - norm_[1] == 0.0;",
            "done_[0] = finite_;",
        ]
    if options.counter and options.counts:
        body.append(f"counter_[0] += {'finite_' if options.skip else '1'};")
    name = f"gdopt_{program.name}_prologue"
    return KernelText(", ".join(inputs), ", ".join(outputs), "\n".join(body), name)


def _row(
    program: BaseProgram, split: HoistedSplit, options: PrologueOptions
) -> list[str]:
    """Print how one row of the table is computed, in float64."""
    width = len(split.known)
    names: dict[Symbol, str] = {}
    lines = [f"const ptrdiff_t at_ = (step_ * count_ + r_) * {width};"]
    for k, symbol in enumerate(split.known):
        names[symbol] = f"h{k}_"
        source = f"k{k}_" if options.by_value else f"known_[at_ + {k}]"
        lines.append(f"const double h{k}_ = {source};")
    for k, name in enumerate(split.given):
        source = f"given_[r_ * {len(split.given)} + {k}]"
        if name == "norm" and not options.given_norm:
            source = "root_"
        lines.append(f"const double {VALUE.format(name)} = {source};")
    for node in (*split.instructions, *program.hoisted):
        for leaf in (node, *node.arguments):
            if leaf.name in split.given:
                names[leaf] = VALUE.format(leaf.name)
    lines += print_statements(split.instructions, names, "double")
    for k, value in enumerate(program.hoisted):
        place = f"(ptrdiff_t)r_ * {len(program.hoisted)} + {k}"
        lines.append(f"scalars_[{place}] = {names[value]};")
    return lines
