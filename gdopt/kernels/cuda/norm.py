"""The two launches that compute the norm, in the order of `gdopt.kernels.norm`.

A warp adds up a segment: a thread owns four lanes, and reads them in each row of 128
elements at once, so a warp's reads follow each other in memory. Lanes are folded by
shuffles. Writing them out and adding them in the next launch would need no shuffles,
but another tenth of the traffic. One block then adds all segments' sums, level by
level, 16 neighbours a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout
from gdopt.arrays.backend import Array, Backend
from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda.engine import Launch, as_bits
from gdopt.kernels.cuda.text import (
    ELEMENT_TYPES,
    NORM,
    PACKS,
    PARTS,
    RAW_TYPES,
    REDUCE,
    SEPARATE,
    STRIDED,
    KernelText,
)
from gdopt.kernels.norm import NormPlan
from gdopt.kernels.sums import SEGMENT

WARP, BLOCK = 32, 1024
FAN = 16  # neighbours that a thread adds


def print_segments(
    stored: Storage, *, columns: int = 1, column: int = 0, strided: bool = False
) -> KernelText:
    """Print the sums of segments, a warp each.

    It takes g (size,), or for separate arrays pointers_, in some column of it (and
    slots_, axes_), as of `print_fused`; segments_ (segments, 5): first element in its
    array, number of elements, number of the sum, number of the array, first element in
    g; and nodes_, the distance between the sums of a segment. It writes sums_.
    """
    kind, scaled = ELEMENT_TYPES[stored.dtype], stored.dtype == "float64"
    lanes = [f"lanes{k}_" for k in range(3 if scaled else 1)]
    inputs, outputs = ["raw int64 segments_", "int32 nodes_"], ["raw float64 sums_"]
    if stored.separate:
        outputs.append("raw uint64 pointers_")
    else:
        inputs.append(f"raw {RAW_TYPES.get(stored.dtype, stored.dtype)} g")
    inputs += ["raw int64 slots_", "int32 axes_"] if strided else []
    start = _start(stored, f"segment_[4] * {columns} + {column}", strided=strided)
    read = f"gdopt_read_some<{kind}, 4>(at_ + r_, count_ - r_)"
    if strided:
        slot = f"&slots_[0] + segment_[4] * (2 + {1 + columns} * axes_) + 2"
        steps = f"{slot} + {1 + column} * axes_"
        read = f"gdopt_gather<{kind}, 4>(at_, segment_[0] + r_, count_ - r_, "
        read += f"{slot}, {steps}, axes_)"
    whole = f"""if (count_ == {SEGMENT} && gdopt_aligned<{kind}, 4>(at_)) {{
  #pragma unroll {2 if scaled else 8}
  for (int r_ = 0; r_ < {SEGMENT}; r_ += 128)
    add_(gdopt_read<{kind}, 4>(at_ + own_ + r_));
}} else"""
    own = ", ".join(f"{x}[k_]" for x in lanes)
    body = f"""const int own_ = i % {WARP} * 4;
const long long* const segment_ = &segments_[0] + i / {WARP} * 5;
const ptrdiff_t count_ = segment_[2];
const {kind}* const at_ = {start};
double {", ".join(f"{x}[4] = {{}}" for x in lanes)};
const auto add_ = [&](const gdopt_pack<{kind}, 4>& pack_) {{
  #pragma unroll
  for (int k_ = 0; k_ < 4; ++k_)
    gdopt_add_square(gdopt_{stored.dtype}_value(pack_.x[k_]), {own});
}};
{"" if strided else whole}
  #pragma unroll 1
  for (ptrdiff_t r_ = own_; r_ < count_; r_ += 128) add_({read});
