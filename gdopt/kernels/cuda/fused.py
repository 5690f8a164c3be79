"""Prints a program as one pass over an arena, over arrays apart, or of any strides.

A thread updates a pack of neighbours with accesses of 16 bytes. Every array has a slot
in one layout, padded to blocks of 64 elements; where the arrays themselves are kept
apart, a table says which array a block belongs to, and where that array lies. All is
read before anything is written, so possible aliasing costs no second load, and an index
is 64 bits wide whatever CuPy chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda.text import (
    APART,
    BYTES,
    C_TYPES,
    ELEMENT_TYPES,
    PACKS,
    PARTS,
    RANDOM,
    RAW_TYPES,
    SIGNS,
    STRIDED,
    KernelText,
    print_statements,
    value_name,
)
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program

BLOCK_BITS = 6  # a block is 64 elements, what an arena pads its arrays to
ACCESS = 16  # bytes


@dataclass(frozen=True)
class KernelVariant:
    """What distinguishes the kernels of one program.

    Attributes:
        stored: each input of the program.
        compute: the dtype of the arithmetic, float32 or float64.
        copy: where a rounded copy of the first result goes, if anywhere.
        table: hoisted values are read from the device, not passed by value.
        rows: the table has several rows; a block names its own.
        gated: a flag on the device may turn the pass into a no-op.
        clocked: the step is counted on the device.
        strided: the arrays kept apart have strides.
    """

    stored: tuple[Storage, ...]
    compute: str
    copy: Storage | None = None
    table: bool = False
    rows: bool = False
    gated: bool = False
    clocked: bool = False
    strided: bool = False

    @property
    def all_stored(self) -> tuple[Storage, ...]:
        """Every array of the pass: the inputs, then the copy."""
        return self.stored + ((self.copy,) if self.copy else ())

    @property
    def width(self) -> int:
        """How many neighbours a thread updates; with strides there are none."""
        if self.strided:
            return 1
        narrowest = min(BYTES[stored.dtype] for stored in self.all_stored)
        # Values from a table take registers that eight halves or two doubles need.
        crowded = self.table and narrowest != BYTES["float32"]
        return ACCESS // narrowest // (2 if crowded else 1)

    @property
    def apart(self) -> int:
        """How many arrays a row of the table of pointers holds."""
        return sum(stored.apart for stored in self.all_stored)

    @property
    def random(self) -> bool:
        """Return whether something is rounded at random."""
        return any(stored.draw is not None for stored in self.all_stored)

    def preamble(self) -> str:
        """Join the C functions that the kernel needs."""
        dtypes = {stored.dtype for stored in self.all_stored} | {self.compute}
        parts = [SIGNS, PACKS, *(PARTS[name] for name in sorted(dtypes & PARTS.keys()))]
        parts += [RANDOM] if self.random else []
        parts += [APART] if self.apart else []
        parts += [STRIDED] if self.strided else []
        return "".join(parts)


def print_fused(program: Program, form: KernelVariant) -> KernelText:
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


def _buffers(program: Program, form: KernelVariant, *, written: bool) -> list[str]:
    return [
        f"raw {RAW_TYPES.get(stored.dtype, stored.dtype)} {symbol.name}"
        for place, (symbol, stored) in enumerate(
            zip(program.inputs, form.stored, strict=True)
        )
        if not stored.apart and program.writes(place) == written
    ]


def _inputs(program: Program, form: KernelVariant) -> list[str]:
    parts = _buffers(program, form, written=False)
    parts += _hoisted_inputs(program, form)
    parts += ["raw int32 rows_"] if form.rows else []
    parts += ["raw bool go_"] if form.gated else []
    if form.random:
        parts += ["uint32 seed_", "raw int64 clock_" if form.clocked else "uint32 t_"]
    parts += apart_inputs(strided=form.strided) if form.apart else []
    return parts


def _outputs(program: Program, form: KernelVariant) -> list[str]:
    parts = _buffers(program, form, written=True)
    if form.copy is not None and not form.copy.apart:
        parts.append(f"raw {RAW_TYPES[form.copy.dtype]} copy_")
    return parts + (["raw uint64 pointers_"] if form.apart else [])


def apart_inputs(*, strided: bool) -> list[str]:
    """List what says where arrays kept apart lie, but for their pointers."""
    axes = ["int32 axes_"] if strided else []
    return ["raw int32 blocks_", "raw int64 slots_", *axes]


def find_array(form: KernelVariant) -> list[str]:
    """Print how a thread finds the array that its pack belongs to."""
    columns = f"(2 + {1 + form.apart} * axes_)" if form.strided else "2"
    return [
        f"const ptrdiff_t array_ = blocks_[first_ >> {BLOCK_BITS}];",
        f"const long long* const slot_ = &slots_[0] + array_ * {columns};",
        "const ptrdiff_t inner_ = first_ - slot_[0], count_ = slot_[1] - inner_;",
        "if (count_ <= 0) continue;",
    ]


def find_place(stored: Storage, number: int, form: KernelVariant) -> str:
    """Print where a thread's pack of an array kept apart begins."""
    kind = ELEMENT_TYPES[stored.dtype]
    pointer = f"reinterpret_cast<{kind}*>(pointers_[array_ * {form.apart} + {number}])"
    place = "inner_"
    if form.strided:
        steps = f"slot_ + 2 + {number + 1} * axes_"
        place = f"gdopt_place(inner_, slot_ + 2, {steps}, axes_)"
    return f"{kind}* const at{number}_ = {pointer} + {place};"


