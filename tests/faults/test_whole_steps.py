"""A step of several arrays is done as a whole, or nothing of it is."""

import numpy as np
import pytest

import gdopt
from gdopt.kernels import kernel
from gdopt.kernels.cpu.blocks import Blocks


def arrays(*dtypes, shape=(4, 3)):
    return {f"a{k}": np.ones(shape, dtype) for k, dtype in enumerate(dtypes)}


READ_ONLY = {
    "array": lambda params, owner: params["a1"],
    "base": lambda params, owner: owner,
}
OWNED = {
    "dict": dict,
    "list": lambda params: list(params.values()),
    "arena of gradients": dict,
    "small": dict,
}


@pytest.mark.parametrize("which", READ_ONLY)
@pytest.mark.parametrize("held", OWNED)
def test_an_array_made_read_only_is_refused_before_any_is_written(
    which, held, unchanged, engine
):
    owner = np.ones((8, 3))
    params = {"a0": np.ones((4, 3)), "a1": owner[2:6], "a2": np.ones(3)}
    optimizer = gdopt.Adam(OWNED[held](params))
    grads = {name: np.ones_like(array) for name, array in params.items()}
    given = gdopt.Arena.of(grads) if "arena" in held else OWNED[held](grads)
    optimizer.step(given)
    READ_ONLY[which](params, owner).flags.writeable = False
    with (
        unchanged(optimizer),
        pytest.raises(gdopt.ArgumentTypeError, match="must stay writeable"),
    ):
        optimizer.step(given)
    owner.flags.writeable = params["a1"].flags.writeable = True
    assert optimizer.step(given)


def test_an_arena_made_read_only_is_refused(unchanged, engine):
    params = gdopt.Arena.of(arrays("f4", "f8"))
    optimizer, grads = gdopt.Adam(params), params.like()
    optimizer.step(grads)
    params.buffers["float64"].flags.writeable = False
    for given in (grads, dict(grads)):
        with (
            unchanged(optimizer),
            pytest.raises(gdopt.ArgumentTypeError, match="must stay writeable"),
        ):
            optimizer.step(given)


KINDS = {
    "adam": gdopt.Adam,
    "reducing": gdopt.LAMB,
    "clipped": lambda params: gdopt.Adam(params, clip_norm=0.5),
}


@pytest.mark.parametrize("in_arena", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_memory_that_is_not_there_leaves_a_first_step_undone(
    name, in_arena, unchanged, numpy_engine, monkeypatch
):
    params = arrays("f4", "f8")
    params = gdopt.Arena.of(params) if in_arena else params
    optimizer = KINDS[name](params)
    grads = {name: np.full_like(array, 0.5) for name, array in params.items()}
    made, calls = Blocks._make_scratch, []

    def fail(self, block):
        calls.append(block)
        if len(calls) > 1:
            raise MemoryError
        return made(self, block)

    monkeypatch.setattr(optimizer.rule.kernel, "_steps", {})
    monkeypatch.setattr(Blocks, "_make_scratch", fail)
    with unchanged(optimizer), pytest.raises(MemoryError):
        optimizer.step(grads)
    monkeypatch.undo()
    assert optimizer.t == 0


@pytest.mark.parametrize("in_arena", [False, True])
@pytest.mark.parametrize("kind", [gdopt.Adam, gdopt.LAMB])
def test_a_second_dtype_that_does_not_compile_leaves_a_first_step_undone(
    kind, in_arena, unchanged, monkeypatch
):
    pytest.importorskip("numba")
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")
    params = arrays("f4", "f8")
    params = gdopt.Arena.of(params) if in_arena else params
    optimizer = kind(params)
    grads = {name: np.ones_like(array) for name, array in params.items()}
    optimizer.step(grads)
    other = kind(params)
    run, seen = kernel.Step.run, []

    def fail(self, *given):
        seen.append(self.engine.dtype)
        if len({*seen}) > 1:
            raise RuntimeError
        run(self, *given)

    monkeypatch.setattr(kernel.Step, "run", fail)
    with unchanged(other), pytest.raises(RuntimeError):
        other.step(grads)