"""
    for k, x in enumerate(lanes):
        body += f"const double sum{k}_ = gdopt_halves<false>({x}, 32);\n"
        body += f"if (!own_) sums_[(ptrdiff_t)nodes_ * {k} + segment_[3]] = sum{k}_;\n"
    return KernelText(
        ", ".join(inputs),
        ", ".join(outputs),
        body,
        f"gdopt_squares_{stored.dtype}",
        preamble="".join(
            [PACKS, PARTS.get(stored.dtype, ""), SEPARATE, STRIDED, REDUCE, NORM]
        ),
    )


def _start(stored: Storage, pointer: str, *, strided: bool) -> str:
    """Print where a segment begins; with strides, where its array does."""
    if not stored.separate:
        return "&g[0] + segment_[1]"
    array = f"reinterpret_cast<const {ELEMENT_TYPES[stored.dtype]}*>"
    return f"{array}(pointers_[{pointer}]){'' if strided else ' + segment_[0]'}"


def print_norm(*, sums: int) -> KernelText:
    """Print the sum over all segments, and its root; one block of threads runs it.

    It takes levels_ (depth_ + 1,), which sums are on each level; firsts_, the first sum
    below of each; nodes_, the number of all; sums_ (1 or 3, nodes_), where it writes
    those that follow the segments'; and writes norm_ (2,): the
    norm, and a sum that is finite if all elements are.
    """
    others = ("sum_[nodes_]", "sum_[2 * nodes_]") if sums > 1 else ("0.0", "0.0")
    body = f"""for (int level_ = 0; level_ < depth_; ++level_) {{
  const int end_ = levels_[level_ + 1];
  for (int node_ = levels_[level_] + (int)i; node_ < end_; node_ += {BLOCK}) {{
    const int* const first_ = &firsts_[0] + (node_ - levels_[0]);
    const int below_ = first_[0], count_ = first_[1] - below_;
    #pragma unroll
    for (int which_ = 0; which_ < {sums}; ++which_) {{
      double* const sum_ = &sums_[0] + (ptrdiff_t)nodes_ * which_;
      double x_[{FAN}];
      #pragma unroll
      for (int k_ = 0; k_ < {FAN}; ++k_) x_[k_] = k_ < count_ ? sum_[below_ + k_] : 0.0;
      #pragma unroll
      for (int w_ = 1; w_ < {FAN}; w_ *= 2)
        #pragma unroll
        for (int k_ = 0; k_ < {FAN}; k_ += 2 * w_) x_[k_] += x_[k_ + w_];
      sum_[node_] = x_[0];
    }}
  }}
  __syncthreads();
}}
if (i == 0) {{
  const double* const sum_ = &sums_[0] + (nodes_ - 1);
  norm_[0] = gdopt_root(sum_[0], {others[0]}, {others[1]}, &norm_[0] + 1);
}}
"""
    return KernelText(
        "raw int32 levels_, raw int32 firsts_, int32 depth_, int32 nodes_",
        "raw float64 sums_, raw float64 norm_",
        body,
        "gdopt_squares_total",
        preamble=NORM,
        block=BLOCK,
    )


class GradNorm:
    """Computes the norm of the gradients of every dtype on the device."""

    def __init__(self, backend: Backend, device: str, layout: Layout) -> None:
        plan, self._backend = NormPlan(layout, FAN), backend
        self._plan, self._nodes = plan, np.int32(plan.ends[-1])
        self._sums = backend.zeros(int(self._nodes) * plan.sums, np.float64, device)
        self._tables = {
            group: backend.from_host(rows.reshape(-1), device)
            for group, rows in plan.segments.items()
        }
        fixed = {"depth_": np.int32(len(plan.ends) - 1), "nodes_": self._nodes}
        fixed |= {"levels_": backend.from_host(plan.ends, device), "sums_": self._sums}
        fixed["firsts_"] = backend.from_host(plan.firsts, device)
        self.finish = Launch(print_norm(sums=plan.sums), BLOCK, fixed)
        self._launches: dict[Any, Launch] = {}

    def add(
        self,
        group: str,
        gradients: Mapping[str, Any],
        *,
        columns: int = 1,
        column: int = 0,
    ) -> None:
        """Launch the sums of a dtype: of the buffer g, or of a column of pointers."""
        separate, strided = "pointers_" in gradients, "axes_" in gradients
        key = group, columns, column, separate, strided
        if key not in self._launches:
            stored = Storage(group, separate=separate)
            at = {"columns": columns, "column": column}
            text = print_segments(stored, **at, strided=strided)
            fixed = {"segments_": self._tables[group], "sums_": self._sums}
            fixed["nodes_"] = self._nodes
            threads = WARP * len(self._plan.segments[group])
            self._launches[key] = Launch(text, threads, fixed)
        self._launches[key](dict(gradients))

    def __call__(self, grads: Arena) -> Array:
        """Return the norm of gradients in an arena, a 0-d array on the device."""
        for group, buffer in grads.buffers.items():
            self.add(group, {"g": as_bits(buffer)})
        norm = self._backend.xp.empty(2, np.float64)
        self.finish({"norm_": norm})
        return norm[0]

    def of_arrays(self, grads: Arena) -> np.ndarray:
        """Return the sums of squares of each array, on the host: (1 or 3, arrays)."""
        with self._backend.on(grads.device):
            self(grads)
            sums = self._sums.reshape(self._plan.sums, -1)[:, self._plan.arrays]
            return self._backend.to_host(sums)
