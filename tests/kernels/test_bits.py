"""Every rule gives equal bits on every engine."""

import numpy as np
import pytest
from rules import KERNELS, SCALARS, bits, special_arrays

from gdopt.kernels.blocks import Blocks
from gdopt.kernels.flush import FlushToZero
from gdopt.kernels.trace import compile_host

SIZES = (0, 1, 3, 1023, 100_003)
DTYPES = ("float32", "float64")


def values_of(program):
    return compile_host(program)(*(SCALARS[name] for name in program.scalars))


def run_blocks(program, arrays, dtype):
    engine = Blocks(program, dtype)
    engine.run(arrays, engine.cast(values_of(program)))


def assert_same_bits(expected, actual, program):
    for symbol, one, other in zip(program.inputs, expected, actual, strict=True):
        assert bits(one) == bits(other), symbol.name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_numba_gives_the_bits_of_numpy(name, dtype):
    loops = pytest.importorskip("gdopt.kernels.loops")
    program = KERNELS[name].program()
    engine = loops.Loop(program, dtype)
    values = engine.cast(values_of(program))
    for size in SIZES:
        expected = special_arrays(len(program.inputs), size, dtype)
        actual = [array.copy() for array in expected]
        run_blocks(program, expected, dtype)
        engine.run(actual, values)
        assert_same_bits(expected, actual, program)


@pytest.mark.cuda_text
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_the_text_of_the_cuda_kernel_gives_the_bits_of_numpy(name, dtype, cuda_text):
    cuda = pytest.importorskip("gdopt.kernels.cuda")
    program = KERNELS[name].program()
    text = cuda.print_kernel(program, [dtype] * len(program.inputs), dtype)
    values = values_of(program)
    for size in SIZES:
        expected = special_arrays(len(program.inputs), size, dtype)
        actual = [array.copy() for array in expected]
        run_blocks(program, expected, dtype)
        mode = FlushToZero() if dtype == "float32" else np.errstate()
        with mode:
            cuda_text.run_on_cpu(program, text, actual, values, dtype)
        assert_same_bits(expected, actual, program)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_give_the_bits_of_one_thread(dtype):
    loops = pytest.importorskip("gdopt.kernels.loops")
    program = KERNELS["adam_corrected"].program()
    size = 1_000_003
    alone = special_arrays(len(program.inputs), size, dtype)
    together = [array.copy() for array in alone]
    parallel = [array.copy() for array in alone]
    blocks, loop = Blocks(program, dtype), loops.Loop(program, dtype)
    values = values_of(program)
    for start in range(0, size, 500_000):  # each piece is too small for threads
        piece = [array[start : start + 500_000] for array in alone]
        blocks.run(piece, blocks.cast(values))
    blocks.run(together, blocks.cast(values))
    loop.run(parallel, loop.cast(values))
    assert_same_bits(alone, together, program)
    assert_same_bits(alone, parallel, program)


@pytest.mark.cuda_text
def test_a_mistake_in_the_text_would_be_seen(cuda_text):
    cuda = pytest.importorskip("gdopt.kernels.cuda")
    program = KERNELS["adam_corrected"].program()
    text = cuda.print_kernel(program, ["float32"] * 4, "float32")
    mistakes = {"x11 = p_ - x10": "x11 = p_ + x10", "v = x7;": "", "s2 * x2": "s2 * m_"}
    for right, wrong in mistakes.items():
        assert right in text.body
        broken = cuda.KernelText(
            text.inputs, text.outputs, text.body.replace(right, wrong), text.name
        )
        expected = special_arrays(4, 1023, "float32")
        actual = [array.copy() for array in expected]
        run_blocks(program, expected, "float32")
        with FlushToZero():
            cuda_text.run_on_cpu(program, broken, actual, values_of(program), "float32")
        assert any(
            bits(one) != bits(other)
            for one, other in zip(expected, actual, strict=True)
        ), wrong
