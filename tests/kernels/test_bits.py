"""Every rule gives equal bits on every engine."""

from dataclasses import replace

import numpy as np
import pytest
import variants
from rules import KERNELS, SCALARS, aligned, bits, sample, special_arrays

from gdopt.kernels.cpu.blocks import Blocks
from gdopt.kernels.cpu.flush import FlushToZero
from gdopt.kernels.cpu.pool import CHUNK, POOL
from gdopt.kernels.trace import compile_host

SIZES = (0, 1, 3, 1023, 100_003)
DTYPES = ("float32", "float64")
# Each kernel in one dtype, the chief ones in both.
IN_TURN, IN_OTHER_TURN = (
    pytest.mark.parametrize(
        ("name", "dtype"),
        [(n, dtype) for k, dtype in enumerate(order) for n in sample(k, len(order))],
    )
    for order in (DTYPES, DTYPES[::-1])
)


def values_of(program):
    return compile_host(program)(*(SCALARS[name] for name in program.scalars))


def run_blocks(program, arrays, dtype):
    engine = Blocks(program, dtype)
    engine.run(arrays, engine.cast(values_of(program)))


def assert_same_bits(expected, actual, program):
    for symbol, one, other in zip(program.inputs, expected, actual, strict=True):
        assert bits(one) == bits(other), symbol.name


@IN_TURN
def test_numba_gives_the_bits_of_numpy(name, dtype):
    loops = pytest.importorskip("gdopt.kernels.cpu.loops")
    program = KERNELS[name].program()
    engine = loops.Loop(program, dtype)
    values = engine.cast(values_of(program))
    for size in SIZES:
        expected = special_arrays(len(program.inputs), size, dtype)
        actual = [array.copy() for array in expected]
        run_blocks(program, expected, dtype)
        engine.run(actual, values)
        assert_same_bits(expected, actual, program)


def run_text(cuda_text, text, program, arrays, *, dtype, width=1):
    """Run a CUDA kernel's text on the CPU, watched for undefined behaviour."""
    arguments = {s.name: a for s, a in zip(program.inputs, arrays, strict=True)}
    scalars = np.array(values_of(program)).astype(dtype)
    arguments |= {f"s{k}": scalar for k, scalar in enumerate(scalars)}
    mode = FlushToZero() if dtype == "float32" else np.errstate()
    size = arrays[0].size // width
    with mode:
        cuda_text.run_on_cpu(text, arguments, size, *cuda_text.SANITIZER)


@pytest.mark.cuda_text
@IN_OTHER_TURN
def test_the_text_of_the_cuda_kernel_gives_the_bits_of_numpy(name, dtype, cuda_text):
    program = KERNELS[name].program()
    text = variants.strided_text(program, dtype, dtype)
    for size in SIZES:
        expected = special_arrays(len(program.inputs), size, dtype)
        actual = [array.copy() for array in expected]
        run_blocks(program, expected, dtype)
        run_text(cuda_text, text, program, actual, dtype=dtype)
        assert_same_bits(expected, actual, program)


@pytest.mark.cuda_text
@IN_TURN
def test_the_text_for_whole_packs_gives_the_bits_of_numpy(name, dtype, cuda_text):
    program = KERNELS[name].program()
    variant = variants.variant_of(program, dtype)
    text = variants.text_of(program, dtype)
    for size in (0, 64, 4096, 100_032):
        expected = special_arrays(len(program.inputs), size, dtype)
        actual = [aligned(size, dtype) for _ in expected]
        for one, other in zip(actual, expected, strict=True):
            one[...] = other
        run_blocks(program, expected, dtype)
        run_text(cuda_text, text, program, actual, dtype=dtype, width=variant.width)
        assert_same_bits(expected, actual, program)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_give_the_bits_of_one_thread(dtype, monkeypatch):
    monkeypatch.setattr(POOL, "size", 2)
    loops = pytest.importorskip("gdopt.kernels.cpu.loops")
    program = KERNELS["adam"].program()
    size = 2 * CHUNK + 1003
    alone = special_arrays(len(program.inputs), size, dtype)
    together = [array.copy() for array in alone]
    parallel = [array.copy() for array in alone]
    blocks, loop = Blocks(program, dtype), loops.Loop(program, dtype)
    values = values_of(program)
    for start in range(0, size, CHUNK):  # each piece is too small for threads
        piece = [array[start : start + CHUNK] for array in alone]
        blocks.run(piece, blocks.cast(values))
    blocks.run(together, blocks.cast(values))
    loop.run(parallel, loop.cast(values))
    assert_same_bits(alone, together, program)
    assert_same_bits(alone, parallel, program)


