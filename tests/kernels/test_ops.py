"""What the operations of rules mean, on numbers, on NumPy and at the edges."""

import itertools
import math
from contextlib import nullcontext

import numpy as np
import pytest
from rules import bits, special_arrays

import gdopt
from gdopt.kernels.cpu.flush import FlushToZero, can_flush
from gdopt.kernels.ops import OPERATIONS, _second_of_equals

NAN, INF = math.nan, math.inf


def run(function, *values, dtype="float64"):
    """Apply a function of values as a rule on arrays of one element."""
    arrays = [np.array([value], dtype) for value in (0.0, *values)]

    names = [f"a{k}" for k in range(len(values))]
    source = f"def rule(out, {', '.join(names)}): return f({', '.join(names)})"
    scope = {"f": function}
    exec(source, scope)  # noqa: S102 - a rule for each number of arguments
    gdopt.Kernel(scope["rule"])(*arrays)
    return arrays[0][0]


def same(expected, actual):
    if math.isnan(expected):
        return math.isnan(actual)
    return expected == actual and math.copysign(1, expected) == math.copysign(1, actual)


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (np.minimum, (1.0, 2.0), 1.0),
        (np.minimum, (NAN, 2.0), NAN),
        (np.minimum, (1.0, NAN), NAN),
        (np.minimum, (-0.0, 0.0), 0.0),
        (np.minimum, (0.0, -0.0), -0.0),
        (np.maximum, (1.0, 2.0), 2.0),
        (np.maximum, (NAN, 2.0), NAN),
        (np.maximum, (1.0, NAN), NAN),
        (np.maximum, (-0.0, 0.0), 0.0),
        (np.maximum, (-INF, 3.0), 3.0),
        (np.sign, (-3.0,), -1.0),
        (np.sign, (INF,), 1.0),
        (np.sign, (-0.0,), 0.0),
        (np.sign, (NAN,), NAN),
        (np.square, (-3.0,), 9.0),
        (np.sqrt, (-1.0,), NAN),
        (np.sqrt, (9.0,), 3.0),
        (np.exp, (0.0,), 1.0),
        (np.exp, (1000.0,), INF),
        (np.log, (0.0,), -INF),
        (np.log, (1.0,), 0.0),
        (abs, (-0.0,), 0.0),
        (lambda x: -x, (0.0,), -0.0),
        (lambda x, y: x / y, (1.0, 0.0), INF),
        (lambda x: x**2, (-3.0,), 9.0),
        (lambda x: x**0.5, (4.0,), 2.0),
        (lambda x: x**-1.5, (4.0,), 0.125),
        (lambda x: x**3.3, (2.0,), 2.0**3.3),
        (lambda x: 2**x, (3.0,), 8.0),
        (lambda x, y: np.where(x > y, x, y), (1.0, 2.0), 2.0),
        (lambda x, y: np.where((x >= y) | (y < 0), 1.0, 2.0), (1.0, -2.0), 1.0),
        (lambda x, y: np.where((x <= y) & ~(y < 0), 1.0, 2.0), (1.0, -2.0), 2.0),
        (lambda x, y: np.where(x == y, 1.0, 2.0), (NAN, NAN), 2.0),
        (lambda x, y: np.where(x != y, 1.0, 2.0), (NAN, NAN), 1.0),
        (lambda x: np.where(np.isnan(x), 1.0, 2.0), (NAN,), 1.0),
    ],
)
def test_operation_gives(function, arguments, expected):
    result = run(function, *arguments)
    assert same(expected, result) or math.isclose(expected, result, rel_tol=1e-15)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_nan_wins_and_of_equal_values_the_second_at_every_length(name, dtype):
    function, less = getattr(np, name), {"minimum": np.less}.get(name, np.greater)
    kernel = gdopt.Kernel(lambda out, x, y: function(x, y))
    flushes = dtype == "float32" and can_flush()
    for length, offset in itertools.product((*range(1, 36), 5000), (0, 1)):
        # Every pair of special values is somewhere in a vector, and in what is left.
        x, y = special_arrays(2, 324 + length, dtype)
        for start in range(0, 324, length):
            part = slice(start + offset, start + length)
            out, a, b = np.empty_like(x)[part], x[part], y[part]
            kernel(out, a, b)
            with np.errstate(all="ignore"), FlushToZero() if flushes else nullcontext():
                expected = np.where(less(a, b) | np.isnan(a), a, b) * a.dtype.type(1)
            assert bits(expected) == bits(out)


def test_where_numpy_orders_zeros_the_second_of_them_is_taken_all_the_same():
    def ordered(x, y):  # as on ARM
        return np.where(np.signbit(x) & np.equal(x, y), x, np.minimum(x, y))

    x = np.array([-0.0, 0.0, -0.0, 1.0, 2.0, NAN, 1.0])
    y = np.array([0.0, -0.0, -0.0, 2.0, 1.0, 1.0, NAN])
    assert np.signbit(ordered(x, y)).tolist()[:3] == [True, True, True]
    _second_of_equals(ordered)(x, y, 1.0, y)
    assert bits(np.array([0.0, -0.0, -0.0, 1.0, 1.0, NAN, NAN])) == bits(y)


def test_functions_of_plain_numbers_give_what_ieee_754_prescribes():
    host = {name: row.host for name, row in OPERATIONS.items()}
    assert host["divide"](-1.0, 0.0) == -INF
    assert math.isnan(host["divide"](0.0, 0.0))
    assert math.isnan(host["sqrt"](-1.0))
    assert host["log"](0.0) == -INF
    assert host["exp"](1e4) == INF
    assert host["power"](10.0, 400.0) == INF
    assert math.isnan(host["power"](-8.0, 0.5))


def test_small_whole_and_half_powers_of_arrays_become_products_and_roots():
    kernel = gdopt.Kernel(lambda p, g: p**3 * g**0.5 + p**-2 + g**1)
    used = {node.operation for node in kernel.program().instructions}
    assert used == {"multiply", "sqrt", "add", "divide"}
    kernel = gdopt.Kernel(lambda p: p**17 + p**0.3)
    assert [n.operation for n in kernel.program().instructions] == [
        "power",
        "power",
        "add",
    ]
