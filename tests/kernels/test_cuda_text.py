"""The text of every rule's CUDA kernel compiles, without a GPU, as it should."""

import re

import pytest
from rules import KERNELS

import gdopt

cuda = pytest.importorskip("gdopt.kernels.cuda")
pytestmark = pytest.mark.cuda_text

ARCHITECTURES = ("80", "90")
STORAGE = {
    "float32": ("float32", "float32", "float32"),
    "float64": ("float64", "float64", "float64"),
    "float16": ("float16", "float32", "float32"),  # state and arithmetic in float32
}


def dtypes_of(program, parameter, state):
    return [
        state if 0 < place < len(program.inputs) - 1 else parameter
        for place in range(len(program.inputs))
    ]


def arithmetic(ptx):
    return re.findall(r"\b(?:add|sub|mul|div|sqrt)\.[a-z.]*f(?:32|64)\b", ptx)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("name", KERNELS)
def test_every_rule_compiles_to_exact_arithmetic(name, storage, arch, cuda_text):
    parameter, state, compute = STORAGE[storage]
    program = KERNELS[name].program()
    dtypes = dtypes_of(program, parameter, state)
    text = cuda.print_kernel(program, dtypes, compute)
    source = cuda_text.generated_source(text)
    cubin, ptx, log = cuda_text.compile_cuda(source, text, arch)
    assert cubin.startswith(b"\x7fELF")
    assert arithmetic(ptx)
    assert [word for word in arithmetic(ptx) if ".rn" not in word] == []
    assert re.findall(r"\b(?:fma|neg\.ftz|abs\.ftz|rcp|rsqrt)\b", ptx) == []
    if compute == "float32":
        assert ".f64" not in ptx
    assert "0 bytes spill stores, 0 bytes spill loads" in log
    assert int(re.search(r"Used (\d+) registers", log)[1]) <= 64


@pytest.mark.parametrize("name", ["adam_corrected", "every_operation"])
def test_arrays_are_read_once_and_written_last(name, cuda_text):
    program = KERNELS[name].program()
    text = cuda.print_kernel(program, ["float32"] * len(program.inputs), "float32")
    source = cuda_text.generated_source(text)
    _, ptx, _ = cuda_text.compile_cuda(source, text, "90")
    accesses = re.findall(r"\b(ld|st)\.global", ptx)
    loads = sum(program.reads(symbol) for symbol in program.inputs)
    stores = sum(program.writes(place) for place in range(len(program.inputs)))
    assert accesses == ["ld"] * loads + ["st"] * stores


@pytest.mark.parametrize("name", ["adam_corrected", "momentum_ewa_corrected"])
def test_scalars_may_come_from_a_table_filled_on_the_device(name, cuda_text):
    program = KERNELS[name].program()
    tabled = cuda.print_kernel(
        program, ["float32"] * len(program.inputs), "float32", table=True
    )
    assert tabled.inputs.endswith("raw float32 scalars_")
    source = cuda_text.generated_source(tabled)
    cuda_text.compile_cuda(source, tabled, "90")
    prologue = cuda.print_prologue(program, ["lr"], "float32")
    source = cuda_text.generated_source(prologue, letters={"A": "float32"})
    _, ptx, _ = cuda_text.compile_cuda(source, prologue, "90")
    assert "st.global.f32" in ptx


def test_production_options_forbid_contraction_and_are_the_ones_checked():
    program = KERNELS["sgd"].program()
    text = cuda.print_kernel(program, ["float32"] * 2, "float32")
    assert text.options == ("-fmad=false",)


def test_without_that_option_the_check_would_fail(cuda_text):
    program = KERNELS["sgd"].program()
    text = cuda.print_kernel(program, ["float32"] * 2, "float32")
    loose = cuda.KernelText(text.inputs, text.outputs, text.body, text.name, options=())
    _, ptx, _ = cuda_text.compile_cuda(cuda_text.generated_source(loose), loose, "90")
    assert [word for word in arithmetic(ptx) if ".rn" not in word] != []


def test_a_rule_without_a_name_has_a_valid_kernel(cuda_text):
    program = gdopt.Kernel(lambda p, g: p - g).program()
    text = cuda.print_kernel(program, ["float32"] * 2, "float32")
    assert text.name.isidentifier()
    cuda_text.compile_cuda(cuda_text.generated_source(text), text, "90")
