"""The norm keeps its public order on every engine, wherever arrays lie."""

import math

import ml_dtypes
import numpy as np
import pytest
from norm_order import at_the_limits, ordered_norm, scattered

import gdopt
from gdopt.arrays.arena import Layout, Slot
from gdopt.kernels.cpu.norm import CpuNorm
from gdopt.kernels.cuda.norm import FAN
from gdopt.kernels.norm import BATCH, NormPlan, segment_sums

DTYPES = ("float32", "float64", "float16", ml_dtypes.bfloat16)
SIZES = (0, 1, 3, 64, 65, 127, 128, 129, 300, 4095, 4096, 4097, 8192, 12289, 40_000)


def draw(seed, dtypes=DTYPES):
    """Make arrays whose sizes, dtypes and magnitudes vary."""
    generator = np.random.default_rng(seed)
    arrays = []
    for _ in range(generator.integers(1, 9)):
        dtype = dtypes[generator.integers(len(dtypes))]
        kind = seed if dtype == "float64" else 0
        array = scattered(generator, generator.choice(SIZES), kind)
        if dtype == "float32" and seed % 3 == 0:
            array *= 1e-38  # some are denormals
        arrays.append(array.astype(dtype))
    return arrays


def norms(arrays):
    """Compute the norm of arrays in an arena, separate, and strided."""
    arena = gdopt.Arena.of(arrays)
    norm = CpuNorm(arena.layout)
    for group, buffer in arena.buffers.items():  # padding is never added
        inside = np.zeros(buffer.size, bool)
        for slot in arena.layout.slots.values():
            if slot.group == group:
                inside[slot.start : slot.stop] = True
        buffer[~inside] = np.nan
    strided = [np.repeat(array, 2)[::2] for array in arrays]
    return [norm(arena), norm(arrays), norm(strided)]


@pytest.mark.parametrize("dtypes", [("float32",), ("float32", "float64"), DTYPES])
@pytest.mark.parametrize("seed", range(8))
def test_every_engine_and_layout_adds_in_the_public_order(seed, dtypes, engine):
    arrays = draw(seed, dtypes)
    assert norms(arrays) == [ordered_norm(arrays)] * 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_longer_than_what_numpy_adds_at_a_time(dtype, engine):
    arrays = [np.random.default_rng(0).standard_normal(2 * BATCH + 700).astype(dtype)]
    assert norms(arrays) == [ordered_norm(arrays)] * 3


def test_the_limits_between_the_three_sums(engine):
    for array in at_the_limits():
        assert norms([array]) == [ordered_norm([array])] * 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_sums_of_a_part_are_those_of_the_whole(dtype):
    array = np.random.default_rng(0).standard_normal(30_000).astype(dtype)
    scaled = dtype == "float64"
    array[::100] *= 1e170 if scaled else 1
    array[5000:5010] *= 1e-200 if scaled else 1
    neighbour = array[:777] * 3
    whole = segment_sums([neighbour, array, neighbour], scaled=scaled)[:, 1:-1]
    cut = 3 * 4096
    parts = [segment_sums([part], scaled=scaled) for part in (array[:cut], array[cut:])]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))
    assert whole.shape == (3 if scaled else 1, 8)


@pytest.mark.parametrize(
    "magnitudes",
    [
        (1e200,),
        (1e-200,),
        (5e-324,),
        (1e154, 1e155),
        (1e-154, 1e-155),
        (1e-170, 1.0),
        (1e200, 1e-200, 1.0),
        (1.5e-154, 1.4e-154, 1e-160),
        (2.0**486, 2.0**-511),
    ],
)
def test_the_norm_of_float64_neither_overflows_nor_vanishes(magnitudes, engine):
    numbers = np.resize(magnitudes, 37)
    arrays = [numbers, 2 * numbers[:5]]
    expected = math.hypot(*numbers, *(2 * numbers[:5]))
    assert norms(arrays) == [ordered_norm(arrays)] * 3
    assert norms(arrays) == pytest.approx([expected] * 3, rel=1e-15, abs=0)


def test_huge_float64_gradients_are_clipped(engine):
    p = np.zeros(4)
    optimizer = gdopt.SGD(p, lr=1.0, clip_norm=1.0)
    optimizer.step(np.full(4, 1e300))
    assert optimizer.grad_norm == 2e300
    assert p == pytest.approx([-0.5] * 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "strange", [(np.nan,), (np.inf,), (-np.inf, 1.0), (np.inf, np.nan)]
)
def test_the_norm_of_what_is_not_finite_is_not_either(strange, dtype, engine):
    array = np.ones(5000)
    array[4096 : 4096 + len(strange)] = strange
    wanted = np.nan if np.isnan(strange).any() else np.inf
    np.testing.assert_array_equal(norms([array.astype(dtype)]), wanted)


def test_a_norm_beyond_the_range_of_float64_is_infinite(engine):
    assert norms([np.full(4, 1.7e308)]) == [np.inf] * 3


@pytest.mark.parametrize("sizes", [[10**9], [64] * 10**5, [10**7] * 50, [0], [1]])
def test_no_number_waits_for_more_than_64_additions_on_a_device(sizes):
    ends = np.cumsum(sizes).tolist()
    slots = {
        str(k): Slot((size,), "float32", end - size, end)
        for k, (size, end) in enumerate(zip(sizes, ends, strict=True))
    }
    plan = NormPlan(Layout(slots, {"float32": ends[-1]}), FAN)
    # Four in each level, and one where the three sums are joined.
    assert (len(plan.ends) - 1) * math.log2(FAN) + 1 <= 64
