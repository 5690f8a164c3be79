"""Prints what runs before a pass, without the host.

The sum of squares comes in two stages whose order is fixed, and so are its bits.
Element number k of a layout is added, in float64, to lane k modulo the number of lanes,
one after the other; the lanes are then added to 256 totals. NumPy does the same in
`gdopt.kernels.norm`. Where an element is NaN or infinite, the sum is NaN; where
finite squares overflow, it is infinite.

A one-thread kernel fills the table of hoisted values from what is known on the host
(float64, by value or as rows for many steps ahead) and what is known on the device
alone: 0-d arrays, and the norm of the gradients. It decides whether the step is done,
and counts the steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gdopt.arrays.dtypes import Storage, compute_name
from gdopt.kernels.cuda.fused import (
    KernelVariant,
    find_array,
    find_place,
    read_pack,
    separate_inputs,
)
from gdopt.kernels.cuda.text import (
    C_TYPES,
    RAW_TYPES,
    KernelText,
    print_statements,
    value_name,
)
from gdopt.kernels.norm import TOTALS
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program


def print_lanes(
    stored: Storage, *, columns: int = 1, column: int = 0, strided: bool = False
) -> KernelText:
    """Print the first stage: ``lanes / width`` threads of a pack of lanes each.

    It takes g (size,), or for separate arrays the tables of `print_fused`; size_ and
    lanes_; and writes partials_ (lanes,).

    Args:
        stored: the gradients.
        columns: of the table of pointers.
        column: which of them is the gradients'.
        strided: whether the tables have strides.
    """
    every = (stored,) * columns
    variant = KernelVariant(every, compute_name(stored.dtype), strided=strided)
    inputs, outputs = ["int64 size_", "int64 lanes_"], ["raw float64 partials_"]
    if stored.separate:
        inputs += separate_inputs(strided=strided)
        outputs.append("raw uint64 pointers_")
    else:
        inputs.append(f"raw {RAW_TYPES.get(stored.dtype, stored.dtype)} g")
    width, kind = variant.width, C_TYPES[variant.compute]
    lines = [f"double sums_[{width}] = {{}};", f"{kind} non_finite_[{width}] = {{}};"]
    lines.append(f"#pragma unroll {2 if width == 8 else 8}")  # more would spill
    step = "first_ < size_; first_ += lanes_"
    lines.append(f"for (ptrdiff_t first_ = (ptrdiff_t){width} * i; {step}) {{")
    if stored.separate:
        lines += find_array(variant)
        lines.append(find_place(stored, column, variant))
    lines += [
        f"const auto pack_ = {read_pack(stored, 'g', column, variant)};",
        "#pragma unroll",
        f"for (int k_ = 0; k_ < {width}; ++k_) {{",
        f"  const {kind} g_ = gdopt_{stored.dtype}_value(pack_.x[k_]);",
        "  sums_[k_] += (double)g_ * (double)g_;",
        "  non_finite_[k_] += g_ - g_;",
        "}",
        "}",
        "#pragma unroll",
        f"for (int k_ = 0; k_ < {width}; ++k_)",
        f"  partials_[(ptrdiff_t){width} * i + k_] = sums_[k_] + non_finite_[k_];",
    ]
    return KernelText(
        ", ".join(inputs),
        ", ".join(outputs),
        "\n".join(lines),
        f"gdopt_squares_{stored.dtype}",
        preamble=variant.preamble(),
    )


def print_totals() -> KernelText:
    """Print the second stage: 256 threads that add the lanes up.

    It takes partials_ (lanes,), lanes_ and offset_, and writes totals_ from there on.
    """
    body = f"""double sum_ = 0.0;
