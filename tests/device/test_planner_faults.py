"""What happens to a plan where a device has too little memory, or breaks."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from plans import quick

import gdopt
from gdopt.planner import throughput

MIB = 1 << 20


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Make every turn of timing one step, so that the clock decides nothing."""
    monkeypatch.setattr(throughput, "SECONDS", 1e-9)
    monkeypatch.setattr(throughput, "ATTEMPTS", 1)


@pytest.fixture
def trapped(cp, allocations):
    """Return a step by hand, its state, and ``trap(number, error)``."""
    X = cp.asarray(np.random.default_rng(0).normal(size=(3000, 30)))
    W = cp.asarray(np.ones((30, 20)))
    optimizer = gdopt.RMSprop({"W": W}, lr=0.01, ema=0.9)
    noise = np.random.default_rng(5)

    def step(x):
        hidden = cp.matmul(x, W)
        scaled = hidden * (1 + 1e-3 * noise.normal())
        optimizer.step({"W": cp.matmul(x.T, scaled) / len(x)})

    def trap(number, error, *, only):
        allocations.count = 0

        def check(count):
            if count == number or (count > number and not only):
                raise error

        allocations.trap = check

    made = SimpleNamespace(step=step, data=X, state=[optimizer, noise], trap=trap)
    made.allocations = allocations
    made.optimizer, made.noise, made.W = optimizer, noise, W

    def look():
        arenas = [a.flat.get().tobytes() for a in optimizer.state_arenas.values()]
        state = repr(noise.bit_generator.state)
        return W.get().tobytes(), arenas, optimizer.t, state, random.getstate()

    made.look = look
    return made


def count_allocations(trapped, **options):
    trapped.allocations.count = 0
    quick(trapped.step, trapped.data, trapped.state, **options)
    return trapped.allocations.count


