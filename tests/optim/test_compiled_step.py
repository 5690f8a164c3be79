"""A step that is one compiled call: it computes its own values and counts itself."""

import contextlib
import math
import os
import signal
from functools import partial

import numpy as np
import pytest
from norm_order import ordered_norm, scattered
from oracles import CASES

import gdopt
from gdopt.kernels.cpu import blocks
from gdopt.kernels.cpu.flush import flushes
from gdopt.kernels.cpu.pool import POOL

GENERATOR = np.random.default_rng(21)
FLOATS = ("float32", "float64")


@pytest.fixture(autouse=True)
def _numba(monkeypatch):
    pytest.importorskip("numba", exc_type=ImportError)
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")


def drawn(dtype="float32"):
    return GENERATOR.standard_normal(100).astype(dtype)


def test_a_step_of_one_array_or_arena_is_one_compiled_call():
    array = gdopt.Adam(drawn())
    arena = gdopt.Adam(gdopt.Arena.of({"W": drawn(), "b": drawn()}))
    assert array.executor.run_compiled([drawn()])
    assert arena.executor.run_compiled(arena.params.like())
    assert array.t == arena.t == 1
    arena.hyper["lr"] = {"W": 0.1, "b": 0.1}  # as one number for all
    assert arena.executor.run_compiled(arena.params.like())


def test_other_steps_are_not_compiled_calls_and_change_nothing(unchanged, monkeypatch):
    monkeypatch.setattr(POOL, "size", 2)  # which share long arrays
    lone, pair = drawn(), {"W": drawn(), "b": drawn()}
    arena = gdopt.Arena.of(pair)
    for optimizer, grads in (
        (gdopt.Adam(lone), [np.ones(200, np.float32)[::2]]),
        (gdopt.Adam(arena, lr={"W": 0.1, "b": 0.2}), arena.like()),
        (gdopt.Adam(np.zeros(1_000_000)), [np.zeros(1_000_000)]),
        (gdopt.Adam(lone.astype(np.float16)), [lone.astype(np.float16)]),
        (gdopt.Adam(pair), [drawn(), drawn()]),
        (gdopt.Adam(arena), [drawn(), drawn()]),
        (gdopt.Adam({"W": lone}), gdopt.Arena.of({"W": lone})),
    ):
        with unchanged(optimizer):
            assert not optimizer.executor.run_compiled(grads)


