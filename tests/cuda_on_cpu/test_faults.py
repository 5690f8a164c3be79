"""The device finds what a GPU would, and fails as it would."""

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.usefixtures("cp", "cuda")


@pytest.fixture
def apart(cp):
    """Take every array from the runtime, so that memory ends where an array does."""
    before = cp.cuda.get_allocator()
    cp.cuda.set_allocator(None)
    yield cp
    cp.cuda.set_allocator(before)


def run(cp, body, x, y, size=1):
    kernel = cp.ElementwiseKernel("raw float32 x", "raw float32 y", body, "tried")
    kernel(x, y, size=size)


@pytest.mark.parametrize("schedule", ["eager", "lazy", "random:3"])
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("y[i] = x[i + 200]", 700, "tried: an access 288 bytes behind the end of 512"),
        ("y[i + 2000000] = x[i]", 700, "tried: an access to 0x"),
        ("*(double*)&y[1] = x[i]", 716, "tried: an address that is not aligned"),
    ],
)
def test_a_wrong_access_is_reported_by_the_next_call(
    *, body, code, words, schedule, apart, cuda
):
    cuda.schedule = schedule
    x, y = apart.zeros(128, "f4"), apart.zeros(128, "f4")
    run(apart, body, x, y)
    name = {700: "IllegalAddress", 716: "MisalignedAddress"}[code]
    with pytest.raises(apart.cuda.runtime.CUDARuntimeError, match=name):
        y.get()
    with pytest.raises(apart.cuda.runtime.CUDARuntimeError, match=name):
        apart.cuda.Device().synchronize()  # as before: the device is broken
    assert words in cuda.recover()
    assert y.get().shape == (128,)


def test_memory_that_was_freed_cannot_be_touched(apart, cuda):
    x, y = apart.zeros(128, "f4"), apart.zeros(128, "f4")
    alias = apart.ndarray(
        x.shape,
        x.dtype,
        apart.cuda.MemoryPointer(apart.cuda.UnownedMemory(x.data.ptr, 512, None), 0),
    )
    del x
    run(apart, "y[i] = x[i]", alias, y)
    assert "freed or was never allocated" in cuda.recover()


def test_a_write_behind_the_end_is_found_when_memory_is_freed(apart, cuda):
    x, y = apart.zeros(128, "f4"), apart.zeros(3, "f4")
    run(apart, "y[i] = x[i]", x, y, size=5)
    assert cuda.recover() is None
    del y
    assert "written behind the end of 12 bytes" in cuda.recover()


@pytest.mark.parametrize(
    ("call", "code", "kind", "work"),
    [
        ("cuLaunchKernel", 700, "driver.CUDADriverError", lambda cp: cp.ones(3) + 1),
        ("cudaMalloc", 999, "runtime.CUDARuntimeError", lambda cp: cp.empty(1 << 25)),
        (
            "cudaStreamSynchronize",
            700,
            "runtime.CUDARuntimeError",
            lambda cp: cp.ones(3).get(),
        ),
        (
            "cudaEventRecord",
            400,
            "runtime.CUDARuntimeError",
            lambda cp: cp.cuda.Event().record(),
        ),
    ],
)
def test_any_call_can_fail_with_cupys_own_error(*, call, code, kind, work, cp, cuda):
    work(cp)
    error = cp.cuda
    for part in kind.split("."):
        error = getattr(error, part)
    cp.get_default_memory_pool().free_all_blocks()
    cuda.fail(call, code)
    with pytest.raises(error) as caught:
        work(cp)
    assert caught.value.status == code
    work(cp)  # it failed once


def test_a_product_can_fail(cp, cuda):
    product = gdopt.get_backend("cupy").matmul
    a = cp.ones((2, 2))
    product(a, a)
    cuda.fail("cublasDgemm_v2", 13)
    with pytest.raises(gdopt.BackendError, match="CUBLAS_STATUS_EXECUTION_FAILED"):
        product(a, a)


def test_a_later_call_can_fail(cp, cuda):
    x = cp.ones(3)
    cuda.fail("cuLaunchKernel", 719, after=2)
    for _ in range(2):
        x += 1
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="LAUNCH_FAILED"):
        x += 1
    assert x.get().tolist() == [3] * 3


def test_a_kernel_can_fail_while_it_runs(cp, cuda):
    x = cp.ones(3, "f4")
    x += x
    name = cuda.launches[-1]
    cuda.fail(f"run {name}", 719)
    x += x  # says nothing
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="LaunchFailure"):
        x.get()
    assert cuda.recover() == f"error 719: {name}: an error made to order"


def test_running_out_of_memory_is_cupys_own_error(cp, cuda):
    cuda.set_capacity(1 << 20)
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        cp.empty(1 << 20)
    cuda.set_capacity(64 << 20)
    cuda.take_elsewhere(60 << 20)
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        cp.empty(1 << 20)


def test_what_is_not_modelled_says_so(cp, cuda):
    with pytest.raises(
        cp.cuda.runtime.CUDARuntimeError, match=r"NotSupported.*cudaMemcpy2D"
    ):
        cp.cuda.runtime.memcpy2D(0, 0, 0, 0, 0, 0, 0)


def test_barriers_that_some_threads_miss_are_faults(cp, cuda):
    code = r"""
    extern "C" __global__ void half(int* x) {
      if (threadIdx.x < 3) __syncthreads();
      else __syncwarp();
      x[0] = 1;
    }"""
    kernel = cp.RawKernel(code, "half")
    kernel((1,), (8,), (cp.zeros(1, np.int32),))
    assert "a barrier that some threads never come to" in cuda.recover()


def test_halves_are_cudas(cp):
    values = np.array([65519, 65520, 1e-8, -0.0, np.nan, 2**-24, 2**-25], np.float32)
    moved = cp.asarray(values).astype(np.float16)
    with np.errstate(over="ignore"):
        assert moved.get().tobytes() == values.astype(np.float16).tobytes()
    assert moved.astype(np.float32).get()[:2].tolist() == [65504, np.inf]


@pytest.mark.parametrize(
    ("dtype", "tiny", "expected"),
    [(np.float32, 1e-40, 0), (np.float64, 1e-310, 2e-310), (np.float16, 6e-8, 1.2e-7)],
)
def test_denormals_are_zero_in_float32_alone(dtype, tiny, expected, cp):
    found = (cp.full(3, tiny, dtype) + cp.full(3, tiny, dtype)).get()
    assert found.tolist() == [pytest.approx(expected, rel=0.01, abs=0)] * 3
