"""Prints a program as one pass over an arena, over separate arrays, or of any strides.

A thread updates a pack of neighbours with accesses of 16 bytes. Every array has a slot
in one layout, padded to blocks of 64 elements; where the arrays themselves are
separate, a table says which array a block belongs to, and where that array lies. All is
read before anything is written, so possible aliasing costs no second load, and an index
is 64 bits wide whatever CuPy chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda.text import (
    BYTES,
    ELEMENT_TYPES,
    PACKS,
    PARTS,
    RANDOM,
    RAW_TYPES,
    SEPARATE,
    SIGNS,
    STRIDED,
    KernelText,
    print_statements,
)
from gdopt.kernels.packing import GOLDEN, STREAMS
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import BaseProgram, Program

BLOCK_BITS = 6  # a block is 64 elements, what an arena pads its arrays to
ACCESS = 16  # bytes


@dataclass(frozen=True)
class KernelVariant:
    """What distinguishes the kernels of one program."""

    stored: tuple[Storage, ...]  # each input of the program
    compute: str  # the dtype of the arithmetic, float32 or float64
    copy: Storage | None = None  # where a rounded copy of the first result goes
    table: bool = False  # hoisted values are read from the device, not passed by value
    rows: bool = False  # the table has several rows; a block names its own
    may_skip: bool = False  # a flag on the device may turn the pass into a no-op
    device_counter: bool = False  # the step is counted on the device
    strided: bool = False  # the separate arrays have strides

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
        halves, doubles = narrowest < BYTES["float32"], narrowest > BYTES["float32"]
        # Eight halves or two doubles need registers, as values from a table do; so do
        # many arrays, and the addresses of separate ones.
        many = len(self.all_stored) > (4 if self.separate else 5)
        crowded = (self.table and (halves or doubles)) or (many and halves)
        return ACCESS // narrowest // (2 if crowded else 1)

    @property
    def separate(self) -> int:
        """How many arrays a row of the table of pointers holds."""
        return sum(stored.separate for stored in self.all_stored)

    def value(self, place: int) -> str:
        """Print an element of an input; the copy's, if another value was written."""
        text = f"gdopt_{self.stored[place].dtype}_value(in{place}_.x[k_])"
        if place or self.copy is None:
            return text
        half, copy = self.copy.dtype, f"in{len(self.stored)}_.x[k_]"
        same = f"gdopt_{half}_bits({text}) == {copy}"
        return f"{same} ? {text} : gdopt_{half}_value({copy})"

    @property
    def random(self) -> bool:
        """Return whether something is rounded at random."""
        return bool(self.random_words)

    @property
    def random_words(self) -> range:
        """Number the words of random bits that an element takes."""
        streams = [stored.random_stream for stored in self.all_stored]
        most = max((stream for stream in streams if stream is not None), default=-1)
        return range(-(-(most + 1) // STREAMS))

    def preamble(self, *more: str) -> str:
        """Join the C functions that the kernel needs, and more for separate arrays."""
        dtypes = {stored.dtype for stored in self.all_stored} | {self.compute}
        parts = [SIGNS, PACKS, *(PARTS[name] for name in sorted(dtypes & PARTS.keys()))]
        parts += [RANDOM] if self.random else []
        parts += [SEPARATE] if self.separate or more else []
        parts += [STRIDED] if self.strided else []
        return "".join([*parts, *more])

    @property
    def random_inputs(self) -> list[str]:
        """Print the kernel's inputs by which something is rounded at random."""
        count = "raw int64 counter_" if self.device_counter else "uint32 t_"
        return ["uint32 seed_, int64 origin_", count] if self.random else []


def print_fused(program: Program, variant: KernelVariant) -> KernelText:
    """Print a program as the text of a pass over a layout.

    Besides the buffers named like the program's inputs, the kernel takes: s0, s1, ...
    or scalars_ (rows, hoisted); rows_ (blocks,); done_ (1,); for random rounding seed_,
    origin_, the place of the first element, and t_ or counter_; copy_; and for separate
    arrays blocks_ (blocks,), slots_ (arrays, 2 or more) and pointers_ (arrays,
    separate).
    """
    return KernelText(
        ", ".join(_inputs(program, variant)),
        ", ".join(_outputs(program, variant)),
        "\n".join([*_prelude(program, variant), *_element_loop(program, variant)]),
        f"gdopt_{program.name}",
        preamble=variant.preamble(),
    )


def _buffers(program: Program, variant: KernelVariant, *, written: bool) -> list[str]:
    pairs = enumerate(zip(program.inputs, variant.stored, strict=True))
    return [
        f"raw {RAW_TYPES.get(stored.dtype, stored.dtype)} {symbol.name}"
        for place, (symbol, stored) in pairs
        if not stored.separate and program.writes(place) == written
    ]


def _inputs(program: Program, variant: KernelVariant) -> list[str]:
    parts = _buffers(program, variant, written=False)
    parts += hoisted_inputs(program, variant, variant.compute)
    parts += ["raw int32 rows_"] if variant.rows else []
    parts += ["raw bool done_"] if variant.may_skip else []
    parts += variant.random_inputs
    parts += ["raw int32 blocks_", "raw int64 slots_"] if variant.separate else []
    return parts + (["int32 axes_"] if variant.strided else [])


def _outputs(program: Program, variant: KernelVariant) -> list[str]:
    parts = _buffers(program, variant, written=True)
    if variant.copy is not None and not variant.copy.separate:
        parts.append(f"raw {RAW_TYPES[variant.copy.dtype]} copy_")
    return parts + (["raw uint64 pointers_"] if variant.separate else [])


def _numbers(variant: KernelVariant) -> list[int]:
    """Number the separate arrays, in their order."""
    every = variant.all_stored
    return [sum(stored.separate for stored in every[:k]) for k in range(len(every))]


def _places(variant: KernelVariant) -> list[str]:
    """Print which array a thread's pack belongs to, and where it begins in each one."""
    columns = f"(2 + {1 + variant.separate} * axes_)" if variant.strided else "2"
    lines = [
        f"const ptrdiff_t array_ = blocks_[first_ >> {BLOCK_BITS}];",
        f"const long long* const slot_ = &slots_[0] + array_ * {columns};",
        "const ptrdiff_t inner_ = first_ - slot_[0], count_ = slot_[1] - inner_;",
        "if (count_ <= 0) continue;",
    ]
    for stored, number in zip(variant.all_stored, _numbers(variant), strict=True):
        if stored.separate:
            kind, place = ELEMENT_TYPES[stored.dtype], "inner_"
            pointer = f"pointers_[array_ * {variant.separate} + {number}]"
            if variant.strided:
                steps = f"slot_ + 2 + {number + 1} * axes_"
                place = f"gdopt_place(inner_, slot_ + 2, {steps}, axes_)"
            start = f"reinterpret_cast<{kind}*>({pointer}) + {place}"
            lines.append(f"{kind}* const at{number}_ = {start};")
    return lines


def _access(
    stored: Storage, name: str, number: int, variant: KernelVariant, written: str = ""
) -> str:
    """Print how a pack is read, or written: of a buffer by its name, or at a place."""
    some, place = "", f"&{name}[0] + first_"
    if stored.separate:
        some, place = "_some", f"at{number}_, count_"
    call = f"gdopt_{'write' if written else 'read'}{some}"
    pack = f"{ELEMENT_TYPES[stored.dtype]}, {variant.width}"
    return f"{call}<{pack}>({place}{', ' if written else ''}{written})"


def _prelude(program: Program, variant: KernelVariant) -> list[str]:
    """Print what comes before the arithmetic: the flag, the place, all reading."""
    lines = ["if (!done_[0]) continue;"] if variant.may_skip else []
    lines.append(f"const ptrdiff_t first_ = (ptrdiff_t){variant.width} * i;")
    numbers = _numbers(variant)
    lines += _places(variant) if variant.separate else []
    if variant.table:
        row = f" + (ptrdiff_t)rows_[first_ >> {BLOCK_BITS}] * {len(program.hoisted)}"
        kind = ELEMENT_TYPES[variant.compute]
        start = "&scalars_[0]" + (row if variant.rows else "")
        lines.append(f"const {kind}* const row_ = {start};")
        lines += _read_hoisted(program, kind, "row_")
    if variant.random and variant.device_counter:
        lines.append("const unsigned t_ = (unsigned)counter_[0];")
    for word in variant.random_words:
        key = f"gdopt_random_key(seed_ + {word}u, t_, origin_ + first_)"
        lines.append(f"const unsigned key{word}_ = {key};")
    pairs = zip(program.inputs, variant.stored, strict=True)
    for place, (symbol, stored) in enumerate(pairs):
        if program.reads(symbol):
            read = _access(stored, symbol.name, numbers[place], variant)
            lines.append(f"const auto in{place}_ = {read};")
    if variant.copy is not None and program.reads(program.inputs[0]):
        read = _access(variant.copy, "copy_", numbers[-1], variant)
        lines.append(f"const auto in{len(numbers) - 1}_ = {read};")
    return lines


def _element_loop(program: Program, variant: KernelVariant) -> list[str]:
    """Print the arithmetic for each element of a pack, and then all writing."""
    kind, stored_as = ELEMENT_TYPES[variant.compute], variant.stored
    writes = [k for k in range(len(program.results)) if program.writes(k)]
    outs = [(k, stored_as[k], program.results[k]) for k in writes]
    if variant.copy is not None:
        outs.append((len(stored_as), variant.copy, program.results[0]))
    lines = [
        f"gdopt_pack<{ELEMENT_TYPES[stored.dtype]}, {variant.width}> out{k}_;"
        for k, stored, _ in outs
    ]
    lines += ["#pragma unroll", f"for (int k_ = 0; k_ < {variant.width}; ++k_) {{"]
    names = program.names()
    for place, symbol in enumerate(program.inputs):
        if program.reads(symbol):
            value = variant.value(place)
            lines.append(f"  const {kind} {names[symbol]} = {value};")
    inner = print_statements(program.instructions, names, kind)
    inner += print_stores(outs, names, variant.random_words, "origin_ + first_")
    lines += [*("  " + line for line in inner), "}"]
    numbers = _numbers(variant)
    for k, stored, _ in outs:
        name = program.inputs[k].name if k < len(program.inputs) else "copy_"
        lines.append(_access(stored, name, numbers[k], variant, f"out{k}_") + ";")
    return lines


def print_stores(
    outs: Sequence[tuple[int, Storage, Symbol]],
    names: Mapping[Symbol, str],
    words: range,
    first: str,
) -> list[str]:
    """Print how results are rounded: one test finds all that are not finite."""
    lines, differences = list[str](), list[str]()
    finite, careful = list[str](), list[str]()
    for word in words:
        mixed = f"gdopt_mix((unsigned)({first} + k_) ^ key{word}_)"
        lines.append(f"const unsigned word{word}_ = {mixed};")
    for k, stored, result in outs:
        value, out = names[result], f"out{k}_.x[k_] = gdopt_{stored.dtype}"
        if stored.random_stream is None:
            lines.append(f"{out}_bits({value});")
            continue
        word, part = divmod(stored.random_stream, STREAMS)
        bits = ("{} & 0xffffu", "{} >> 16", f"{{}} * {GOLDEN}u >> 16")[part]
        noise = bits.format(f"word{word}_")
        finite.append(f"  {out}_finite({value}, {noise});")
        careful.append(f"  {out}_careful({value}, {noise});")
        differences.append(f"({value} - {value})")
    if differences:  # NaN where a result is not finite
        lines.append(f"const float zero_ = {' + '.join(differences)};")
        lines += ["if (zero_ == zero_) {", *finite, "} else {", *careful, "}"]
    return lines


def print_kernel(program: Program, variant: KernelVariant) -> KernelText:
    """Print a program for arrays of any strides, an element a thread."""
    kind = ELEMENT_TYPES[variant.compute]
    inputs, outputs, body = list[str](), list[str](), list[str]()
    names = program.names()
    pairs = zip(program.inputs, variant.stored, strict=True)
    for place, (symbol, stored) in enumerate(pairs):
        group = outputs if program.writes(place) else inputs
        group.append(f"{stored.dtype} {symbol.name}")
        if program.reads(symbol):
            body.append(f"const {kind} {names[symbol]} = {symbol.name};")
    inputs += hoisted_inputs(program, variant, variant.compute)
    body += _read_hoisted(program, kind, "scalars_") if variant.table else []
    body += print_statements(program.instructions, names, kind)
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{program.inputs[place].name} = {names[result]};")
    name = f"gdopt_{program.name}"
    return KernelText(", ".join(inputs), ", ".join(outputs), "\n".join(body), name)


def hoisted_inputs(
    program: BaseProgram, variant: KernelVariant, dtype: str
) -> list[str]:
    """Print the inputs that hold the hoisted values."""
    if variant.table:
        return [f"raw {dtype} scalars_"]
    return [f"{dtype} s{k}" for k in range(len(program.hoisted))]


def _read_hoisted(program: Program, kind: str, row: str) -> list[str]:
    return [f"const {kind} s{k} = {row}[{k}];" for k in range(len(program.hoisted))]
