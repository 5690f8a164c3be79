"""Steps that name rows have the bits of the CPU, whatever the device stores."""

import numpy as np
import pytest
from twins import Twins, draw, send

import gdopt

SHAPES = {"E": (20, 6), "W": (7,)}
OPTIONS = {
    "plain": {},
    "clipped, averaged": {"clip_norm": 0.5, "ema": 0.9, "non_finite": "skip"},
    "clipped by own norms": {"clip_each": 0.1, "clip_norm": 0.01},
    "at random": {"state_dtype": "bfloat16", "rounding": "stochastic"},
}


def row(seed, dtype, count):
    """Make gradients for some rows of E, in no order and not all of them once."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 20, count)
    shapes = SHAPES | {"E": (count, 6)}
    return rows, draw(seed, (dtype,), shapes)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_rows_have_the_bits_of_the_cpu(options, dtype, cp):
    pytest.importorskip("ml_dtypes")
    start, name = draw(0, (dtype,), SHAPES), f"E {dtype}"
    twins = Twins(cp, lambda p: gdopt.Adam(p, 0.1, **options), start)
    for seed in range(1, 4):
        rows, grads = row(seed, dtype, 12)
        moved = {key: cp.asarray(array) for key, array in grads.items()}
        where = rows if seed == 2 else cp.asarray(rows, np.int32)
        twins.host.step(grads, at={name: rows})
        assert twins.device.step(moved, at={name: where})
        twins.assert_same()
        assert float(twins.device.grad_norm or 0) == (twins.host.grad_norm or 0)
        twins.step(draw(seed, (dtype,), SHAPES))
    twins.assert_same()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_have_the_bits_of_the_cpu(dtype, cp):
    master = {"master_weights": dtype == "float16"}
    twins = Twins(cp, lambda p: gdopt.Adam(p, 0.1, **master), draw(0, (dtype,), SHAPES))
    rows, grads = row(1, dtype, 12)
    for params in (twins.host.params, twins.device.params):
        params[f"E {dtype}"][rows[0]] = 3
    twins.host.step(grads, at={f"E {dtype}": rows})
    moved = {key: cp.asarray(array) for key, array in grads.items()}
    twins.device.step(moved, at={f"E {dtype}": rows})
    twins.assert_same()
    assert abs(twins.host.params[f"E {dtype}"][rows[0]] - 3).max() <= 0.25


def test_slices_are_a_block_on_the_device(cp):
    start = np.random.default_rng(3).standard_normal((6, 5)).astype(np.float32)
    host, device = start.copy(), cp.asarray(start)
    at = slice(1, 5), slice(None, None, 2)
    gdopt.Adam(host).step(start[at].copy(), at=at)
    gdopt.Adam(device).step(cp.asarray(start[at].copy()), at=at)
    np.testing.assert_array_equal(device.get(), host)


def test_rows_that_are_not_there_are_refused_on_the_device(cp):
    p = cp.ones((4, 2))
    opt = gdopt.Adam(p)
    with pytest.raises(gdopt.ArgumentError, match=r"rows must be in \[0, 4\), got 4"):
        opt.step(cp.ones((2, 2)), at=cp.asarray([0, 4]))
    assert opt.t == 0
    assert (p == 1).all()


def test_a_step_that_is_not_finite_is_skipped_on_the_device(cp):
    p = cp.ones((4, 2))
    opt = gdopt.Adam(p, 0.1, non_finite="skip")
    assert not opt.step(cp.full((1, 2), np.nan), at=[1])
    assert opt.step(cp.ones((1, 2)), at=[1])
    assert opt.step(cp.ones((4, 2)))
    assert opt.t == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "split", "modulus"])
@pytest.mark.parametrize("order", [[4, 7, 11], [7, 4, 11]], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}], ids=["plain", "norm"])
def test_arrays_of_a_step_on_rows_have_the_bits_of_the_cpu(options, order, dtype, cp):
    pytest.importorskip("ml_dtypes")
    if dtype in {"split", "modulus"}:
        options, dtype = options | {"complex_mode": dtype}, "complex64"
    shapes = SHAPES | {"E": (len(order), 6)}
    twins = Twins(cp, lambda p: gdopt.Adam(p, **options), draw(0, (dtype,), SHAPES))
    for seed in range(1, 4):
        grads, rates = (draw(k, (dtype,), shapes) for k in (seed, 10 * seed))
        rates = {n: np.array(abs(a.real), a.real.dtype) for n, a in rates.items()}
        for one, form in ((twins.host, dict), (twins.device, lambda a: send(cp, a))):
            one.step(form(grads), at={f"E {dtype}": order}, lr=form(rates))
        twins.assert_same()
