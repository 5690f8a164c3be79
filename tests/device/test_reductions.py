"""Formulas that reduce have NumPy's bits on the device, and a launch for each pass."""

import itertools

import numpy as np
import pytest
import reducing_rules
from reducing_rules import RULES, SHAPES, draw, fits
from rules import bits

from gdopt.kernels import Kernel

DTYPES = ("float32", "float64")
# Sums of an array, of rows and of columns that are longer than what a block adds; rows
# that share a warp; rows and columns together.
LONG = [(600_000,), (2, 40_000), (9_000, 2), (70, 9_000)]


def sampled():
    """Pair every rule with every third shape, with each dtype in turn."""
    dtypes = itertools.cycle(DTYPES)
    for k, rule in enumerate(RULES):
        shapes = [shape for shape in SHAPES if fits(rule, shape)]
        for shape in shapes[k % 3 :: 3]:
            yield rule, shape, next(dtypes)


def both(cp, kernel, arrays, scalars, *, place=lambda array: array, steps=2):
    """Update arrays here and on the device; return the bits of both."""
    moved = [place(cp.asarray(array)) for array in arrays]
    arrays = [place(array) for array in arrays]
    for _ in range(steps):
        kernel(*arrays, **scalars)
        kernel(*moved, **scalars)
    return [bits_of(array) for array in arrays], [bits_of(cp.asnumpy(a)) for a in moved]


def bits_of(array):
    wide = array.astype(np.float64)
    return bits(np.ascontiguousarray(wide))


@pytest.mark.parametrize(("rule", "shape", "dtype"), list(sampled()))
def test_a_formula_has_numpys_bits(rule, shape, dtype, cp):
    scalars, per = RULES[rule]
    kernel = Kernel(rule, per)
    arrays = draw(kernel.program((), len(shape)), shape, dtype)
    expected, found = both(cp, kernel, arrays, scalars)
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES + LONG)
@pytest.mark.parametrize("rule", RULES)
def test_any_formula_has_numpys_bits(rule, shape, dtype, cp):
    if fits(rule, shape):
        test_a_formula_has_numpys_bits(rule, shape, dtype, cp)


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        (reducing_rules.lamb, (600_000,)),
        (reducing_rules.row_cap, (2, 40_000)),
        (reducing_rules.adafactor, (9_000, 2)),
        (reducing_rules.largest_mean, (3, 9_000)),
    ],
)
def test_sums_longer_than_what_a_block_adds(rule, shape, cp):
    test_a_formula_has_numpys_bits(rule, shape, "float32", cp)


PLACES = {
    "transposed": lambda array: array.T,
    "reversed": lambda array: array[::-1] if array.ndim else array,
    "between 16 bytes": lambda array: array.reshape(-1)[1:][: array.size - 5],
}


@pytest.mark.parametrize(
    ("place", "dtype"),
    [*zip(PLACES, ("float32", "float64", "float16"), strict=True)],
)
def test_arrays_of_any_strides_and_storage(place, dtype, cp):
    if place == "between 16 bytes":
        rule, shape = reducing_rules.lamb, (9_000,)
    else:
        rule, shape = reducing_rules.unit_wise, (70, 70)
    scalars, per = RULES[rule]
    kernel = Kernel(rule, per)
    arrays = draw(kernel.program((), len(shape)), shape, dtype)
    expected, found = both(cp, kernel, arrays, scalars, place=PLACES[place])
    assert found == expected


def mean_of_state(p, r, c, g, *, lr):
    """Reduce state before any pass, and after it is new."""
    mean = np.mean(r)
    r = 0.5 * r + np.mean(g * g, axis=1, keepdims=True)
    return p - lr * g / mean, r, c + np.max(r) * np.linalg.norm(c)


def old_rows(p, r, c, g, *, lr):
    """Need old rows when the new ones, and truths about them, are there."""
    new = r + np.sum(g * g, axis=1, keepdims=True)
    high = new > np.mean(new)
    d = g - np.sqrt(r)
    scale = np.linalg.norm(d * np.where(high, 1.0, 2.0))
    rows = np.where(high, r, new)
    return p - lr * d / scale * r, rows, c + np.sum(d, axis=0, keepdims=True)


def no_pass(p, r, c, g, *, lr):
    """Change nothing but state."""
    return p, r * lr, c + np.max(r)


def three_kinds(p, m, g, *, lr):
    """Sum what is written over rows, columns and all."""
    m = 0.9 * m + g
    by_rows, by_columns = (np.max(m, axis=k, keepdims=True) for k in (1, 0))
    return p - lr * m * by_rows / (by_columns + np.linalg.norm(m)), m


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rule", "launches"),
    [(mean_of_state, 2), (old_rows, 3), (no_pass, 1), (three_kinds, 2)],
)
def test_values_are_read_before_they_are_overwritten(rule, launches, dtype, cp, cuda):
    kernel = Kernel(rule, {"r": "row", "c": "column"})
    for shape in ((7, 5), (600, 3)):
        arrays = draw(kernel.program((), 2), shape, dtype)
        cuda.forget()
        expected, found = both(cp, kernel, arrays, {"lr": 0.1}, steps=1)
        assert found == expected
        own = [name for name in cuda.launches if name.startswith("gdopt")]
        assert len(own) == launches


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_float64_norms_neither_overflow_nor_vanish(scale, cp):
    kernel = Kernel(lambda p, g: p + g / np.linalg.norm(g))
    arrays = [np.zeros(5000), np.linspace(-scale, scale, 5000)]
    expected, found = both(cp, kernel, arrays, {})
    assert found == expected


VALUES = ([1, np.nan, 3], [-np.inf, -np.inf], [0.0, -0.0], [-0.0, 0.0], [-3, -2])


@pytest.mark.parametrize("values", VALUES)
def test_the_largest_value_is_numpys(values, cp):
    kernel = Kernel(lambda p, g: np.max(g))
    g = np.resize(np.array(values, np.float32), 300)
    expected, found = both(cp, kernel, [np.ones(300, np.float32), g], {})
    assert found == expected


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_rate_may_live_on_the_device(dtype, cp):
    scalars, _ = RULES[reducing_rules.lamb]
    kernel = Kernel(reducing_rules.lamb)
    host = draw(kernel.program(), (70, 9), dtype)
    moved = list(map(cp.asarray, host))
    kernel(*host, **scalars)
    kernel(*moved, **scalars | {"lr": cp.asarray(np.array(scalars["lr"]))})
    assert list(map(bits_of, host)) == [bits_of(array.get()) for array in moved]


PASSES = {"lamb": 2, "lars": 2, "unit_wise": 2, "centred": 2, "adafactor": 3}


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_is_a_launch(name, cp, cuda):
    rule = getattr(reducing_rules, name)
    scalars, per = RULES[rule]
    kernel = Kernel(rule, per)
    arrays = draw(kernel.program((), 2), (1000, 3), "float32")
    moved = list(map(cp.asarray, arrays))
    kernel(*moved, **scalars)
    cuda.forget()
    kernel(*moved, **scalars)
    assert cuda.launches == [f"gdopt_{name}_{k + 1}" for k in range(PASSES[name])]
