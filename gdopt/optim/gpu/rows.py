"""What steps that update some rows need on a GPU: sums of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend
from gdopt.kernels.cuda.engine import Launch
from gdopt.kernels.cuda.text import ELEMENT_TYPES, KernelText

SUM = """const ptrdiff_t row_ = i / width_, column_ = i % width_;
{kind} sum_ = g[order_[firsts_[row_]] * width_ + column_];
for (long long k_ = firsts_[row_] + 1; k_ < firsts_[row_ + 1]; ++k_)
  sum_ += g[order_[k_] * width_ + column_];
total_[i] = sum_;"""


def add_rows(backend: Backend, g: Array, order: np.ndarray, firsts: np.ndarray) -> Any:
    """Add up the gradients of each row; see `gdopt.kernels.cpu.row_sums.add_rows`."""
    name, send = g.dtype.name, backend.from_host
    total = backend.xp.empty((len(firsts) - 1, *g.shape[1:]), g.dtype)
    text = KernelText(
        f"raw {name} g, raw int64 order_, raw int64 firsts_, int64 width_",
        f"raw {name} total_",
        SUM.format(kind=ELEMENT_TYPES[name]),
        f"gdopt_add_rows_{name}",
    )
    arguments = {"order_": send(order), "firsts_": send(firsts), "total_": total}
    arguments["g"] = backend.xp.ascontiguousarray(g)
    arguments["width_"] = g.size // len(g)
    Launch(text, total.size, {})(arguments)
    return total
