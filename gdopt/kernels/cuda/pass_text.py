"""Prints the launches of a program with reductions.

A block of threads works on one array. A warp sums a segment of an array or of a row, as
`gdopt.kernels.cuda.norm` does, and several short rows share a warp; or it sums 64 rows
of 128 columns, four columns a thread.
"""

from __future__ import annotations

from gdopt.kernels.cuda.fused import KernelVariant, hoisted_inputs, print_stores
from gdopt.kernels.cuda.pass_ends import BLOCK, WARP, WARPS, EndPrinter
from gdopt.kernels.cuda.pass_values import KINDS, Names, kinds_of
from gdopt.kernels.cuda.text import (
    ELEMENT_TYPES,
    NORM,
    OPTIONS,
    REDUCE,
    WHOLE,
    KernelText,
    print_statements,
)
from gdopt.kernels.passes import ArrayPass, ReducingProgram
from gdopt.kernels.sums import LANES, ROWS, SEGMENT
from gdopt.kernels.symbol import ARRAY, COLUMN, ROW, SCALAR

SPAN = 512  # elements of a warp where nothing is summed
MOST_SUMS = 4  # of a thread's lanes that fit in 128 registers, with all else
# How many blocks share an array's elements, a row, or a column; tiles of 128 columns.
CUTS = f"""const int chunk_ = {WARPS * SEGMENT};
const ptrdiff_t chunks_ = (size_ + chunk_ - 1) / chunk_;
const ptrdiff_t row_chunks_ = (column_count_ + chunk_ - 1) / chunk_;
const ptrdiff_t column_chunks_ = (row_count_ + {WARPS * ROWS - 1}) / {WARPS * ROWS};
const ptrdiff_t tiles_ = (column_count_ + {LANES - 1}) / {LANES};"""
# A thread's way: to the elements index_, index_ + stride_, ... of an array, four
# neighbours at a time, of which left_ are its own.
WAY = """ptrdiff_t index_ = 0, left_ = 0, turns_ = 0, stride_ = 128, fewer_ = 128;
ptrdiff_t row_ = 0, column_ = 0, row_step_ = 0, column_step_ = 0, own_row_ = 0;
int width_ = 32;  // threads that share a row
while (width_ > 1 && width_ * 2 >= column_count_) width_ /= 2;"""
WAYS = {
    ARRAY: """const ptrdiff_t low_ = (first_ * {warps} + warp_) * {span};
  const ptrdiff_t high_ = low_ + {span} < size_ ? low_ + {span} : size_;
  index_ = low_ + lane_ * 4;
  left_ = high_ - index_;
  row_ = index_ / column_count_;
  column_ = index_ - row_ * column_count_;
  row_step_ = 128 / column_count_;
  column_step_ = 128 % column_count_;""",
    ROW: f"""ptrdiff_t part_ = 0;
  own_row_ = first_ + warp_ * ({WARP} / width_) + lane_ / width_;
  if (column_count_ > {SEGMENT}) {{
    own_row_ = first_ / row_chunks_;
    part_ = first_ % row_chunks_ * {WARPS} + warp_;
  }}
  const ptrdiff_t high_ = (part_ + 1) * {SEGMENT};
  row_ = own_row_;
  column_ = part_ * {SEGMENT} + lane_ % width_ * 4;
  index_ = row_ * column_count_ + column_;
  left_ = (high_ < column_count_ ? high_ : column_count_) - column_;
  if (row_ >= row_count_) left_ = 0;
  column_step_ = 128;""",
    COLUMN: f"""const ptrdiff_t low_ = (first_ / tiles_ * {WARPS} + warp_) * {ROWS};
  row_ = low_;
  column_ = first_ % tiles_ * {LANES} + lane_ * 4;
  index_ = row_ * column_count_ + column_;
  left_ = column_count_ - column_;
  turns_ = row_count_ - low_ < {ROWS} ? row_count_ - low_ : {ROWS};
  if (left_ <= 0) turns_ = 0;
  stride_ = column_count_;
  fewer_ = 0;
  row_step_ = 1;""",
}
WALK = """const auto walk_ = [&](auto whole_) {{
  #pragma unroll {unrolled}
  for (int turn_ = 0; turn_ < (int)turns_; ++turn_) {{
    step_(whole_);
    index_ += stride_;
    left_ -= fewer_;
    row_ += row_step_;
    column_ += column_step_;
    if (column_ >= column_count_) {{
      column_ -= column_count_;
      ++row_;
    }}
  }}
}};
if ({whole}) walk_(gdopt_flag<true>());
else walk_(gdopt_flag<false>());"""


