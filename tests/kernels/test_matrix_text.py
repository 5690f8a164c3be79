"""The text of the network's CUDA kernels compiles, without a GPU, as it should."""

import re

import pytest

from gdopt.kernels.cuda.matrix import BY_COLUMNS, BY_ROWS, CudaRows
from gdopt.kernels.matrix import column_sums
from gdopt.nn import formulas
from gdopt.training.graph import gather_text

pytestmark = [pytest.mark.cuda_text, pytest.mark.slow]

LOSSES = {
    "softmax": (formulas.softmax_cross_entropy, "int64"),
    "sigmoid": (formulas.binary_cross_entropy, "uint8"),
    "linear": (formulas.squared_error, None),
    "probabilities": (formulas.log_loss, "int64"),
    "one probability": (formulas.binary_log_loss, "uint8"),
}
CALLS = ("exp", "log", "tanh")  # which CUDA computes by other operations


def texts_of(dtype):
    """Print every kernel of a network; those with nothing but exact operations too."""
    printed = {}

    def printer(kernel, vectors=(), **stored):
        names = [symbol.name for symbol in kernel._program.inputs]
        stored = dict.fromkeys(names, dtype) | stored
        return CudaRows(kernel._program, dtype, stored, vectors)

    for name, made in (("no", formulas.NO_ACTIVATION), *formulas.ACTIVATIONS.items()):
        printed[name, "biased"] = printer(made.apply_biased, ("bias",)).by_elements(
            large=False
        )
        if name != "no":
            printed[name, "plain"] = printer(made.apply).by_elements(large=True)
            printed[name, "back"] = printer(made.back).by_elements(large=False)
        printed[name, "back and sums"] = printer(made.back).by_units(
            BY_COLUMNS, total=True
        )
    printed["sums"] = printer(column_sums).by_units(BY_COLUMNS, total=True)
    for name, (kernel, label) in LOSSES.items():
        program = kernel._kernel.program()
        stored = dict.fromkeys((s.name for s in program.inputs), dtype)
        stored |= {"label": label or dtype}
        vectors = ("loss", "label") if label else ("loss",)
        printed[name, "loss"] = CudaRows(program, dtype, stored, vectors).by_units(
            BY_ROWS
        )
    return printed


@pytest.mark.parametrize("arch", ["75", "90", "120"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_of_a_network_is_exact_and_narrow(dtype, arch, cuda_text):
    printed = texts_of(dtype)
    for key, kernel in cuda_text.compile_many(printed, f"sm_{arch}").items():
        assert not kernel.spilled, key
        assert kernel.registers <= 64, key
        assert dtype == "float64" or ".f64" not in kernel.ptx, key
        if not any(f"{call}(" in printed[key].body for call in CALLS):
            assert [word for word in kernel.arithmetic if ".rn" not in word] == [], key
            assert not re.search(r"\b(?:fma|rcp|approx)\b", kernel.ptx), key


@pytest.mark.parametrize(("elements", "bits"), [(1 << 20, 32), (1 << 33, 64)])
def test_a_batch_is_gathered_without_a_division_in_64_bits(elements, bits, cuda_text):
    text = gather_text(elements)
    text = type(text)(
        text.inputs.replace("raw T", "raw float32"),
        text.outputs.replace("raw T", "raw float32"),
        text.body,
        text.name,
        preamble="",
    )
    ptx = cuda_text.compile_one(text).ptx
    assert bool(re.search(r"\b(?:div|rem)\.[us]64", ptx)) == (bits == 64)


def test_a_bias_needs_no_division_in_64_bits(cuda_text):
    ptx = cuda_text.compile_one(texts_of("float32")["relu", "biased"]).ptx
    assert not re.search(r"\b(?:div|rem)\.[us]64", ptx)
