"""Prints the sum of squares in two stages whose order is fixed, and so are its bits.

Element number k of a layout is added, in float64, to lane k modulo the number of lanes,
one after the other; the lanes are added to 256 totals alike. NumPy does the same in
`gdopt.kernels.norm`. Where an element is NaN or infinite, the sum is NaN; where
finite squares overflow, it is infinite.
"""

from __future__ import annotations

from gdopt.arrays.dtypes import Storage, compute_name
from gdopt.kernels.cuda.fused import (
    KernelVariant,
    apart_inputs,
    find_array,
    find_place,
    read_pack,
)
from gdopt.kernels.cuda.text import C_TYPES, RAW_TYPES, KernelText
from gdopt.kernels.norm import TOTALS


def pack_width(dtype: str, *, strided: bool = False) -> int:
    """Say how many numbers of that dtype a thread reads at once."""
    return KernelVariant((Storage(dtype),), compute_name(dtype), strided=strided).width


def print_lanes(
    stored: Storage, *, columns: int = 1, column: int = 0, strided: bool = False
) -> KernelText:
    """Print the first stage: ``lanes / pack_width`` threads of a pack of lanes each.

    It takes g (size,), or for arrays apart the tables of `print_fused`; size_ and
    lanes_; and writes partials_ (lanes,).

    Args:
        stored: the gradients.
        columns: of the table of pointers.
        column: which of them is the gradients'.
        strided: whether the tables have strides.
    """
    every = (stored,) * columns
    form = KernelVariant(every, compute_name(stored.dtype), strided=strided)
    inputs, outputs = ["int64 size_", "int64 lanes_"], ["raw float64 partials_"]
    if stored.apart:
        inputs += apart_inputs(strided=strided)
        outputs.append("raw uint64 pointers_")
    else:
        inputs.append(f"raw {RAW_TYPES.get(stored.dtype, stored.dtype)} g")
    width, kind = form.width, C_TYPES[form.compute]
    lines = [f"double sums_[{width}] = {{}};", f"{kind} strange_[{width}] = {{}};"]
    lines.append(f"#pragma unroll {2 if width == 8 else 8}")  # more would spill
    step = "first_ < size_; first_ += lanes_"
    lines.append(f"for (ptrdiff_t first_ = (ptrdiff_t){width} * i; {step}) {{")
    if stored.apart:
        lines += find_array(form)
        lines.append(find_place(stored, column, form))
    lines += [
        f"const auto pack_ = {read_pack(stored, 'g', column, form)};",
        "#pragma unroll",
        f"for (int k_ = 0; k_ < {width}; ++k_) {{",
        f"  const {kind} g_ = gdopt_{stored.dtype}_value(pack_.x[k_]);",
        "  sums_[k_] += (double)g_ * (double)g_;",
        "  strange_[k_] += g_ - g_;",
        "}",
        "}",
        "#pragma unroll",
        f"for (int k_ = 0; k_ < {width}; ++k_)",
        f"  partials_[(ptrdiff_t){width} * i + k_] = sums_[k_] + strange_[k_];",
    ]
    return KernelText(
        ", ".join(inputs),
        ", ".join(outputs),
        "\n".join(lines),
        f"gdopt_squares_{stored.dtype}",
        preamble=form.preamble(),
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
