"""Small arrays that are copied together by Numba have the bits of NumPy's copies."""

import numpy as np
import pytest

import gdopt
from gdopt.arrays.dtypes import as_dtype

pytest.importorskip("numba")


def after_steps(engine, dtype, monkeypatch):
    """Return parameters and state, padding included, after steps of many arrays."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
    generator = np.random.default_rng(0)
    shapes = [(k % 7 + 1, k % 5 * 40 + 3) for k in range(60)] + [(0,), (64,)]
    params = [generator.standard_normal(shape).astype(dtype) for shape in shapes]
    params[5] = np.repeat(params[5], 2, axis=1)[:, ::2]  # its neighbours' way, too
    optimizer = gdopt.AdamW(params, lr={"*": 0.5, "3": 0.25})
    for _ in range(3):
        optimizer.step([(p * 0.5 + 0.25).astype(dtype) for p in params])
    buffers = [
        buffer
        for arena in optimizer.state_arenas.values()
        for buffer in arena.buffers.values()
    ]
    return [array.tobytes() for array in (*params, *buffers)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_copies_by_numba_have_the_bits_of_numpys(dtype, monkeypatch):
    kind = as_dtype(dtype)
    compiled = after_steps("numba", kind, monkeypatch)
    assert compiled == after_steps("numpy", kind, monkeypatch)