def some(count):
    """Return the small numbers, and some of the others.

    A table of addresses is sent again or not as memory happens to be reused, so that no
    two plans allocate equally often.
    """
    return sorted({*range(1, 20), *range(20, count * 4 // 5, max(1, count // 25))})


@pytest.mark.parametrize("only", [True, False], ids=["once", "from then on"])
def test_running_out_of_memory_at_any_allocation_moves_nothing(trapped, only):
    options = {"sizes": (16, 32)}
    before = trapped.look()
    for number in some(count_allocations(trapped, **options)):
        trapped.trap(number, MemoryError("full"), only=only)
        try:
            quick(trapped.step, trapped.data, trapped.state, **options)
        except MemoryError as error:  # PlanError, or before anything was done
            assert isinstance(error, gdopt.PlanError) or "full" in str(error)  # noqa: PT017
        finally:
            trapped.allocations.trap = None
        assert trapped.look() == before, number


def test_ctrl_c_at_any_allocation_moves_nothing(trapped):
    options = {"sizes": (16, 32)}
    before = trapped.look()
    for number in some(count_allocations(trapped, **options)):
        trapped.trap(number, KeyboardInterrupt, only=True)
        with pytest.raises(KeyboardInterrupt):
            quick(trapped.step, trapped.data, trapped.state, **options)
        trapped.allocations.trap = None
        assert trapped.look() == before, number


FOREIGN = [
    MemoryError("NumPy's"),
    RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
    RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
    RuntimeError("cudaErrorMemoryAllocation: out of memory"),
    gdopt.BackendError(
        "cuBLAS failed: cublasCreate_v2 gave CUBLAS_STATUS_ALLOC_FAILED"
    ),
]


@pytest.mark.parametrize("error", FOREIGN, ids=str)
def test_every_librarys_out_of_memory_makes_a_size_unfit(trapped, error):
    def step(x):
        trapped.step(x)
        if len(x) > 100:
            raise error

    plan = quick(step, trapped.data, trapped.state)
    assert [row.fits for row in plan.rows] == [True, False, False]
    assert plan.micro_batch_size == 64
    assert type(error).__name__ in plan.rows[1].note
    assert plan.decided_by == "memory"


def test_an_error_that_is_not_about_memory_is_raised_as_it_is(trapped):
    before, bug = trapped.look(), ZeroDivisionError("a bug in the step")

    def step(x):
        trapped.step(x)
        if len(x) == 256:
            raise bug

    with pytest.raises(ZeroDivisionError) as caught:
        quick(step, trapped.data, trapped.state)
    assert caught.value is bug
    assert bug.__notes__ == ["raised by a trial step of batch size 256"]
    assert trapped.look() == before


def test_arrays_of_a_failed_trial_are_freed(trapped, cp, cuda):
    pool = cp.get_default_memory_pool()
    quick(trapped.step, trapped.data, trapped.state)  # makes what is made once
    pool.free_all_blocks()
    before = pool.used_bytes(), cuda.used()

    def step(x):
        held = x * 2  # which the traceback holds
        if len(held) > 100:
            raise MemoryError

    plan = quick(step, trapped.data, trapped.state)
    assert plan.micro_batch_size == 64
    pool.free_all_blocks()
    assert (pool.used_bytes(), cuda.used()) == before


def test_memory_that_another_process_takes_meanwhile_is_reported(trapped, cuda):
    cuda.set_capacity(2048 * MIB)

    def step(x):
        trapped.step(x)
        if len(x) in {64, 128}:
            cuda.take_elsewhere(1900 * MIB if len(x) == 128 else 0)

    plan = quick(step, trapped.data, trapped.state)
    assert [row.fits for row in plan.rows] == [True, False, False]
    told = "\n".join(plan.notices)
    assert "while 128 was tried, the free memory fell by 1.99 GB permanently" in told


def test_a_winner_that_does_not_fit_any_more_gives_way(trapped, cp, cuda):
    def step(x):
        cp.empty(len(x) * MIB, np.uint8)
        trapped.step(x)

    def told(_, __, text):
        if text == "examples a second":  # enough for 64 and the margin, not for 256
            cuda.take_elsewhere((2048 - 700) * MIB)

    cuda.set_capacity(2048 * MIB)
    plan = quick(
        step, trapped.data, trapped.state, sizes=(64,), batch_size=256, progress=told
    )
    assert [row.fits for row in plan.rows] == [True, False]
    assert (plan.micro_batch_size, plan.batch_size, plan.micro_batches) == (64, 256, 4)
    assert "needs 806 MB with the margin" in plan.rows[1].note


def test_gaps_between_arrays_count_as_taken(trapped, cp):
    def step(x):
        trapped.step(x)
        first, second = (cp.empty(len(x) * 20_000, np.uint8) for _ in range(2))
        del first  # its place is too small for the next
        third = cp.empty(len(x) * 30_000, np.uint8)
        del second, third

    plan = quick(step, trapped.data, trapped.state)
    for row in plan.rows:
        assert row.reserved_bytes > row.measured_bytes
    gaps = plan.rows[0].reserved_bytes - plan.rows[0].predicted_bytes
    need = plan.rows[1].predicted_bytes + 2 * gaps + 50_000
    plan = quick(step, trapped.data, trapped.state, memory=need, margin=0)
    assert plan.rows[1].fits
    assert not plan.rows[2].fits


def test_trials_stay_below_the_limit_of_the_pool(trapped, cp):
    pool = cp.get_default_memory_pool()
    pool.set_limit(size=pool.used_bytes() + 40 * MIB)

    def step(x):
        trapped.step(x)
        if len(x) == 256:  # not a line: it is predicted to fit
            cp.empty(50 * MIB, np.uint8)

    try:
        plan = quick(step, trapped.data, trapped.state, margin=0)
    finally:
        pool.set_limit(size=0)
    assert [row.fits for row in plan.rows] == [True, True, False]
    assert "ran out of memory (OutOfMemoryError" in plan.rows[2].note


@pytest.mark.slow
def test_a_driver_that_spills_to_main_memory_is_found_out(trapped, cp, cuda):
    cuda.set_capacity(1024 * MIB)
    cuda.spill()

    def step(x):
        trapped.step(x)
        if len(x) == 256:  # not a line: it is predicted to fit
            cp.empty(300 * MIB, np.float32)

    plan = quick(step, trapped.data, trapped.state, margin=0)
    assert [row.fits for row in plan.rows] == [True, True, False]
    assert "the driver spills to main memory" in plan.rows[2].note


def test_another_allocator_is_left_in_place_and_reported(trapped, cp):
    class AsyncPool:
        def malloc(self, size):
            return cp.get_default_memory_pool().malloc(size)

    with cp.cuda.using_allocator(AsyncPool().malloc):
        plan = quick(trapped.step, trapped.data, trapped.state)
    assert (
        "another allocator than CuPy's pool is installed (AsyncPool)" in plan.notices[0]
    )
    assert plan.rows[0].fits
