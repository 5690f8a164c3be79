"""Half precision in storage: master copies, narrow state, rounding at random."""

import itertools

import numpy as np
import pytest

import gdopt
from gdopt.kernels.packing import random_bits, random_noise

HALF_EPS = {"float16": 2**-10, "bfloat16": 2**-7}


def halves():
    pytest.importorskip("ml_dtypes")
    return HALF_EPS


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", HALF_EPS)
def test_a_master_copy_keeps_what_half_precision_loses(dtype, together, engine):
    step = halves()[dtype] / 64
    plain = {"p": np.ones(9, dtype)}
    kept = {"p": np.ones(9, dtype)}
    if together:
        plain, kept = gdopt.Arena.of(plain), gdopt.Arena.of(kept)
    one, other = (
        gdopt.SGD(plain, lr=step),
        gdopt.SGD(kept, lr=step, master_weights=True),
    )
    for _ in range(64):
        one.step({"p": np.ones(9, dtype)})
        other.step({"p": np.ones(9, dtype)})
    assert set(plain["p"].astype(float)) == {1.0}
    assert set(kept["p"].astype(float)) == {1.0 - 64 * step}
    assert other.state["p"]["master"].dtype == np.float32


def test_a_master_copy_resumes_with_the_same_bits(engine):
    def make():
        params = {"p": np.linspace(-1, 1, 7).astype(np.float16)}
        return params, gdopt.Adam(params, lr=1e-4, master_weights=True)

    (whole, one), (again, other) = make(), make()
    rows = [np.full(7, k + 1, np.float16) for k in range(6)]
    for row in rows:
        one.step({"p": row})
    for row in rows[:3]:
        other.step({"p": row})
    saved, halfway = other.state_dict(), again["p"].copy()
    fresh, third = make()
    fresh["p"][...] = halfway
    third.load_state_dict(saved)
    for row in rows[3:]:
        third.step({"p": row})
    assert whole["p"].tobytes() == fresh["p"].tobytes()


def by_largest(p, g, *, lr):
    return p - lr * np.max(g)


def descent(p, g, *, lr):
    return p - lr * g


