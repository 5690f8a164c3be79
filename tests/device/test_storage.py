"""Half precisions are storage: the device rounds as the CPU does, at random too."""

import numpy as np
import pytest
from twins import LAYOUTS, Twins, draw

import gdopt

pytest.importorskip("ml_dtypes")
MAKERS = {
    "plain": {},
    "random state": {"state_dtype": "bfloat16", "seed": 3},
    "random parameters": {"rounding": "stochastic", "seed": 4},
    "all at random": {"rounding": "stochastic", "state_dtype": "bfloat16"},
    "all at random, clipped": {
        "rounding": "stochastic",
        "state_dtype": "bfloat16",
        "clip_norm": 1.0,
        "non_finite": "skip",
    },
    "averaged": {"ema": 0.9, "state_dtype": "bfloat16"},
}
HALVES = ("float16", "bfloat16")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MAKERS)
def test_storage_has_the_bits_of_the_cpu(name, layout, cp):
    dtypes = (*HALVES, "float32")
    twins = Twins(
        cp, lambda p: gdopt.Adam(p, lr=0.1, **MAKERS[name]), draw(0, dtypes), layout
    )
    for seed in range(1, 4):
        twins.step(draw(seed, dtypes))
    twins.assert_same()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["plain", "random state", "averaged"])
def test_a_master_copy_has_the_bits_of_the_cpu(name, layout, cp):
    twins = Twins(
        cp,
        lambda p: gdopt.Adam(p, lr=1e-3, master_weights=True, **MAKERS[name]),
        draw(0, HALVES),
        layout,
    )
    for seed in range(1, 4):
        twins.step(draw(seed, HALVES))
    twins.assert_same()


WRITTEN = [3.0, np.nan, np.inf, -0.0, 0.0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [gdopt.Adam, gdopt.LAMB])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_written_into_parameters_wins_over_the_master(turned, kind, layout, cp):
    def place(array):
        return array.T if turned else array

    start = draw(0, HALVES)
    options = {"clip_norm": 1.0, "agc": 0.5, "unit_axis": 0, "master_weights": True}
    twins = Twins(cp, lambda p: kind(p, lr=1e-3, **options), start, layout, place)
    for seed in range(1, 4):
        twins.step(draw(seed, HALVES), place)
        for name, p in twins.host.params.items():
            for k, value in enumerate(WRITTEN[: 4 if kind is gdopt.Adam else 1]):
                if p.ndim and len(p) > 2 * k:
                    p[2 * k] = twins.device.params[name][2 * k] = value
    twins.step(draw(4, HALVES), place)
    twins.assert_same()
    held = twins.host.state["b float16"]["master"]
    assert abs(held[0] - 3) < 0.01


def test_strided_parameters_with_a_master_copy(cp):
    shapes = {"A": (6, 6), "c": (200,)}
    twins = Twins(
        cp,
        lambda p: gdopt.Adam(p, lr=1e-3, master_weights=True),
        draw(0, HALVES, shapes),
        place=lambda array: array.T,
    )
    for seed in range(1, 3):
        twins.step(draw(seed, HALVES, shapes), place=lambda array: array.T)
    twins.assert_same()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.3e38, 1e-40, 0.0])
def test_numbers_at_the_edge_are_rounded_as_on_the_cpu(value, cp):
    shapes = {"p": (64,)}
    start = {"p": np.full(64, value, np.float32).astype("bfloat16")}

    def make(params):
        return gdopt.SGD(params, lr=1.0, rounding="stochastic")

    twins = Twins(cp, make, start)
    row = draw(1, ("bfloat16",), shapes)
    twins.step({"p": row["p bfloat16"] * np.asarray(1e37, "bfloat16")})
    twins.assert_same()
