"""What goes around a rule has the bits of the CPU on a GPU, and waits for nothing."""

import numpy as np
import pytest
from twins import LAYOUTS, Twins, draw

import gdopt

SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "none": (0, 3), "V": (70, 9)}
AROUND = {
    "clip_value": 1.0,
    "clip_each": 0.9,
    "clip_norm": 0.7,
    "weight_decay": 0.1,
    "decay_mode": "coupled",
    "bounds": (-0.8, np.inf),
    "lookahead": (2, 0.5),
    "swa_start": 1,
}
OPTIONS = {
    "around": AROUND,
    "scheduled and skipped": AROUND
    | {"clip_value": lambda t: 1 / (1 + t), "non_finite": "skip"},
    "units": {"agc": 0.1, "unit_axis": 1, "clip_norm": 0.1, "maximize": True},
    "rows": {"agc": 0.1, "unit_axis": 0, "ema": 0.9, "loss_scale": 3.0},
    "accumulated": {"accumulate": 2, "clip_norm": 0.1, "loss_scale": "dynamic"},
    "accumulated and skipped": {"accumulate": 2, "non_finite": "skip"},
    "scaled": {"loss_scale": 3.0, "clip_norm": 0.5, "bounds": (0, 1)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_have_the_bits_of_the_cpu(cp, name, layout):
    dtypes = ("float32", "float64") if layout == "arenas" else ("float32",)
    start = draw(0, dtypes, SHAPES)
    twins = Twins(cp, lambda p: gdopt.Adam(p, 0.1, **OPTIONS[name]), start, layout)
    for seed in range(1, 7):
        row = draw(seed, dtypes, SHAPES)
        if seed == 3:
            row[next(iter(row))][0, 0] = np.nan if "skipped" in name else 1.0
        here, there = twins.step(row)
        assert bool(here) == bool(there)
    twins.assert_same()
    if "clip_norm" in OPTIONS[name]:
        there = float(twins.device.grad_norm)
        assert there == twins.host.grad_norm


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_and_measured_in_full(cp, dtype):
    options = {"accumulate": 2, "clip_each": 0.5, "clip_norm": 0.7, "ema": 0.9}
    start = draw(0, (dtype,), SHAPES)
    twins = Twins(
        cp, lambda p: gdopt.AdamW(p, 0.1, master_weights=True, **options), start
    )
    for seed in range(1, 5):
        twins.step(draw(seed, (dtype,), SHAPES))
    twins.assert_same()
    assert float(twins.device.grad_norm) == twins.host.grad_norm


def test_bounds_may_be_arrays(cp):
    start = draw(0, ("float32",), {"p": (7, 5)})
    low, high = np.full((7, 5), -0.1), np.linspace(0, 1, 5)

    def make(params):
        ends = (low, high)
        if not isinstance(next(iter(params.values())), np.ndarray):
            ends = tuple(map(cp.asarray, ends))
        return gdopt.SGD(params, 1.0, bounds=ends, clip_value=0.5, clip_norm=1.0)

    twins = Twins(cp, make, start)
    twins.step(draw(1, ("float32",), {"p": (7, 5)}))
    twins.assert_same()
