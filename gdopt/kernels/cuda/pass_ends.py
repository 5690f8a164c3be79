"""Prints how blocks end: sums of their warps, then those of an array, and what follows.

The sums of a block's eight warps, which are neighbours, are added in shared memory.
What no block finishes by itself is added by the last block of the array, which a
counter finds; it computes the values of the array, too.
"""

from __future__ import annotations

from gdopt.kernels.cuda.pass_plan import Group, PassLaunch
from gdopt.kernels.cuda.pass_values import Names, ValuePrinter, is_largest
from gdopt.kernels.passes import REDUCTIONS
from gdopt.kernels.sums import LANES, SEGMENT
from gdopt.kernels.symbol import ARRAY, COLUMN, ROW

WARP, WARPS = 32, 8
BLOCK = WARP * WARPS


class EndPrinter(ValuePrinter):
    """Prints what follows the loop over elements."""

    def _region(self, launch: PassLaunch, kind: str) -> str:
        """Print where a launch's sums to a kind begin among the parts."""
        flat, rows = (len(self.sums(launch.one, k)) for k in (ARRAY, ROW))
        before = {ARRAY: "0", ROW: f"{flat} * chunks_"}
        before[COLUMN] = f"{before[ROW]} + {rows} * row_count_ * row_chunks_"
        return f"parts_ + {before[kind]}"

    def finishers(self, launch: PassLaunch) -> list[str]:
        """Print functions that compute what hangs on a row's, or a column's, sums."""
        lines = list[str]()
        for group in launch.groups:
            if group.local:
                sums = self.sums(launch.one, group.kind)
                given = [f"ptrdiff_t {group.kind}_"]
                given += [f"double t{end}" for end, _ in sums]
                lines += [
                    f"const auto finish_{group.kind}_ = [&]({', '.join(given)}) {{",
                    *self.compute(group, {}, launch.one, "y_"),
                    "};",
                ]
        return lines

    def end(self, launch: PassLaunch, kind: str) -> list[str]:
        """Print how a block adds what its warps have summed to a kind."""
        sums = self.sums(launch.one, kind)
        if not sums:
            return []
        size = WARPS * (LANES if kind == COLUMN else len(sums))
        shared = f"__shared__ double shared_[{size}];"
        ends = {ARRAY: self._end_array, ROW: self._end_rows, COLUMN: self._end_columns}
        return [shared, *ends[kind](launch, sums)]

    def _together(self, sums: list[tuple[str, str]], width: str) -> list[str]:
        """Print the sums of a warp; then those of the block, to be read by thread 0."""
        return [
            f"const double t{end} = gdopt_halves<{largest}>(lanes{end}, {width});"
            for end, largest in sums
        ]

    def _of_block(
        self, sums: list[tuple[str, str]], what_follows: list[str]
    ) -> list[str]:
        """Print the sums of a block, and what its first thread does with them."""
        given = [
            f"if (!lane_) shared_[{k * WARPS} + warp_] = t{end};"
            for k, (end, _) in enumerate(sums)
        ]
        folded = [
            f"const double t{end} = gdopt_eight<{largest}>(shared_ + {k * WARPS}, 1);"
            for k, (end, largest) in enumerate(sums)
        ]
        lines = [*folded, *what_follows]
        return [*given, "__syncthreads();", "if (!thread_) {", *lines, "}"]

    def _end_array(self, launch: PassLaunch, sums: list[tuple[str, str]]) -> list[str]:
        region = self._region(launch, ARRAY)
        parts = [
            f"({region})[{k} * chunks_ + first_] = t{end};"
            for k, (end, _) in enumerate(sums)
        ]
        return [*self._together(sums, "32"), *self._of_block(sums, parts)]

    def _end_rows(self, launch: PassLaunch, sums: list[tuple[str, str]]) -> list[str]:
        call = f"finish_row_(own_row_, {', '.join(f't{end}' for end, _ in sums)});"
        region = self._region(launch, ROW)
        parts = [
            f"({region})[{k} * row_count_ * row_chunks_ + first_] = t{end};"
            for k, (end, _) in enumerate(sums)
        ]
        several = [f"if (row_chunks_ == 1) {call}", "else {", *parts, "}"]
        return [
            *self._together(sums, "width_"),
            f"if (column_count_ <= {SEGMENT}) {{",
            f"  if (lane_ % width_ == 0 && own_row_ < row_count_) {call}",
            "} else {",
            *self._of_block(sums, several),
            "}",
        ]

    def _end_columns(
        self, launch: PassLaunch, sums: list[tuple[str, str]]
    ) -> list[str]:
        lines = list[str]()
        for end, largest in sums:
            folded = f"gdopt_eight<{largest}>(shared_ + thread_ % {LANES}, {LANES})"
            lines += [
                "__syncthreads();",
                "#pragma unroll",
                "for (int k_ = 0; k_ < 4; ++k_)",
                f"  shared_[warp_ * {LANES} + lane_ * 4 + k_] = lanes{end}[k_];",
                "__syncthreads();",
                f"const double t{end} = {folded};",
            ]
        given = ", ".join(f"t{end}" for end, _ in sums)
        at = "first_ / tiles_) * column_count_ + own_column_]"
        parts = [
            f"({self._region(launch, COLUMN)})[({k} * column_chunks_ + {at} = t{end};"
            for k, (end, _) in enumerate(sums)
        ]
        return [
            *lines,
            f"const ptrdiff_t own_column_ = first_ % tiles_ * {LANES} + thread_;",
            f"if (thread_ < {LANES} && own_column_ < column_count_) {{",
            f"  if (column_chunks_ == 1) finish_column_(own_column_, {given});",
            "  else {",
            *parts,
            "}}",
        ]

    def last_block(self, launch: PassLaunch) -> list[str]:
        """Print what the last block of an array does; without groups, there is none."""
        if not launch.groups:
            return []
        chunks = [f"{g.kind}_chunks_ > 1" for g in launch.groups if g.local]
        local = all(group.local for group in launch.groups)
        needed = " || ".join(chunks) if local else "true"
        names: Names = {}
        inside = [
            line for group in launch.groups for line in self._last(launch, group, names)
        ]
        return [
            f"if ({needed}) {{",
            "__shared__ bool last_;",
            "__threadfence();",
            "__syncthreads();",
            "if (!thread_)",
            "  last_ = block_[3] == 1 ||",
            "      atomicAdd(&counters_[array_], 1u) == (unsigned)(block_[3] - 1);",
            "__syncthreads();",
            "if (last_) {",
            "__threadfence();",
            "if (!thread_) counters_[array_] = 0u;",
            "volatile double* const seen_ = y_;",
            *inside,
            "}}",
        ]

    def _last(self, launch: PassLaunch, group: Group, names: Names) -> list[str]:
        """Print what the last block does for a group."""
        kind = group.kind
        if group.local:
            return self._last_units(launch, kind)
        reduces = any(node.operation in REDUCTIONS for node in group.nodes)
        if reduces and not group.reduced:  # values of rows or columns
            return self._reduce(group, names)
        if kind == ARRAY:
            sums = self.sums(launch.one, ARRAY) if group.reduced else []
            trees = [
                f"const double t{end} = gdopt_neighbours<{largest}>"
                f"(parts_ + {k} * chunks_, chunks_, 1, thread_, {BLOCK});"
                for k, (end, largest) in enumerate(sums)
            ]
            return [*trees, *self.compute(group, names, launch.one, "seen_")]
        at, end = f"{kind}_", f"{kind}_count_"
        return [
            "__syncthreads();",
            f"for (ptrdiff_t {at} = thread_; {at} < {end}; {at} += {BLOCK}) {{",
            *self.compute(group, dict(names), launch.one, "seen_"),
            "}",
        ]

    def _last_units(self, launch: PassLaunch, kind: str) -> list[str]:
        """Print how the rows, or columns, that no block has finished are finished."""
        sums = self.sums(launch.one, kind)
        count, chunks = f"{kind}_count_", f"{kind}_chunks_"
        at, step = ("unit_ * row_chunks_", "1") if kind == ROW else ("unit_", count)
        trees = [
            f"const double t{end} = gdopt_neighbours<{largest}>"
            f"({self._region(launch, kind)} + {k} * {count} * {chunks} + {at}, "
            f"{chunks}, {step}, 0, 1);"
            for k, (end, largest) in enumerate(sums)
        ]
        return [
            f"if ({chunks} > 1)",
            f"for (ptrdiff_t unit_ = thread_; unit_ < {count}; unit_ += {BLOCK}) {{",
            *trees,
            f"finish_{kind}_(unit_, {', '.join(f't{end}' for end, _ in sums)});",
            "}",
        ]

    def _reduce(self, group: Group, names: Names) -> list[str]:
        """Print how a block reduces values of rows or columns."""
        (node,) = group.nodes
        (operand,) = node.arguments
        at, end = f"{operand.kind}_", f"{self.number(node)}_"
        count, terms = f"{operand.kind}_count_", range(self.terms(node))
        parts = f"(({count} + {SEGMENT - 1}) / {SEGMENT})"
        inner = list[str]()
        value = self.read(operand, dict(names), inner, "seen_")
        folds, trees = list[str](), list[str]()
        for term in terms:
            sum_ = f"gdopt_halves<{is_largest(node)}>(lanes{end}{term}_, 32)"
            place = f"parts_[{term} * {parts} + part_]"
            folds.append(f"const double u{term}_ = {sum_};")
            folds.append(f"if (!lane_) {place} = u{term}_;")
            tree = f"gdopt_neighbours<{is_largest(node)}>(parts_ + {term} * {parts}, "
            tree += f"{parts}, 1, thread_, {BLOCK})"
            trees.append(f"const double u{end}{term}_ = {tree};")
        lines = list[str]()
        self.name(node, self.joined(node, [f"u{end}{t}_" for t in terms]), names, lines)
        lines += self.store(group, names, lines, "seen_")
        return [
            "__syncthreads();",
            f"for (ptrdiff_t part_ = warp_; part_ < {parts}; part_ += {WARPS}) {{",
            *self.lanes(node, end),
            f"for (int r_ = lane_ * 4; r_ < {SEGMENT}; r_ += {LANES})",
            "for (int k_ = 0; k_ < 4; ++k_) {",
            f"const ptrdiff_t {at} = part_ * {SEGMENT} + r_ + k_;",
            f"if ({at} >= {count}) continue;",
            *inner,
            self.accumulate(node, value, end),
            "}",
            *folds,
            "}",
            "__syncthreads();",
            *trees,
            *lines,
        ]