class PassPrinter(EndPrinter):
    """Prints the launches of a program for one way to store and to give its arrays.

    The kernels take pointers_ (arrays, inputs) and slots_ as of `print_fused`; shapes_
    (arrays, 4): rows, columns, place in rows_, and where its part of scratch_ begins;
    work_ (blocks, 4): array, kind of loop, number in it, blocks of that array;
    scratch_; counters_ (arrays,), all zero before and after; s0, s1, ... or scalars_
    (rows, hoisted), in float64; rows_, done_, seed_, origin_, t_ and counter_ as of
    `print_fused`. Every array is reached by a pointer; the separate ones may have
    strides.
    """

    def __init__(self, program: ReducingProgram, variant: KernelVariant) -> None:
        super().__init__(program, variant)
        self._kind = ELEMENT_TYPES[variant.compute]

    def print(self, number: int) -> KernelText:
        """Print a launch."""
        launch, sums = self.launches[number], 0
        body = self._head()
        if launch.one is not None:
            sums = sum(map(self.terms, launch.one.reductions))
            body += [WAY, *self._ways(launch.one), *self._loop(launch.one)]
            body += self.finishers(launch)
            for kind in kinds_of(launch.one):
                if ends := self.end(launch, kind):
                    body += [f"if (kind_ == {KINDS[kind]}) {{", *ends, "}"]
        body += self.last_block(launch)
        inputs, outputs = self._arguments()
        functions = (WHOLE, REDUCE, NORM) if launch.groups else (WHOLE,)
        return KernelText(
            ", ".join(inputs),
            ", ".join(outputs),
            "\n".join(body),
            f"gdopt_{self.program.name}_{number + 1}",
            options=(OPTIONS[0], f"--maxrregcount={128 if sums <= MOST_SUMS else 168}"),
            preamble=self.variant.preamble(*functions),
            block=BLOCK,
        )

    def _arguments(self) -> tuple[list[str], list[str]]:
        variant = self.variant
        inputs = ["raw int64 slots_", "raw int64 shapes_", "raw int64 work_"]
        inputs += hoisted_inputs(self.program, variant, "float64")
        inputs += ["raw int32 rows_"] if variant.rows else []
        inputs += ["raw bool done_"] if variant.may_skip else []
        inputs += variant.random_inputs
        inputs += ["int32 axes_"] if variant.strided else []
        outputs = ["raw float64 scratch_", "raw uint32 counters_"]
        return inputs, [*outputs, "raw uint64 pointers_"]

    def _head(self) -> list[str]:
        """Print which array a block works on, where it lies, and the hoisted values."""
        variant, slots, stored = self.variant, self.plan.slots, self.variant.all_stored
        width = f"(2 + {1 + len(stored)} * axes_)" if variant.strided else "2"
        values = f"{len(slots[ARRAY])} + {len(slots[ROW])} * row_count_ + "
        values += f"{len(slots[COLUMN])} * column_count_"
        lines = ["if (!done_[0]) continue;"] if variant.may_skip else []
        lines += [
            f"const int thread_ = threadIdx.x, lane_ = thread_ % {WARP};",
            f"const int warp_ = thread_ / {WARP};",
            f"const long long* const block_ = &work_[0] + i / {BLOCK} * 4;",
            "const ptrdiff_t array_ = block_[0], kind_ = block_[1];",
            "const ptrdiff_t first_ = block_[2];",
            "const long long* const shape_ = &shapes_[0] + array_ * 4;",
            f"const long long* const slot_ = &slots_[0] + array_ * {width};",
            "const ptrdiff_t row_count_ = shape_[0], column_count_ = shape_[1];",
            "const ptrdiff_t size_ = row_count_ * column_count_;",
            CUTS,
            "double* const y_ = &scratch_[0] + shape_[3];",
            f"double* const parts_ = y_ + {values};",
        ]
        for number in range(len(stored)):
            kind, pointer = self._type(number), f"array_ * {len(stored)} + {number}"
            lines.append(
                f"{kind}* const at{number}_ = "
                f"reinterpret_cast<{kind}*>(pointers_[{pointer}]);"
            )
        hoisted = len(self.program.hoisted)
        if variant.table:
            row = f" + (ptrdiff_t)rows_[shape_[2]] * {hoisted}" if variant.rows else ""
            lines.append(f"const double* const table_ = &scalars_[0]{row};")
        for k in range(hoisted):
            text = f"table_[{k}]" if variant.table else f"s{k}"
            lines.append(f"const double h{k}_ = {text};")
        if variant.random and variant.device_counter:
            lines.append("const unsigned t_ = (unsigned)counter_[0];")
        return lines

    def _type(self, number: int) -> str:
        return ELEMENT_TYPES[self.variant.all_stored[number].dtype]

    @staticmethod
    def _ways(one: ArrayPass) -> list[str]:
        """Print where a thread begins in each kind of loop."""
        lines = list[str]()
        for kind in kinds_of(one):
            way = WAYS[kind]
            if kind == ARRAY:
                way = way.format(warps=WARPS, span=SEGMENT if one.reductions else SPAN)
            if kind != COLUMN:
                way += "\n  turns_ = left_ > 0 ? (left_ + 127) / 128 : 0;"
            lines += [f"if (kind_ == {KINDS[kind]}) {{", f"  {way}", "}"]
        return lines

    def _loop(self, one: ArrayPass) -> list[str]:
        """Print a thread's lanes, what it does with four elements, and its way."""
        lines, names = list[str](), Names()
        for j, value in enumerate(one.reductions):
            lines += self.lanes(value, f"{j}_")
        for k, value in enumerate(one.program.hoisted):
            if value.kind in {SCALAR, ARRAY}:
                text = self.read(value, names, lines, "y_")
                lines.append(f"const {self._kind} e{k}_ = ({self._kind}){text};")
        whole = ["left_ - (turns_ - 1) * fewer_ >= 4", "stride_ % 4 == 0"]
        whole += [
            f"gdopt_aligned<{self._type(k)}, 4>(at{k}_ + index_)" for k in one.places
        ]
        if self.variant.copy is not None and 0 in one.places:
            k = len(self.variant.stored)
            whole.append(f"gdopt_aligned<{self._type(k)}, 4>(at{k}_ + index_)")
        narrow = one.program.stores or self._kind == "double"
        walk = WALK.format(
            unrolled=1 if narrow else max(1, 4 // len(one.reductions)),
            whole="false" if self.variant.strided else " && ".join(whole),
        )
        return [
            *lines,
            "const auto step_ = [&](auto whole_) {",
            *self._four(one, names),
            "};",
            walk,
        ]

    def _four(self, one: ArrayPass, names: Names) -> list[str]:
        """Print what is done with four neighbours: read, compute, reduce, write."""
        program, variant, lines = one.program, self.variant, list[str]()
        outs = [
            (number, variant.stored[number], program.results[k])
            for k, number in enumerate(one.places)
            if program.writes(k)
        ]
        if variant.copy is not None and outs and outs[0][0] == 0:
            outs.append((len(variant.stored), variant.copy, program.results[0]))
        for symbol, number in zip(program.inputs, one.places, strict=True):
            if program.reads(symbol):
                lines.append(f"const auto in{number}_ = {self._access(number)};")
                if number == 0 and variant.copy is not None:
                    k = len(variant.stored)
                    lines.append(f"const auto in{k}_ = {self._access(k)};")
        lines += [f"gdopt_pack<{self._type(k)}, 4> out{k}_;" for k, _, _ in outs]
        words = variant.random_words if outs else range(0)
        place = "origin_ + slot_[0] + index_"
        for w in words:
            key = f"gdopt_random_key(seed_ + {w}u, t_, {place})"
            lines.append(f"const unsigned key{w}_ = {key};")
        lines += [
            "ptrdiff_t row_at_ = row_, column_at_ = column_;",
            "#pragma unroll",
            "for (int k_ = 0; k_ < 4; ++k_) {",
            "if (!decltype(whole_)::value && k_ >= left_) continue;",
            "const ptrdiff_t row_ = row_at_, column_ = column_at_;",
            "if (++column_at_ == column_count_) column_at_ = 0, ++row_at_;",
        ]
        lines += self._values(one, names)
        lines += print_stores(outs, names, words, place)
        several = len(kinds_of(one)) > 1
        for j, value in enumerate(one.reductions):
            only = f"if (kind_ == {KINDS[value.kind]}) " if several else ""
            lines.append(only + self.accumulate(value, names[program.kept[j]], f"{j}_"))
        writes = [self._access(k, f"out{k}_") + ";" for k, _, _ in outs]
        return [*lines, "}", *writes]

    def _values(self, one: ArrayPass, names: Names) -> list[str]:
        """Print the values of an element, and name them."""
        program, lines = one.program, list[str]()
        for symbol, number in zip(program.inputs, one.places, strict=True):
            names[symbol] = f"v_{symbol.name}_"
            if program.reads(symbol):
                text = self.variant.value(number)
                lines.append(f"const {self._kind} {names[symbol]} = {text};")
        for k, value in enumerate(program.hoisted):
            if value.kind not in {SCALAR, ARRAY}:
                text = self.read(value, names, lines, "y_")
                lines.append(f"const {self._kind} e{k}_ = ({self._kind}){text};")
        names |= {symbol: f"e{k}_" for symbol, k in program.places.items()}
        return lines + print_statements(program.instructions, names, self._kind)

    def _access(self, number: int, written: str = "") -> str:
        """Print how four neighbours are read, or written, of an array."""
        stored = self.variant.all_stored[number]
        if self.variant.strided and stored.separate:
            how = "scatter" if written else "gather"
            call = f"gdopt_{how}<{self._type(number)}, 4>(at{number}_, index_, left_, "
            call += self.steps(number)
        else:
            how = "put" if written else "take"
            kind = f"decltype(whole_)::value, {self._type(number)}, 4"
            call = f"gdopt_{how}<{kind}>(at{number}_ + index_, left_"
        return f"{call}{', ' if written else ''}{written})"
