"""Complex parameters have the bits of the CPU on a GPU."""

import numpy as np
import pytest
from twins import LAYOUTS, Twins, draw, send

import gdopt

SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "none": (0, 3), "V": (70, 9)}
OPTIONS = {
    "alone": {},
    "around": {
        "maximize": True,
        "clip_each": 0.9,
        "clip_norm": 0.7,
        "weight_decay": 0.1,
        "decay_mode": "decoupled",
        "lookahead": (2, 0.5),
        "swa_start": 1,
    },
    "accumulated and skipped": {"accumulate": 2, "non_finite": "skip"},
    "skipped": {"non_finite": "skip", "clip_norm": 0.7},
}


@pytest.mark.parametrize("mode", ["split", "modulus"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_complex_parameters_have_the_bits_of_the_cpu(cp, name, layout, mode):
    dtypes = ("complex64", "float32", "complex128")
    start, options = draw(0, dtypes, SHAPES), OPTIONS[name]
    twins = Twins(
        cp, lambda p: gdopt.Adam(p, 0.1, complex_mode=mode, **options), start, layout
    )
    for seed in range(1, 5):
        row = draw(seed, dtypes, SHAPES)
        if seed == 3 and "skipped" in name:
            row["W complex64"][0, 0] = complex(1, np.nan)
        here, there = twins.step(row)
        assert bool(here) == bool(there)
    twins.assert_same()
    if "clip_norm" in options:
        assert float(twins.device.grad_norm) == twins.host.grad_norm


@pytest.mark.parametrize("mode", ["split", "modulus"])
def test_strided_parameters_and_gradients_have_the_bits_of_the_cpu(cp, mode):
    def place(array):
        return array[..., ::2] if array.ndim else array

    start = draw(0, ("complex64",), SHAPES)
    twins = Twins(
        cp, lambda p: gdopt.Adam(p, 0.1, complex_mode=mode), start, place=place
    )
    for seed in range(1, 4):
        twins.step(draw(seed, ("complex64",), SHAPES), place=place)
    twins.assert_same()


@pytest.mark.parametrize("mode", ["split", "modulus"])
@pytest.mark.parametrize("layout", ["apart", "arenas"])
def test_arrays_of_a_step_have_the_bits_of_the_cpu(cp, layout, mode):
    start = draw(0, ("complex64",), SHAPES)
    twins = Twins(cp, lambda p: gdopt.Adam(p, complex_mode=mode), start, layout)
    for seed in range(1, 4):
        row, rates = (draw(k, ("complex64",), SHAPES) for k in (seed, 10 * seed))
        rates = {name: np.array(abs(rate)) for name, rate in rates.items()}
        for one, form in ((twins.host, dict), (twins.device, lambda a: send(cp, a))):
            one.step(form(row), lr=form(rates))
    twins.assert_same()
