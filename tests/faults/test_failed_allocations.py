"""Memory or a compiler that fails at any call leaves a step or a load undone."""

import contextlib
import itertools
from functools import partial

import numpy as np
import pytest

import gdopt
from gdopt.kernels import kernel

pytestmark = pytest.mark.newest


class Failing:
    """Raises at the k-th call that is counted."""

    def __init__(self, at, error=MemoryError):
        self.at, self.calls, self.error = at, 0, error

    def around(self, function):
        def call(*given, **how):
            self.calls += 1
            if self.calls == self.at:
                raise self.error
            return function(*given, **how)

        return call


@contextlib.contextmanager
def failing_on_cpu(at, names=("empty", "zeros")):
    """Let the k-th scratch array or compilation fail."""
    failing = Failing(at)
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(np, name, failing.around(getattr(np, name)))
        patch.setattr(kernel, "build_engine", failing.around(kernel.build_engine))
        yield failing


@contextlib.contextmanager
def failing_on_gpu(at):
    """Let the k-th array on the device, or compilation, fail."""
    import cupy

    from gdopt.kernels.cuda import engine

    failing = Failing(at, cupy.cuda.memory.OutOfMemoryError(1, 1))
    compile_ahead = engine.Launch.compile

    def compiled(launch, changing):
        if not launch._compiled:
            failing.around(compile_ahead)(launch, changing)

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    cupy.cuda.set_allocator(failing.around(pool.malloc))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.Launch, "compile", compiled)
        yield failing
    cupy.cuda.set_allocator(pool.malloc)


SHAPES = {"a": (40, 30), "b": (7,), "c": (3, 5)}
OPTIMIZERS = {
    "adam": (gdopt.Adam, {}),
    "all options": (
        gdopt.AdamW,
        {"clip_norm": 0.5, "ema": 0.75, "weight_decay": 0.1, "lr": {"*": 0.1, "b": 2}},
    ),
    "lamb": (gdopt.LAMB, {}),
    "accumulating": (gdopt.SGD, {"accumulate": 2}),
    "master": (gdopt.AdamW, {"master_weights": True}),
    "master of lamb": (gdopt.LAMB, {"master_weights": True}),
    "muon": (gdopt.Muon, {}),
}


def arrays(xp, dtypes, *, strided):
    found = {}
    for (name, shape), dtype in zip(SHAPES.items(), dtypes, strict=True):
        wide = xp.ones((*shape[:-1], 2 * shape[-1]), dtype)
        found[name] = wide[..., ::2] if strided else wide[..., : shape[-1]].copy()
    return found


def dtypes_of(how):
    if "master_weights" in how:
        return ("float16", "float16", "float16")
    return ("float32", "float64", "float32")


def bits(optimizer):
    """Return all that a step or a load changes."""
    found = [optimizer.t, *(array.tobytes() for array in optimizer.params.values())]
    for arena in optimizer.state_arenas.values():
        found += [buffer.tobytes() for buffer in arena.buffers.values()]
    return found


def check_each_failure(make, act, failing, *, fails=True):
    """Fail at each call in turn: nothing changes, and the next time all is done."""
    for k in itertools.count(1):
        optimizer, twin = make(), make()
        before = bits(optimizer)
        with failing(k) as counter:
            error = None
            try:
                act(optimizer)
            except Exception as raised:  # noqa: BLE001 - CuPy's, NumPy's or gdopt's
                error = raised
        if counter.calls < k:
            assert error is None
            assert k > 1 or not fails
            return
        if error is not None:
            assert bits(optimizer) == before, (k, error)
            act(optimizer)
        act(twin)
        assert bits(optimizer) == bits(twin), k


def makers(xp, name, held, *, steps):
    """Return what makes an optimizer, and what does a step of it."""
    kind, options = OPTIMIZERS[name]
    own = arrays(xp, dtypes_of(options), strided=held == "strided")
    grads = {key: xp.full_like(array, 0.5) for key, array in own.items()}
    if held == "strided":
        grads = {key: xp.repeat(g, 2, axis=-1)[..., ::2] for key, g in grads.items()}
    grads = gdopt.Arena.of(grads) if held == "arena" else grads

    def step(optimizer):
        return optimizer.step(grads)

    def make():
        params = {key: array.copy() for key, array in own.items()}
        if held == "strided":
            params = arrays(xp, dtypes_of(options), strided=True)
        if held == "arena":
            params = gdopt.Arena.of(params)
        optimizer = kind(params, **options)
        optimizer.rule.kernel._steps.clear()
        for _ in range(steps):
            step(optimizer)
        return optimizer

    return make, step


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("held", ["dict", "arena", "strided"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_fails_as_a_whole(name, held, steps, numpy_engine):
    made = makers(np, name, held, steps=steps)
    check_each_failure(*made, failing_on_cpu, fails=not steps)


@pytest.mark.parametrize("name", ["adam", "all options", "master"])
def test_a_step_fails_as_a_whole_on_both_engines(name, engine):
    check_each_failure(*makers(np, name, "strided", steps=0), failing_on_cpu)


@pytest.mark.parametrize("held", ["dict", "arena"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_fails_as_a_whole_on_a_gpu(name, held, cp):
    check_each_failure(*makers(cp, name, held, steps=0), failing_on_gpu)


@pytest.mark.parametrize("name", ["adam", "all options", "lamb", "muon"])
@pytest.mark.parametrize(
    "library", ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)]
)
def test_a_load_fails_as_a_whole(name, library, numpy_engine):
    xp = np if library == "numpy" else pytest.importorskip("cupy")
    make, step = makers(xp, name, "dict", steps=1)
    other = make()
    step(other)
    state = other.state_dict()
    failing = partial(failing_on_cpu, names=("array", "asarray", "copyto"))
    failing = failing if library == "numpy" else failing_on_gpu
    check_each_failure(
        make, lambda optimizer: optimizer.load_state_dict(state), failing
    )


@pytest.mark.parametrize("name", ["adam", "all options", "master"])
def test_a_step_on_rows_fails_as_a_whole(name, engine):
    make, _ = makers(np, name, "strided", steps=0)
    rows = {"a": [3, 1], "c": slice(0, 2)}

    def step_on_rows(optimizer):
        grads = {key: np.full_like(p, 0.5) for key, p in optimizer.params.items()}
        some = {key: grads[key][at] for key, at in rows.items()}
        optimizer.step(grads | some, at=rows)

    check_each_failure(make, step_on_rows, failing_on_cpu)
