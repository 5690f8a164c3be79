"""Tracing: what is hoisted, what is refused, and what the errors say."""

import math

import numpy as np
import pytest

import gdopt
from gdopt.kernels.trace import compile_host
from gdopt.optim.classes import adam


def test_expressions_of_scalars_are_computed_once_in_float64():
    program = adam("corrected", bias_correction=True).kernel.program()
    values = compile_host(program)(1e-3, 0.9, 0.999, 1e-8, 2)
    correction = math.sqrt(1 - 0.999**2)
    expected = {0.9, 1 - 0.9, 0.999, 1 - 0.999}
    expected |= {1e-3 * correction / (1 - 0.9**2), 1e-8 * correction}
    assert set(values) == expected


def test_adam_takes_twelve_operations_an_element():
    program = adam("corrected", bias_correction=True).kernel.program()
    assert len(program.instructions) == 12


def test_equal_constants_are_hoisted_once_and_zeros_by_sign():
    def rule(p, g):
        return gdopt.where(p > 2, 2 * g, -0.0) + gdopt.where(g < 2.0, 2.0, 0.0)

    program = gdopt.Kernel(rule).program()
    assert sorted(map(str, compile_host(program)())) == ["-0.0", "0.0", "2.0"]


def test_scalars_given_as_arrays_become_inputs_behind_the_gradient():
    program = adam("corrected", bias_correction=True).kernel.program({"lr"})
    assert [symbol.name for symbol in program.inputs] == ["p", "m", "v", "g", "lr"]
    assert program.scalars == ("beta1", "beta2", "eps", "t")


def test_roles_say_what_is_read_and_written():
    def rule(p, q, r, g):
        return q, p, r

    program = gdopt.Kernel(rule).program()
    assert [program.reads(symbol) for symbol in program.inputs] == [1, 1, 1, 0]
    assert [program.writes(place) for place in range(4)] == [True, True, False, False]


def test_arrays_exchanged_by_a_rule_are_read_before_they_are_written():
    p, q = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    gdopt.Kernel(lambda p, q: (q, p))(p, q)
    assert (p.tolist(), q.tolist()) == ([3.0, 4.0], [1.0, 2.0])


def test_a_condition_on_scalars_chooses_for_all_elements():
    def rule(p, *, t):
        return gdopt.where((t > 2) & (p > 0), p * 10, p)

    for t, expected in ((2, [1.0, -1.0]), (3, [10.0, -1.0])):
        p = np.array([1.0, -1.0])
        gdopt.Kernel(rule)(p, t=t)
        assert p.tolist() == expected


def branching(p, g):
    return p if g > 0 else g


def chained(p, g):
    return gdopt.where(0 < g < 1, p, g)


def identity_comparison(p, g):
    return gdopt.where(g == 0, p, g)


def arithmetic_on_truth(p, g):
    return p * (g > 0)


def where_on_number(p, g):
    return gdopt.where(g, p, g)


def with_math(p, g):
    return p - math.sqrt(g)


def with_unknown_ufunc(p, g):
    return p - np.tan(g)


def with_reduction(p, g):
    return p - np.sum(g)


def with_method(p, g):
    return p - g.mean()


def with_matrix_product(p, g):
    return p @ g


def with_index(p, g):
    return p - g[0]


def with_array(p, g):
    return p - np.ones(3)


def returning_comparison(p, g):
    return p > g


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (branching, r"cannot branch .* where\(condition, x, y\)"),
        (chained, "cannot branch"),
        (identity_comparison, "== tells whether two symbols are the same object"),
        (arithmetic_on_truth, "multiply needs a number, not a comparison"),
        (where_on_number, "where needs a comparison as argument 1"),
        (with_math, "use gdopt's sqrt"),
        (with_unknown_ufunc, r"numpy\.tan is not an operation of rules; they are \+"),
        (with_reduction, "not an operation of rules"),
        (with_method, r"\.mean is not an operation"),
        (with_matrix_product, "@ is not an operation"),
        (with_index, "indexing is not an operation"),
        (with_array, "not an operation|works on its arguments"),
        (returning_comparison, "must return numbers, got a comparison for 'p'"),
    ],
)
def test_what_cannot_be_traced_is_refused(rule, message):
    with pytest.raises(gdopt.RuleError, match=message):
        gdopt.Kernel(rule).program()


@pytest.mark.parametrize(
    "name", ["i", "n", "x3", "s0", "_p", "p_", "double", "lambda_"]
)
def test_reserved_names_are_refused(name):
    scope = {}
    exec(f"def rule({name}, g): return {name} - g", scope)  # noqa: S102
    with pytest.raises(gdopt.RuleError, match=f"'{name}' is a reserved name"):
        gdopt.Kernel(scope["rule"])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda *p: p, r"names its arguments, got \*p"),
        (lambda p, **others: p, r"names its arguments, got \*others"),
        (
            lambda p, lr=0.1: p,
            "'lr' has a default, but positional arguments are arrays",
        ),
        (lambda *, lr: lr, "takes at least one array by position"),
    ],
)
def test_signatures_that_are_no_rule_are_refused(rule, message):
    with pytest.raises(gdopt.RuleError, match=message):
        gdopt.Kernel(rule)


def test_a_rule_that_returns_the_wrong_number_of_arrays_is_refused():
    def forgetful(p, m, v, g, *, lr):
        return p - lr * g, m

    with pytest.raises(
        gdopt.RuleError, match=r"must return 3 values \(p, m, v\), got 2"
    ):
        gdopt.rule(forgetful)
    with pytest.raises(gdopt.RuleError, match="must return one value for each"):
        gdopt.Kernel(lambda p: (p, p)).program()


def test_states_and_ranges_of_unknown_names_are_refused():
    with pytest.raises(gdopt.RuleError, match="state may name m, got 'v'"):
        gdopt.rule(state={"v": 0})(lambda p, m, g: (p, m))
    with pytest.raises(gdopt.RuleError, match="ranges may name lr, got 'rate'"):
        gdopt.rule(ranges={"rate": "[0, 1)"})(lambda p, g, *, lr: p - lr * g)


def test_scalars_may_bear_the_names_of_operations():
    def rule(p, g, *, add, where, power):
        return p - add * where * power * g

    p = np.array([1.0])
    gdopt.Kernel(rule)(p, np.array([1.0]), add=0.5, where=0.5, power=2.0)
    assert p.tolist() == [0.5]
