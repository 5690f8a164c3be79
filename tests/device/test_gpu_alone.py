"""What only a GPU can show: streams, huge arrays, and running out of real memory."""

import importlib

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    return importlib.import_module("cupy")


@pytest.fixture
def memory(cupy):
    """Return ``memory(size)``: skip the test on a device that has no such memory."""

    def needs(size):
        cupy.get_default_memory_pool().free_all_blocks()
        free, _ = cupy.cuda.runtime.memGetInfo()
        if free < size:
            pytest.skip(
                f"needs {size / 1e9:.0f} GB of device memory, got {free / 1e9:.0f}"
            )

    return needs


def test_a_step_goes_to_the_current_stream(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        p, g = cupy.ones(1 << 20, "float32"), cupy.ones(1 << 20, "float32")
        optimizer = gdopt.Adam(p, lr=0.1, clip_norm=1.0, non_finite="skip")
        for _ in range(10):
            optimizer.step(g)
    stream.synchronize()
    host = np.ones(1 << 20, "float32")
    twin = gdopt.Adam(host, lr=0.1, clip_norm=1.0)
    for _ in range(10):
        twin.step(np.ones(1 << 20, "float32"))
    assert host.tobytes() == p.get().tobytes()


@pytest.mark.parametrize("together", [False, True])
def test_more_bytes_than_32_bits_can_count(together, cupy, memory):
    count = (1 << 31) // 4 + 4096
    memory(4 * 4 * count)
    params = {"p": cupy.zeros(count, "float32")}
    grads = {"p": cupy.ones(count, "float32")}
    if together:
        params, grads = gdopt.Arena.of(params), gdopt.Arena.of(grads)
    optimizer = gdopt.SGD(params, lr=1.0, clip_norm=1e9)
    optimizer.step(grads)
    p = optimizer.params["p"]
    assert float(p.min()) == float(p.max()) == -1.0
    assert float(optimizer.grad_norm) == pytest.approx(count**0.5, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_more_elements_than_32_bits_can_count(dtype, cupy, memory):
    count = (1 << 31) + 64
    memory((9 if dtype == "float32" else 5) * count)
    p, g = cupy.zeros(count, dtype), cupy.ones(count, dtype)
    gdopt.SGD(p, lr=1.0).step(g)
    ends = [p[:1000], p[-1000:], p[(1 << 31) - 8 : (1 << 31) + 8]]
    for end in ends:
        assert set(end.get().astype(float)) == {-1.0}


def test_out_of_memory_under_a_limit_leaves_all_as_it_was(cupy):
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    p, g = cupy.ones(1 << 20, "float32"), cupy.ones(1 << 20, "float32")
    optimizer = gdopt.Adam(p, lr=0.1, clip_norm=1.0, non_finite="skip")
    limit = pool.get_limit()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + 512)
    try:
        with pytest.raises(MemoryError):
            optimizer.step(g)
    finally:
        pool.set_limit(size=limit)
    assert optimizer.t == 0
    assert float(p.min()) == float(p.max()) == 1.0
    assert bool(optimizer.step(g))
    assert optimizer.t == 1


def test_denormals_and_special_numbers_have_the_bits_of_the_cpu(cupy, numpy_engine):
    from rules import KERNELS, SCALARS, bits, special_arrays

    for name, kernel in KERNELS.items():
        program = kernel.program()
        for dtype in ("float32", "float64"):
            for size in (1023, 1 << 13):  # where all triples of numbers meet
                host = special_arrays(len(program.inputs), size, dtype)
                moved = [cupy.asarray(array) for array in host]
                scalars = {s: SCALARS[s] for s in program.scalars}
                kernel(*host, **scalars)
                kernel(*moved, **scalars)
                for one, other in zip(host, moved, strict=True):
                    assert bits(one) == bits(other.get()), (name, dtype, size)
