"""Overflow, denormals, float16 and arrays of any order give defined numbers."""

import warnings

import numpy as np
import pytest
from oracles import CASES

import gdopt
from gdopt import nn
from gdopt.arrays.dtypes import as_dtype
from gdopt.kernels.cpu.flush import can_flush

STATEFUL = [  # of squares in v
    name
    for name, case in CASES.items()
    if case.kind in {gdopt.Adam, gdopt.AdamW, gdopt.RMSprop}
]
DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def finite(optimizer):
    arrays = [*optimizer.params.values()]
    arrays += [a for row in optimizer.state.values() for a in row.values()]
    return all(np.isfinite(array).all() for array in arrays)


@DTYPES
@pytest.mark.parametrize("name", CASES)
def test_zero_gradients_give_no_nan(name, dtype, engine):
    p = np.ones(3, dtype)
    # The default, which would be 0 in float16.
    eps = {"eps": 1e-8} if "eps" in CASES[name].hyper else {}
    optimizer = CASES[name].make(p, **eps)
    for _ in range(3):
        optimizer.step(np.zeros(3, dtype))
    assert finite(optimizer)
    if not CASES[name].moves_by_itself:
        assert p.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", STATEFUL)
def test_a_square_that_overflows_float32_stops_its_element_without_nan(name, engine):
    case = CASES[name]
    decays = {"weight_decay": 0.0} if "adamw" in name else {}
    p, other = np.ones(3, np.float32), np.ones(1, np.float32)
    optimizer, control = case.make(p, **decays), case.make(other, **decays)
    for huge in (1e30, -1e30):
        optimizer.step(np.array([huge, 1, huge], np.float32))
        control.step(np.ones(1, np.float32))
    assert optimizer.state["0"]["v"].tolist()[::2] == [np.inf, np.inf]
    for _ in range(3):
        optimizer.step(np.ones(3, np.float32))
        control.step(np.ones(1, np.float32))
    assert optimizer.state["0"]["v"].tolist()[::2] == [np.inf, np.inf]
    assert p.tolist() == [1, other[0], 1]  # infinity in v: a step of zero, not NaN


@pytest.mark.parametrize("name", STATEFUL)
def test_float64_takes_the_same_gradients_in_its_stride(name, engine):
    p = np.ones(3)
    optimizer = CASES[name].make(p)
    optimizer.step(np.array([1e30, 1, -1e30]))
    assert finite(optimizer)
    assert p[0] < 1 < p[2]


def test_a_float16_parameter_that_overflows_becomes_infinite_in_silence(engine):
    p = np.array([60000, 1], np.float16)
    gdopt.SGD(p, lr=1.0).step(np.array([-60000, 1], np.float16))
    assert p.tolist() == [np.inf, 0]


needs_flush = pytest.mark.skipif(not can_flush(), reason="needs glibc on x86-64")


@needs_flush
@pytest.mark.parametrize("name", ["momentum ewa", "adam corrected", "rmsprop inside"])
def test_float32_moments_fade_to_zero_and_not_to_denormals(name, engine):
    optimizer = CASES[name].make(np.ones(3, np.float32))
    tiny = float(np.finfo(np.float32).tiny)
    seen = set()
    optimizer.step(np.array([1e-18, -1e-18, 1e-3], np.float32))
    for _ in range(900):
        optimizer.step(np.zeros(3, np.float32))
        for array in optimizer.state["0"].values():
            seen |= set(np.abs(array).tolist())
    assert min(seen) == 0
    assert min(seen - {0}) >= tiny
    first = next(iter(optimizer.state["0"].values()))  # v alone, or m
    assert first.tolist()[:2] == [0, 0]


@needs_flush
def test_float32_takes_denormal_gradients_as_zero(engine):
    denormal = np.full(3, 1e-40, np.float32)
    optimizer = gdopt.Momentum(np.ones(3, np.float32), form="heavy_ball")
    optimizer.step(denormal)
    assert optimizer.state["0"]["v"].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(denormal, np.float32(1e-40))


