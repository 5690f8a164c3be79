"""The time of a step on a GPU, by its own events: `bench/on_gpu.sh` runs this.

Everyone gets the same arrays, checked to do the same work; a round is as many steps as
take some hundredths of a second, between two events.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import time
from dataclasses import replace

import cupy
import pytest
from adapters import ON_GPU, UnsupportedError, check
from cases import Training
from cases_gpu import cases, trainings
from gpu_clock import DeviceClock, pace

SCALE = int(os.environ.get("GDOPT_BENCH_SCALE", "1"))  # above 1 rehearses
ROUNDS = 9 if SCALE == 1 else 2
BUDGET = 240.0  # seconds, after which what is left is left out, and named
FIRST = """adam_f32_1e8 own_f32_1e8 adam_f32_200x1M adam_f32_1000x1024 adam_f32_10000x64
adam_f32_200x1M_apart adam_f32_1000x1024_apart adam_f32_10000x64_apart adam_clip_f32_1e8
mlp_b128_captured""".split()  # noqa: SIM905 - a list of quoted words reads worse
CASES = sorted(
    [*cases(SCALE), *trainings(SCALE)],
    key=lambda case: FIRST.index(case.name) if case.name in FIRST else len(FIRST),
)
START = time.monotonic()
PAIRS = [(case, name) for case in CASES for name in ("gdopt", *case.peers)]


@pytest.fixture(autouse=True)
def _forget():
    """Free memory, so that the next contender finds it."""
    yield
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def run(benchmark, step, wait, **told):
    """Time a step by events around many, and note what was timed."""
    clock = DeviceClock(wait)
    steps = pace(step, clock, seconds=0.03 if SCALE == 1 else 0)
    benchmark.extra_info.update(told, steps=steps)
    benchmark._timer = clock  # noqa: SLF001 - it may be set by a dotted name alone

    def many():
        for _ in range(steps):
            step()

    benchmark.pedantic(many, rounds=ROUNDS, warmup_rounds=1)


def test_copy(benchmark):
    count = max(10**9 // SCALE, 1024)
    source, target = cupy.zeros(count, "float32"), cupy.zeros(count, "float32")
    source += 1  # zeros might be moved faster

    def copy():
        target[...] = source

    told = {"case": "copy", "contender": "cupy", "bytes": 8 * count}
    run(benchmark, copy, cupy.cuda.Device().synchronize, **told)


@pytest.mark.parametrize(
    ("case", "name"), PAIRS, ids=[f"{c.name}-{n}" for c, n in PAIRS]
)
def test_step(case, name, benchmark):
    if time.monotonic() - START > BUDGET:
        pytest.skip(f"left out: {BUDGET:.0f} s are over")
    adapter, training = ON_GPU[name], isinstance(case, Training)
    try:
        if not training:
            check(adapter.make(case.small()), case.small())
        contender = in_turns(adapter, case, 1 if training else case.copies)
    except (ImportError, UnsupportedError) as error:
        pytest.skip(f"{name} is left out: {error}")
    told = {"case": case.name, "contender": name}
    told |= {"batch": case.batch} if training else {"bytes": case.bytes}
    with contender.setting():
        run(benchmark, contender.step, contender.wait, **told)


def in_turns(adapter, case, copies):
    """Make a contender whose steps take turns on sets of arrays."""
    made = [adapter.make(case) for _ in range(copies)]
    if copies == 1:
        return made[0]
    steps = itertools.cycle([one.step for one in made])

    def step():
        next(steps)()

    return replace(made[0], step=step)
