"""Prints a program as one pass over an arena, or over arrays kept apart.

A thread updates a pack of neighbours with accesses of 16 bytes. Every array has a slot
in one layout, padded to blocks of 64 elements; where the arrays themselves are kept
apart, a table says which array a block belongs to, and where that array lies. All is
read before anything is written, so possible aliasing costs no second load, and an index
is 64 bits wide whatever CuPy chooses.
"""

from __future__ import annotations

from gdopt.arrays.storage import Stored
from gdopt.kernels.cuda.form import BLOCK_BITS, Form
from gdopt.kernels.cuda.packs import ELEMENT_TYPES, RAW_TYPES
from gdopt.kernels.cuda.text import (
    C_TYPES,
    KernelText,
    print_statements,
    scalar_names,
    value_name,
)
from gdopt.kernels.trace import Program


def print_fused(program: Program, form: Form) -> KernelText:
    """Print a program as the text of a pass over a layout.

    Besides the buffers named like the program's inputs, the kernel takes: s0, s1, ...
    or scalars_ (rows, hoisted); rows_ (blocks,); go_ (1,); seed_ and t_, or clock_, for
    random rounding; copy_; and for arrays apart blocks_ (blocks,), slots_ (arrays, 2 or
    more) and pointers_ (arrays, apart).
    """
    return KernelText(
        ", ".join(_inputs(program, form)),
        ", ".join(_outputs(program, form)),
        "\n".join([*_prelude(program, form), *_element_loop(program, form)]),
        f"gdopt_{program.name}",
        preamble=form.preamble(),
    )


def _buffers(program: Program, form: Form, *, written: bool) -> list[str]:
    return [
        f"raw {RAW_TYPES.get(stored.dtype, stored.dtype)} {symbol.name}"
        for place, (symbol, stored) in enumerate(
            zip(program.inputs, form.stored, strict=True)
        )
        if not stored.apart and program.writes(place) == written
    ]


def _inputs(program: Program, form: Form) -> list[str]:
    parts = _buffers(program, form, written=False)
    if form.table:
        parts.append(f"raw {form.compute} scalars_")
    else:
        parts += [f"{form.compute} s{k}" for k in range(len(program.hoisted))]
    parts += ["raw int32 rows_"] if form.rows else []
    parts += ["raw bool go_"] if form.gated else []
    if form.random:
        parts += ["uint32 seed_", "raw int64 clock_" if form.clocked else "uint32 t_"]
    parts += apart_inputs(strided=form.strided) if form.apart else []
    return parts


def _outputs(program: Program, form: Form) -> list[str]:
    parts = _buffers(program, form, written=True)
    if form.copy is not None and not form.copy.apart:
        parts.append(f"raw {RAW_TYPES[form.copy.dtype]} copy_")
    return parts + (["raw uint64 pointers_"] if form.apart else [])


def apart_inputs(*, strided: bool) -> list[str]:
    """List what says where arrays kept apart lie, but for their pointers."""
    axes = ["int32 axes_"] if strided else []
    return ["raw int32 blocks_", "raw int64 slots_", *axes]


def find_array(form: Form) -> list[str]:
    """Print how a thread finds the array that its pack belongs to."""
    columns = f"(2 + {1 + form.apart} * axes_)" if form.strided else "2"
    return [
        f"const ptrdiff_t array_ = blocks_[first_ >> {BLOCK_BITS}];",
        f"const long long* const slot_ = &slots_[0] + array_ * {columns};",
        "const ptrdiff_t inner_ = first_ - slot_[0], count_ = slot_[1] - inner_;",
        "if (count_ <= 0) continue;",
    ]


def find_place(stored: Stored, number: int, form: Form) -> str:
    """Print where a thread's pack of an array kept apart begins."""
    kind = ELEMENT_TYPES[stored.dtype]
    pointer = f"reinterpret_cast<{kind}*>(pointers_[array_ * {form.apart} + {number}])"
    place = "inner_"
    if form.strided:
        steps = f"slot_ + 2 + {number + 1} * axes_"
        place = f"gdopt_place(inner_, slot_ + 2, {steps}, axes_)"
    return f"{kind}* const at{number}_ = {pointer} + {place};"