#pragma unroll 32
for (ptrdiff_t k_ = i; k_ < lanes_; k_ += {TOTALS}) sum_ += partials_[k_];
totals_[offset_ + i] = sum_;"""
    return KernelText(
        "raw float64 partials_, int64 lanes_, int64 offset_",
        "raw float64 totals_",
        body,
        "gdopt_squares_totals",
        preamble="",
    )


@dataclass(frozen=True)
class HoistedSplit:
    """The hoisted values of a program, parted by where they are known.

    Attributes:
        known: expressions that the host computes.
        given: names of scalars that live on the device, in order.
        instructions: what the device computes from both, each behind what it needs.
    """

    known: tuple[Symbol, ...]
    given: tuple[str, ...]
    instructions: tuple[Symbol, ...]


def split_hoisted(program: Program, on_device: Collection[str]) -> HoistedSplit:
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
    """What a prologue does besides filling the table.

    Attributes:
        norm: add up totals_ and give norm_, the root of their sum.
        skip: decide done_: False where the sum is NaN.
        counter: take the row of the step that counter_ counts.
        counts: count that step, after which it is t.
        by_value: the host's values come as k0_, k1_, ...; for a table of one row.
    """

    norm: bool = False
    skip: bool = False
    counter: bool = False
    counts: bool = False
    by_value: bool = False


def print_prologue(
    program: Program, split: HoistedSplit, compute: str, options: PrologueOptions
) -> KernelText:
    """Print the kernel; one thread runs it.

    It takes known_ (steps, rows, known), or k0_, k1_, ..., and given_ (rows, given),
    float64; count_, the number of rows; totals_ and sums_, their number; and writes
    scalars_ (rows, hoisted), norm_, done_ and counter_ = (steps done, step of the first
    row).
    """
    inputs = ["raw float64 given_", "int32 count_"]
    if options.by_value:
        inputs += [f"float64 k{k}_" for k in range(len(split.known))]
    else:
        inputs.append("raw float64 known_")
    outputs = [f"raw {compute} scalars_"]
    body = ["long long step_ = 0;"]
    if options.norm or options.skip:
        inputs += ["raw float64 totals_", "int32 sums_"]
        body += [
            "double sum_ = 0.0;",
            "#pragma unroll 32",
            "for (int k_ = 0; k_ < sums_; ++k_) sum_ += totals_[k_];",
        ]
    if options.norm:
        outputs.append("raw float64 norm_")
        body += ["const double root_ = sqrt(sum_);", "norm_[0] = root_;"]
    if options.counter:
        outputs.append("raw int64 counter_")
        body.append("step_ = counter_[0] - counter_[1];")
    body += ["for (int r_ = 0; r_ < count_; ++r_) {"]
    body += ["  " + line for line in _row(program, split, by_value=options.by_value)]
    body.append("}")
    if options.skip:
        outputs.append("raw bool done_")
        body += ["const bool finite_ = sum_ == sum_;", "done_[0] = finite_;"]
    if options.counter and options.counts:
        body.append(f"counter_[0] += {'finite_' if options.skip else '1'};")
    return KernelText(
        ", ".join(inputs),
        ", ".join(outputs),
        "\n".join(body),
        f"gdopt_{program.name}_prologue",
    )


def _row(program: Program, split: HoistedSplit, *, by_value: bool) -> list[str]:
    """Print how one row of the table is computed, in float64."""
    width = len(split.known)
    names: dict[Symbol, str] = {}
    lines = [f"const ptrdiff_t at_ = (step_ * count_ + r_) * {width};"]
    for k, symbol in enumerate(split.known):
        names[symbol] = f"h{k}_"
        source = f"k{k}_" if by_value else f"known_[at_ + {k}]"
        lines.append(f"const double h{k}_ = {source};")
    for k, name in enumerate(split.given):
        source = "root_" if name == "norm" else f"given_[r_ * {len(split.given)} + {k}]"
        lines.append(f"const double {value_name(name)} = {source};")
    for node in (*split.instructions, *program.hoisted):
        for leaf in (node, *node.arguments):
            if leaf.name in split.given:
                names[leaf] = value_name(leaf.name)
    lines += print_statements(split.instructions, names, "double")
    for k, value in enumerate(program.hoisted):
        place = f"(ptrdiff_t)r_ * {len(program.hoisted)} + {k}"
        lines.append(f"scalars_[{place}] = {names[value]};")
    return lines