FORMS = {  # shapes; how arrays are held, parameters and gradients
    "alone": ([(9,)], list, list),
    "several": ([(9,), (3, 5), (), (0, 2), (70,)], list, list),
    "in segments": ([(5, 9000)], list, list),
    "turned": ([(5, 9000), (3, 5)], lambda a: [one.T for one in a], list),
    "an arena": ([(9,), (3, 5), ()], gdopt.Arena.of, list),
    "arenas": ([(9,), (3, 5), ()], gdopt.Arena.of, gdopt.Arena.of),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", [descent, by_largest])
@pytest.mark.parametrize("dtype", HALF_EPS)
def test_what_is_written_into_parameters_wins_over_the_master(
    dtype, rule, form, engine
):
    step = halves()[dtype] / 4
    shapes, hold, hold_gradients = FORMS[form]
    params = hold([np.ones(shape).astype(dtype) for shape in shapes])
    optimizer = gdopt.Optimizer(params, rule, lr=step, master_weights=True)
    named = optimizer.params
    grads = hold_gradients([np.ones(p.shape).astype(dtype) for p in named.values()])
    optimizer.step(grads)
    expected = {}
    for name, p in named.items():
        master = np.full(p.shape, 1 - step, np.float32)
        written = np.arange(p.size).reshape(p.shape) % 4
        p[written == 1] = 3
        p[written == 3] = np.nan
        master[written == 1] = 3
        master[written == 3] = np.nan
        expected[name] = master - np.float32(step)
    optimizer.step(grads)
    for name, p in named.items():
        master = optimizer.state[name]["master"]
        np.testing.assert_array_equal(master, expected[name], strict=True)
        rounded = expected[name].astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(p.astype(np.float32), rounded, strict=True)


def test_the_bits_of_what_was_written_count(engine):
    p = np.array([0.0, -0.0, 1.0, 1.0], np.float16)
    optimizer = gdopt.SGD(p, 2.0**-30, master_weights=True)
    optimizer.step(np.ones(4, np.float16))
    assert np.signbit(p).tolist() == [True, True, False, False]
    p[0] = 0.0  # the master, just below zero, is rounded to -0
    optimizer.step(np.zeros(4, np.float16))
    assert optimizer.state["0"]["master"].tolist() == [0.0, -(2.0**-30), 1.0, 1.0]


def test_norms_of_parameters_are_those_of_what_was_written(engine):
    p, q = (np.ones((3, 4), np.float16) for _ in range(2))
    options = {"lr": 0.5, "agc": 0.5, "unit_axis": 0, "clip_norm": 2.0}
    optimizer = gdopt.SGD(p, master_weights=True, **options)
    grads = np.arange(12, dtype=np.float16).reshape(3, 4)
    optimizer.step(grads)
    p[...] = q[...] = np.arange(12)[::-1].reshape(3, 4)
    other = gdopt.SGD(q, master_weights=True, **options)
    optimizer.step(grads)
    other.step(grads)
    assert optimizer.grad_norm == other.grad_norm
    assert p.tobytes() == q.tobytes()


def test_bfloat16_state_takes_half_the_bytes():
    pytest.importorskip("ml_dtypes")
    params = {"p": np.zeros(640, np.float32)}
    assert gdopt.Adam(params).state_bytes == 2 * 4 * 640
    assert gdopt.Adam(params, state_dtype="bfloat16").state_bytes == 2 * 2 * 640


def test_stochastic_rounding_is_right_on_average(engine):
    pytest.importorskip("ml_dtypes")
    p = np.ones(100_000, "bfloat16")
    optimizer = gdopt.SGD(p, lr=2.0**-10, rounding="stochastic", seed=1)
    steps = 40
    for _ in range(steps):
        optimizer.step(np.ones(100_000, "bfloat16"))
    left = p.astype(float)
    # Steps of an eighth of the spacing 2**-7, below 1 a quarter of 2**-8: the mean of
    # 1e5 elements is within 5 standard errors of about 2e-5.
    assert left.mean() == pytest.approx(1 - steps * 2.0**-10, abs=1e-4)
    assert len(set(left)) > 3


def test_rounding_depends_on_seed_step_and_place_alone(engine):
    pytest.importorskip("ml_dtypes")
    ends = {}
    for together, seed in itertools.product((False, True), (1, 2)):
        params = {name: np.ones(n, "bfloat16") for name, n in (("a", 70), ("b", 300))}
        if together:
            params = gdopt.Arena.of(params)
        optimizer = gdopt.Adam(
            params, lr=0.01, rounding="stochastic", state_dtype="bfloat16", seed=seed
        )
        for _ in range(3):
            optimizer.step({n: np.ones(a.shape, "bfloat16") for n, a in params.items()})
        ends[together, seed] = b"".join(a.tobytes() for a in params.values())
    assert ends[False, 1] == ends[True, 1]
    assert ends[False, 2] == ends[True, 2]
    assert ends[False, 1] != ends[False, 2]


def test_random_bits_are_even_and_independent():
    index = np.arange(1 << 16)
    words = [random_bits(seed, t, index) for seed in (0, 1) for t in (1, 2)]
    for word in words:
        for bit in range(32):
            share = ((word >> np.uint32(bit)) & 1).mean()
            assert abs(share - 0.5) < 5 * 0.5 / 256  # five standard errors
    for one, other in itertools.combinations(words, 2):
        halves = [np.float64(word & np.uint32(0xFFFF)) for word in (one, other)]
        assert abs(np.corrcoef(*halves)[0, 1]) < 5 / 256
    far = random_bits(0, 1, index + (1 << 32))
    assert (far != words[0]).mean() > 0.999


def test_the_streams_of_a_word_are_even_and_independent():
    index = np.arange(1 << 16)
    streams = [random_noise(3, 1, index, stream) for stream in range(6)]
    for noise in streams:
        assert noise.max() < 1 << 16
        counts = np.bincount(noise >> 12, minlength=16)
        assert ((counts - 4096) ** 2 / 4096).sum() < 45  # chi squared, 15 degrees: 1e-4
    for one, other in itertools.combinations(streams, 2):
        both = np.bincount((one >> 12) * 16 + (other >> 12), minlength=256)
        assert ((both - 256) ** 2 / 256).sum() < 350  # 255 degrees: 1e-4
        assert abs(np.corrcoef(one & 0xFFF, other & 0xFFF)[0, 1]) < 5 / 256