def read_pack(stored: Stored, name: str, number: int, form: Form) -> str:
    """Print how a pack is read: of a buffer by its name, or at a place found before."""
    pack = f"{ELEMENT_TYPES[stored.dtype]}, {form.width}"
    if stored.apart:
        return f"gdopt_read_some<{pack}>(at{number}_, count_)"
    return f"gdopt_read<{pack}>(&{name}[0] + first_)"


def _write_pack(stored: Stored, name: str, number: int, form: Form, value: str) -> str:
    pack = f"{ELEMENT_TYPES[stored.dtype]}, {form.width}"
    if stored.apart:
        return f"gdopt_write_some<{pack}>(at{number}_, count_, {value});"
    return f"gdopt_write<{pack}>(&{name}[0] + first_, {value});"


def _numbers(form: Form) -> list[int]:
    """Number the arrays that are kept apart, in their order."""
    numbers, count = [], 0
    for stored in form.all_stored:
        numbers.append(count)
        count += stored.apart
    return numbers


def _prelude(program: Program, form: Form) -> list[str]:
    """Print what comes before the arithmetic: the gate, the place, all reading."""
    lines = ["if (!go_[0]) continue;"] if form.gated else []
    lines.append(f"const ptrdiff_t first_ = (ptrdiff_t){form.width} * i;")
    numbers = _numbers(form)
    lines += find_array(form) if form.apart else []
    lines += [
        find_place(stored, number, form)
        for stored, number in zip(form.all_stored, numbers, strict=True)
        if stored.apart
    ]
    if form.table:
        row = f" + (ptrdiff_t)rows_[first_ >> {BLOCK_BITS}] * {len(program.hoisted)}"
        kind = C_TYPES[form.compute]
        start = "&scalars_[0]" + (row if form.rows else "")
        lines.append(f"const {kind}* const row_ = {start};")
        lines += [
            f"const {kind} s{k} = row_[{k}];" for k in range(len(program.hoisted))
        ]
    if form.random and form.clocked:
        lines.append("const unsigned t_ = (unsigned)clock_[0];")
    for place, (symbol, stored) in enumerate(
        zip(program.inputs, form.stored, strict=True)
    ):
        if program.reads(symbol):
            read = read_pack(stored, symbol.name, numbers[place], form)
            lines.append(f"const auto in{place}_ = {read};")
    return lines


def _element_loop(program: Program, form: Form) -> list[str]:
    """Print the arithmetic for each element of a pack, and then all writing."""
    kind, stored_as = C_TYPES[form.compute], form.stored
    writes = [k for k in range(len(program.results)) if program.writes(k)]
    outs = [(k, stored_as[k], program.results[k]) for k in writes]
    if form.copy is not None:
        outs.append((len(stored_as), form.copy, program.results[0]))
    lines = [
        f"gdopt_pack<{ELEMENT_TYPES[stored.dtype]}, {form.width}> out{k}_;"
        for k, stored, _ in outs
    ]
    lines += ["#pragma unroll", f"for (int k_ = 0; k_ < {form.width}; ++k_) {{"]
    names = {symbol: value_name(symbol.name) for symbol in program.inputs}
    for place, symbol in enumerate(program.inputs):
        if program.reads(symbol):
            value = f"gdopt_{stored_as[place].dtype}_value(in{place}_.x[k_])"
            lines.append(f"  const {kind} {value_name(symbol.name)} = {value};")
    names |= scalar_names(program.places)
    lines += ["  " + line for line in print_statements(program.tape, names, kind)]
    for k, stored, result in outs:
        lines.append(f"  out{k}_.x[k_] = {_rounded(stored, names[result])};")
    lines.append("}")
    numbers = _numbers(form)
    for k, stored, _ in outs:
        name = program.inputs[k].name if k < len(program.inputs) else "copy_"
        lines.append(_write_pack(stored, name, numbers[k], form, f"out{k}_"))
    return lines


def _rounded(stored: Stored, value: str) -> str:
    if stored.draw is None:
        return f"gdopt_{stored.dtype}_bits({value})"
    word = f"gdopt_random_bits(seed_ + {stored.draw // 2}u, t_, first_ + k_)"
    noise = f"({word} >> {16 * (stored.draw % 2)}) & 0xffffu"
    return f"gdopt_{stored.dtype}_round({value}, {noise})"