def test_float64_keeps_denormals(engine):
    optimizer = gdopt.Momentum(np.ones(3), form="heavy_ball")
    optimizer.step(np.full(3, 1e-310))
    assert optimizer.state["0"]["v"].tolist() == [1e-310] * 3


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_own_denormals_are_kept_after_a_step(fails, engine):
    optimizer = gdopt.Adam(np.ones(3, np.float32))
    optimizer.step(np.ones(3, np.float32))
    if fails:
        with pytest.raises(gdopt.ArgumentTypeError):
            optimizer.step(np.ones(3))
    assert (np.full(3, 2e-40, np.float32) / 2).all()


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_any_order_give_the_same_bits(name, numpy_engine):
    row = np.random.default_rng(0).standard_normal((6, 8))
    forms = [
        row,
        np.asfortranarray(row),
        np.repeat(row, 2, axis=1)[:, ::2],
        row[::-1, ::-1].copy()[::-1, ::-1],
        np.lib.stride_tricks.as_strided(row.copy(), row.shape, row.strides),
    ]
    found = []
    for gradient in forms:
        p = np.ones((6, 8))
        optimizer = CASES[name].make(p)
        for _ in range(3):
            optimizer.step(gradient)
        found.append(p.tobytes())
    assert found == [found[0]] * len(forms)


def test_one_row_broadcast_is_a_gradient_like_any_other(engine):
    p = np.zeros((2, 3))
    gdopt.SGD(p, lr=1.0).step(np.broadcast_to(np.array([1.0, 2, 3]), (2, 3)))
    assert p.tolist() == [[-1, -2, -3]] * 2


ROUND_TO_ONE = {
    "beta1": lambda p, beta: gdopt.Adam(p, beta1=beta),
    "beta2": lambda p, beta: gdopt.Adam(p, beta2=beta),
    "beta": lambda p, beta: gdopt.Momentum(p, beta=beta),
    "ema": lambda p, beta: gdopt.SGD(p, ema=beta),
}


@pytest.mark.parametrize("name", ROUND_TO_ONE)
def test_a_beta_that_rounds_to_one_is_refused(name, engine):
    make, beta = ROUND_TO_ONE[name], 1 - 2.0**-26
    for dtype in (np.float16, np.float32):
        with pytest.raises(gdopt.ArgumentError, match=f"{name} must not round to 1 in"):
            make(np.ones(2, dtype), beta)
    make(np.ones(2), beta)
    optimizer = make(np.ones(2, np.float32), 1 - 2.0**-24)
    with pytest.raises(gdopt.ArgumentError, match="must not round to 1 in float32"):
        optimizer.hyper[name] = beta


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_beta_of_an_average_that_rounds_to_1_is_refused(dtype):
    beta = 1 - 1e-9
    x, mean = np.ones(4, dtype), gdopt.EWA(beta)
    if dtype == "float64":
        assert gdopt.ewa(x, beta).shape == mean.update(x).shape
        return
    with pytest.raises(
        gdopt.ArgumentError, match="beta must not round to 1 in float32"
    ):
        gdopt.ewa(x, beta)
    with pytest.raises(
        gdopt.ArgumentError, match="beta must not round to 1 in float32"
    ):
        mean.update(x)
    assert mean.t == 0
    assert gdopt.EWA(beta).update(1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_of_half_precision_are_those_of_numpy(dtype, engine):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    x = np.arange(12.0).reshape(4, 3).astype(as_dtype(dtype)) / 8
    ones, labels = np.ones_like(x), np.array([0, 1, 1, 0])
    weights, bias = np.ones_like(x[:3, :2]), np.ones_like(x[0, :2])
    output = nn.dense(x, weights, bias, weights.copy(), bias.copy())[0]
    assert output.tolist() == [[1 + row.astype(float).sum()] * 2 for row in x]
    for loss, gradient in (
        nn.squared_error(x, ones),
        nn.softmax_cross_entropy(x, labels),
        nn.binary_cross_entropy(x[:, 0], labels),
    ):
        assert np.isfinite(float(loss))
        assert np.isfinite(gradient.astype(float)).all()


@pytest.mark.parametrize("value", [1e308, -1e308, np.inf])
def test_a_split_of_numbers_whose_sums_overflow_raises_nothing(value):
    x = np.where(np.arange(36).reshape(36, 1) > 8, [value] * 3, 1.0)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("ignore", gdopt.DataWarning)
        assert len(gdopt.split(x, seed=0).train) == 22