def read_pack(stored: Storage, name: str, number: int, form: KernelVariant) -> str:
    """Print how a pack is read: of a buffer by its name, or at a place found before."""
    pack = f"{ELEMENT_TYPES[stored.dtype]}, {form.width}"
    if stored.apart:
        return f"gdopt_read_some<{pack}>(at{number}_, count_)"
    return f"gdopt_read<{pack}>(&{name}[0] + first_)"


def _write_pack(
    stored: Storage, name: str, number: int, form: KernelVariant, value: str
) -> str:
    pack = f"{ELEMENT_TYPES[stored.dtype]}, {form.width}"
    if stored.apart:
        return f"gdopt_write_some<{pack}>(at{number}_, count_, {value});"
    return f"gdopt_write<{pack}>(&{name}[0] + first_, {value});"


def _numbers(form: KernelVariant) -> list[int]:
    """Number the arrays that are kept apart, in their order."""
    every = form.all_stored
    return [sum(stored.apart for stored in every[:k]) for k in range(len(every))]


def _prelude(program: Program, form: KernelVariant) -> list[str]:
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
        lines += _read_hoisted(program, kind, "row_")
    if form.random and form.clocked:
        lines.append("const unsigned t_ = (unsigned)clock_[0];")
    for place, (symbol, stored) in enumerate(
        zip(program.inputs, form.stored, strict=True)
    ):
        if program.reads(symbol):
            read = read_pack(stored, symbol.name, numbers[place], form)
            lines.append(f"const auto in{place}_ = {read};")
    return lines


def _element_loop(program: Program, form: KernelVariant) -> list[str]:
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
    names = _input_names(program)
    for place, symbol in enumerate(program.inputs):
        if program.reads(symbol):
            value = f"gdopt_{stored_as[place].dtype}_value(in{place}_.x[k_])"
            lines.append(f"  const {kind} {value_name(symbol.name)} = {value};")
    lines += ["  " + line for line in print_statements(program.tape, names, kind)]
    for k, stored, result in outs:
        lines.append(f"  out{k}_.x[k_] = {_rounded(stored, names[result])};")
    lines.append("}")
    numbers = _numbers(form)
    for k, stored, _ in outs:
        name = program.inputs[k].name if k < len(program.inputs) else "copy_"
        lines.append(_write_pack(stored, name, numbers[k], form, f"out{k}_"))
    return lines


def _rounded(stored: Storage, value: str) -> str:
    if stored.draw is None:
        return f"gdopt_{stored.dtype}_bits({value})"
    word = f"gdopt_random_bits(seed_ + {stored.draw // 2}u, t_, first_ + k_)"
    noise = f"({word} >> {16 * (stored.draw % 2)}) & 0xffffu"
    return f"gdopt_{stored.dtype}_round({value}, {noise})"


def print_kernel(program: Program, form: KernelVariant) -> KernelText:
    """Print a program as a kernel for arrays of any strides, an element a thread.

    Args:
        program: the traced rule.
        form: says how inputs are stored, the arithmetic's dtype, and whether the
            hoisted values come from a table; nothing else of it counts.
    """
    kind = C_TYPES[form.compute]
    inputs, outputs, body = list[str](), list[str](), list[str]()
    for place, (symbol, stored) in enumerate(
        zip(program.inputs, form.stored, strict=True)
    ):
        group = outputs if program.writes(place) else inputs
        group.append(f"{stored.dtype} {symbol.name}")
        if program.reads(symbol):
            body.append(f"const {kind} {value_name(symbol.name)} = {symbol.name};")
    inputs += _hoisted_inputs(program, form)
    body += _read_hoisted(program, kind, "scalars_") if form.table else []
    names = _input_names(program)
    body += print_statements(program.tape, names, kind)
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{program.inputs[place].name} = {names[result]};")
    return KernelText(
        ", ".join(inputs), ", ".join(outputs), "\n".join(body), f"gdopt_{program.name}"
    )


def _input_names(program: Program) -> dict[Symbol, str]:
    """Name the values of the inputs, and the hoisted ones, in a kernel's text."""
    names = {symbol: value_name(symbol.name) for symbol in program.inputs}
    return names | {symbol: f"s{place}" for symbol, place in program.places.items()}


def _hoisted_inputs(program: Program, form: KernelVariant) -> list[str]:
    if form.table:
        return [f"raw {form.compute} scalars_"]
    return [f"{form.compute} s{k}" for k in range(len(program.hoisted))]


def _read_hoisted(program: Program, kind: str, row: str) -> list[str]:
    return [f"const {kind} s{k} = {row}[{k}];" for k in range(len(program.hoisted))]
