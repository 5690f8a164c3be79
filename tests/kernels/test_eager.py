"""A rule is a NumPy function: traced, it does what it does on arrays by itself."""

import inspect

import numpy as np
import pytest
import reducing_rules
from rules import bits, every_operation, special_arrays

from gdopt.kernels import Kernel
from gdopt.kernels.functions import FUNCTIONS, UFUNCS
from gdopt.kernels.kernel import CPU_ENGINES

EXACT = {
    "sum": lambda x, y, s: x + y - s * x / y,
    "absolute": lambda x, y, s: abs(-x) + np.positive(y),
    "sqrt": lambda x, y, s: np.sqrt(x),
    "square": lambda x, y, s: np.square(x),
    "reciprocal": lambda x, y, s: np.reciprocal(x),
    "power -1": lambda x, y, s: x**-1,
    "power 0.5": lambda x, y, s: x**0.5,
    "power 1": lambda x, y, s: x**1,
    "power 2": lambda x, y, s: x**2,
    "sign": lambda x, y, s: np.sign(x),
    "minimum": lambda x, y, s: np.minimum(x, y),
    "maximum": lambda x, y, s: np.maximum(x, y),
    "minimum with a scalar": lambda x, y, s: np.minimum(s, x),
    "maximum with a number": lambda x, y, s: np.maximum(x, 0.0),
    "clip": lambda x, y, s: np.clip(x, -s, s),
    "clip at zeros": lambda x, y, s: np.clip(x, -0.0, 0.0),
    "clip by keywords": lambda x, y, s: np.clip(x, min=0.0, max=s),
    "clip by names": lambda x, y, s: np.clip(x, a_max=s, a_min=-s),
    "clip from below": lambda x, y, s: np.clip(x, 0.0, None),
    "clip from above": lambda x, y, s: np.clip(x, None, -0.0),
    "clip by arrays": lambda x, y, s: np.clip(x, y, abs(y)),
    "clip by an array": lambda x, y, s: np.clip(x, -0.0, y),
    "where": lambda x, y, s: np.where(x > y, x, s * y),
    "comparisons": lambda x, y, s: np.where((x == y) | (s != x), y, x),
    "bounds": lambda x, y, s: np.where((x >= 0) & ~(y < x) & (x <= 2), y, x),
    "ufuncs": lambda x, y, s: np.where(
        np.logical_or(np.less(x, y), np.logical_not(np.equal(x, s))), x, y
    ),
    "exclusive": lambda x, y, s: np.where(
        np.logical_xor(x > 0, y > 0) ^ np.logical_and(x < 0, np.isnan(y)), x, y
    ),
    "missing": lambda x, y, s: np.where(np.isnan(x), y, x),
    "floor": lambda x, y, s: x * np.floor(y) + np.floor(s * x),
}
CLOSE = {  # units in the last place, with the other libraries' own functions
    "exp": (lambda x, y, s: np.exp(x), 3),
    "log": (lambda x, y, s: np.log(x), 3),
    "log1p": (lambda x, y, s: np.log1p(x), 3),
    "tanh": (lambda x, y, s: np.tanh(x), 4),
    "hypot": (lambda x, y, s: np.hypot(x, y), 2),
    "power": (lambda x, y, s: x**0.3, 3),
    "power 3": (lambda x, y, s: x**3, 2),
    "power of arrays": (lambda x, y, s: np.abs(x) ** y, 3),
}


def run(function, engine, x, y, s):
    """Return what a kernel of the function leaves in its first array."""

    def rule(out, x, y, *, s):
        return function(x, y, s)

    out = np.empty_like(x)
    Kernel(rule)(out, x.copy(), y.copy(), s=s)
    return out


def eager(function, x, y, s):
    with np.errstate(all="ignore"):
        return function(x, y, s).astype(x.dtype)


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_traced_bits_are_those_of_the_function_on_arrays(
    name, dtype, engine, monkeypatch
):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
    x, y = special_arrays(2, 997, dtype)
    for array in (x, y):  # denormals are flushed in float32
        array[np.abs(array) < 4 * np.finfo(dtype).tiny] *= 0
    s = 1.5
    found, expected = (run(EXACT[name], engine, x, y, s), eager(EXACT[name], x, y, s))
    small = np.abs(expected) < 4 * np.finfo(dtype).tiny
    sure = ~small | (expected == 0)
    assert bits(found[sure]) == bits(expected[sure])


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CLOSE)
def test_traced_values_are_within_units_of_those_on_arrays(
    name, dtype, engine, monkeypatch
):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
    function, units = CLOSE[name]
    x, y = np.random.default_rng(3).uniform(0.01, 4, (2, 997)).astype(dtype)
    found, expected = run(function, engine, x, y, 1.5), eager(function, x, y, 1.5)
    np.testing.assert_array_max_ulp(found, expected, units)


def test_every_numpy_function_of_rules_is_compared():
    source = inspect.getsource(inspect.getmodule(run))
    operators = "+ - * / ** == != < <= > >= & | ~ ^".split()  # noqa: SIM905
    source += inspect.getsource(reducing_rules)
    every = [*UFUNCS, *FUNCTIONS]
    named = {f.__name__ for f in every if f".{f.__name__}(" in source}
    by_operator = {
        *("add", "subtract", "multiply", "divide", "power", "negative"),
        *("not_equal", "greater", "greater_equal", "less_equal", "absolute"),
        *("bitwise_and", "bitwise_or", "bitwise_xor", "invert"),
    }
    assert all(f" {operator} " in source or operator in "**~" for operator in operators)
    of_complex = {"real", "imag", "conjugate"}  # see `test_complex.py`
    assert named | by_operator == {f.__name__ for f in every} - of_complex


def test_every_operation_runs_on_arrays():
    arrays = special_arrays(4, 997, "float64")
    traced = [array.copy() for array in arrays]
    Kernel(every_operation)(*traced, lr=0.5)
    with np.errstate(all="ignore"):
        expected = every_operation(*arrays, lr=0.5)
    for found, wanted in zip(traced, expected, strict=False):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