@pytest.mark.parametrize("t", [0, 10**6])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [  # the power of an array is each engine's own
        *((name, "float64") for name in CASES if "power" not in name),
        ("adamw corrected", "float32"),
    ],
)
def test_a_compiled_step_has_the_bits_of_numpys(name, t, dtype, monkeypatch):
    start, rows = drawn(dtype), [drawn(dtype) for _ in range(20)]
    ends = []
    for engine in ("numba", "numpy"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        optimizer = CASES[name].make(start.copy())
        optimizer.load_state_dict(optimizer.state_dict() | {"t": t})
        for row in rows:
            optimizer.step(row)
        arrays = [optimizer.params["0"], *optimizer.state["0"].values()]
        ends.append([array.tobytes() for array in arrays])
        assert optimizer.t == t + len(rows)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("beta", [1 - 1e-9, 0.9991, 0.999, 1 - 2.0**-10])
def test_corrections_near_one_have_the_bits_of_numpys(beta, monkeypatch):
    start, ends = drawn("float64"), []
    for engine in ("numba", "numpy"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        optimizer = gdopt.Adam(start.copy(), beta1=0.9992, beta2=beta)
        for _ in range(40):
            optimizer.step(start)
        ends.append(optimizer.params["0"].tobytes())
    assert ends[0] == ends[1]


def clipped_run(engine, arrays, rows, monkeypatch):
    """Return the bits of what clipped steps of a fresh optimizer leave, and norms."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
    params = gdopt.Arena.of([array.copy() for array in arrays])
    if len(arrays) == 1:
        params = params["0"].copy()
    limits = {"clip_norm": lambda step: 0.5 + step, "loss_scale": 2.0}
    optimizer, norms = gdopt.Adam(params, **limits), []
    assert optimizer.grad_norm is None
    for row in rows:
        grads = row[0]
        if len(arrays) > 1:
            grads = params.like()
            for name, array in zip(grads, row, strict=True):
                grads[name] = array
        checked = [grads] if len(arrays) == 1 else grads
        if engine == "numpy" or not optimizer.executor.run_compiled(checked):
            assert engine == "numpy"
            optimizer.step(grads)
        norms.append(optimizer.grad_norm)
        assert type(norms[-1]) is float
    held = [*optimizer.params.values()]
    held += [one for own in optimizer.state.values() for one in own.values()]
    return [array.tobytes() for array in held], norms


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seed", range(8))
def test_a_clipped_step_is_one_call_with_the_bits_of_numpys(seed, dtype, monkeypatch):
    generator = np.random.default_rng(seed)
    sizes = generator.choice([1, 3, 64, 65, 129, 4096, 9001], 1 + 2 * (seed % 4))
    kind = seed if dtype == "float64" else 0
    arrays, *rows = (
        [scattered(generator, int(size), kind).astype(dtype) for size in sizes]
        for _ in range(5)
    )
    if dtype == "float32" and seed % 2:
        rows = [[array * np.float32(1e-38) for array in row] for row in rows]
    ends = [clipped_run(e, arrays, rows, monkeypatch) for e in ("numba", "numpy")]
    assert ends[0] == ends[1]
    assert ends[0][1] == [ordered_norm(row) / 2 for row in rows]  # of the loss scale


def decay_by_root(p, g, *, lr, t):
    return p - lr / t**0.5 * g


def decay_by_two(p, g, *, lr, t):
    return p - lr * 2.0**-t * g


def decay_by_exp(p, g, *, lr, t):
    return p - lr * np.exp(-0.1 * t) * g


def ratio(p, g, *, lr, t):
    return p - lr / (t - 2) * g  # infinite at the second step


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rule", [decay_by_root, decay_by_two, decay_by_exp, ratio])
def test_scalars_of_any_rule_have_the_bits_of_pythons(rule, dtype, monkeypatch):
    start, ends = drawn(dtype), []
    for engine in ("numba", "numpy"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
        optimizer = gdopt.Optimizer(start.copy(), rule=rule, lr=0.37)
        for _ in range(40):
            optimizer.step(start)
        ends.append(optimizer.params["0"].tobytes())
    assert ends[0] == ends[1]


def steps(make, start, rows, *, direct):
    """Return the bits that steps by NumPy leave, as one call each or by blocks."""
    optimizer = make({name: array.copy() for name, array in start.items()})
    for row in rows:
        optimizer.step(row)
        optimizer.executor._until_chain *= direct
    assert optimizer.executor.direct == direct
    arrays = [*optimizer.params.values()]
    arrays += [one for own in optimizer.state.values() for one in own.values()]
    return [array.tobytes() for array in arrays], optimizer.grad_norm


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", [(3,), (3, 5000, 130, 1, 40_000), (60_000,)])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5, "ema": 0.9}])
def test_one_call_of_numpy_has_the_bits_of_its_blocks(
    options, sizes, dtype, monkeypatch
):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    monkeypatch.setattr(POOL, "size", 1)
    monkeypatch.setattr(blocks, "cache_bytes", lambda: 1 << 20)
    start, *rows = (
        {f"a{n}": GENERATOR.standard_normal(n).astype(dtype) for n in sizes}
        for _ in range(5)
    )
    name = next(iter(start))
    rows[2][name] = np.repeat(rows[2][name], 2)[::2]
    make = partial(gdopt.Adam, **options)
    ends = [steps(make, start, rows, direct=direct) for direct in (True, False)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("kind", FLOATS)
def test_a_failed_call_of_numpy_restores_the_processors_mode(kind, monkeypatch):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    optimizer, g = gdopt.SGD(np.ones(3, kind), lr=0.5), np.ones(3, kind)
    for _ in range(3):
        optimizer.step(g)
    assert optimizer.executor.direct
    for step in (optimizer.step, lambda g: optimizer.executor.run_compiled([g])):
        monkeypatch.setattr(optimizer.executor._chain, "_calls", [(math.sqrt, -1)])
        monkeypatch.setattr(optimizer.executor._chain, "_open", [])
        with pytest.raises(ValueError, match="math domain"):
            step(g)
        assert not flushes()


@pytest.mark.parametrize("limits", [{}, {"clip_norm": 8.0}])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_ctrl_c_comes_before_a_compiled_step_or_after_it(
    engine, when, limits, monkeypatch
):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
    p = np.full(3, 2.0)
    optimizer = gdopt.SGD(p, lr=0.5, **limits)
    for _ in range(3):
        optimizer.step(np.ones(3))
    assert optimizer.executor.direct
    call = optimizer.executor._counted

    def interrupted(gradient):
        if when == "after":
            call(gradient)
        os.kill(os.getpid(), signal.SIGINT)
        call(gradient)

    monkeypatch.setattr(optimizer.executor, "_counted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(np.full(3, 2.0))
    after = when == "after"
    assert optimizer.t == 3 + after
    assert p.tolist() == [0.5 - after] * 3
    assert optimizer.grad_norm == (math.sqrt(12 if after else 3) if limits else None)
    monkeypatch.undo()
    assert optimizer.step(np.ones(3))  # the lock was given back
    assert optimizer.t == 4 + after


def test_a_schedule_that_fails_or_is_out_of_range_changes_nothing(unchanged):
    rates = iter([0.5, -1.0, 0.25])
    optimizer = gdopt.SGD(drawn(), lr=lambda _: next(rates))
    optimizer.step(drawn())
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match="lr at step 1"):
        optimizer.executor.run_compiled([drawn()])
    assert optimizer.executor.run_compiled([drawn()])
    with unchanged(optimizer), contextlib.suppress(StopIteration):
        optimizer.step(drawn())
    assert optimizer.t == 2


def test_a_step_with_strided_gradients_reads_a_schedule_once():
    seen = []
    optimizer = gdopt.SGD(drawn(), lr=lambda step: seen.append(step) or 0.5)
    for _ in range(2):
        optimizer.step(np.ones(200, np.float32)[::2])
        optimizer.step(drawn())
    assert seen == [0, 1, 2, 3]