@pytest.mark.cuda_text
@pytest.mark.parametrize("offset", [0, 1, 2, 4])
def test_the_text_for_arrays_apart_reads_nothing_that_is_not_theirs(offset, cuda_text):
    program = KERNELS["adam"].program()
    text = variants.text_of(program, "float32", "apart")
    sizes, size = (70, 3, 64), 256
    wholes = [[aligned(n + 8, "float32") for n in sizes] for _ in range(2)]
    for k, row in enumerate(wholes):
        for n, whole in zip(sizes, row, strict=True):
            whole[...] = special_arrays(4, n + 8, "float32", seed=k)[k]
    before = [[whole.copy() for whole in row] for row in wholes]
    states = [aligned(size, "float32") for _ in range(2)]
    for state in states:
        state[...] = 0
    places = [
        [w[offset : offset + n] for w, n in zip(row, sizes, strict=True)]
        for row in wholes
    ]
    slots = np.array([[0, 70], [128, 3], [192, 64]], np.int64)
    pointers = np.array(
        [[a.ctypes.data for a in pair] for pair in zip(*places, strict=True)]
    )
    arguments = {"m": states[0], "v": states[1], "slots_": slots.reshape(-1)}
    arguments |= {"blocks_": np.array([0, 0, 1, 2], np.int32)}
    arguments |= {"pointers_": pointers.astype(np.uint64).reshape(-1)}
    scalars = np.array(values_of(program)).astype(np.float32)
    arguments |= {f"s{k}": scalar for k, scalar in enumerate(scalars)}
    with FlushToZero():
        cuda_text.run_on_cpu(text, arguments, size // 4, *cuda_text.SANITIZER)
    for k, n in enumerate(sizes):
        expected = [before[0][k], *np.zeros((2, n + 8), np.float32), before[1][k]]
        inner = [array[offset : offset + n].copy() for array in expected]
        run_blocks(program, inner, "float32")
        expected[0][offset : offset + n] = inner[0]
        assert bits(expected[0]) == bits(wholes[0][k])
        assert bits(wholes[1][k]) == bits(before[1][k])
        start = slots[k, 0]
        assert bits(inner[1]) == bits(states[0][start : start + n])


MISTAKES = {
    "another sign": ("x11 = v_p_ - x10", "x11 = v_p_ + x10"),
    "a result that is not stored": (
        "gdopt_write<float, 4>(&v[0] + first_, out2_);",
        "",
    ),
    "an old value": ("s2 * x2", "s2 * v_m_"),
    "reassociated": ("x10 = x3 / x9", "x10 = s2 * (x2 / x9)"),
    "a double in between": (
        "const float x9 = x8 + s5",
        "const double x9 = x8 + 1.0 * s5",
    ),
    "another place": ("(ptrdiff_t)4 * i", "(ptrdiff_t)4 * (i / 2)"),
}


@pytest.mark.cuda_text
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_text_would_be_seen(mistake, cuda_text):
    program = KERNELS["adam"].program()
    text = variants.text_of(program, "float32")
    right, wrong = MISTAKES[mistake]
    assert right in text.body
    broken = replace(text, body=text.body.replace(right, wrong))
    expected = special_arrays(4, 1024, "float32")
    actual = [aligned(1024, "float32") for _ in expected]
    for one, other in zip(actual, expected, strict=True):
        one[...] = other
    run_blocks(program, expected, "float32")
    run_text(cuda_text, broken, program, actual, dtype="float32", width=4)
    assert any(
        bits(one) != bits(other) for one, other in zip(expected, actual, strict=True)
    )
