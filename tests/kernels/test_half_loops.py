"""bfloat16 that Numba decodes and rounds in its loop has the bits of NumPy's casts."""

import numpy as np
import pytest

from gdopt.kernels import Kernel

pytest.importorskip("numba", exc_type=ImportError)
ml_dtypes = pytest.importorskip("ml_dtypes")


def descend(p, g, *, lr):
    return p - lr * g


def run(engine, monkeypatch, stride):
    """Return the results for every bfloat16 there is."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
    every = np.arange(1 << 16, dtype=np.uint16)
    p = np.repeat(every, stride).view(ml_dtypes.bfloat16)[::stride]
    g = np.random.default_rng(0).permutation(every).view(ml_dtypes.bfloat16)
    with np.errstate(all="ignore"):
        Kernel(descend)(p, g, lr=0.3)
    return np.ascontiguousarray(p)


@pytest.mark.parametrize("stride", [1, 2], ids=["contiguous", "strided"])
def test_every_bfloat16_is_read_and_rounded_as_by_numpy(stride, monkeypatch):
    p, q = (run(name, monkeypatch, stride) for name in ("numba", "numpy"))
    wide, expected = p.astype(np.float32), q.astype(np.float32)
    np.testing.assert_array_equal(wide, expected)
    finite = ~np.isnan(wide)
    np.testing.assert_array_equal(p.view(np.uint16)[finite], q.view(np.uint16)[finite])
    assert 0 < (~finite).sum() < 1000  # only what was or met NaN


def test_contiguous_arrays_are_not_copied_to_float32(monkeypatch):
    from gdopt.kernels import packing

    def refuse(*_):
        pytest.fail("packed")

    monkeypatch.setattr(packing, "split", refuse)
    run("numba", monkeypatch, 1)
