"""Tracing: what is hoisted, what is refused, and what the errors say."""

import math

import numpy as np
import pytest

import gdopt
from gdopt.kernels.trace import compile_host


def test_expressions_of_scalars_are_computed_once_in_float64():
    program = gdopt.rules.adam.kernel.program()
    values = compile_host(program)(1e-3, 0.9, 0.999, 1e-8, 2)
    correction = math.sqrt(1 - 0.999**2)
    expected = {0.9, 1 - 0.9, 0.999, 1 - 0.999}
    expected |= {1e-3 * correction / (1 - 0.9**2), 1e-8 * correction}
    assert set(values) == expected


def test_adam_takes_twelve_operations_an_element():
    program = gdopt.rules.adam.kernel.program()
    assert len(program.instructions) == 12


def test_equal_constants_are_hoisted_once_and_zeros_by_sign():
    def rule(p, g):
        return np.where(p > 2, 2 * g, -0.0) + np.where(g < 2.0, 2.0, 0.0)

    program = gdopt.Kernel(rule).program()
    assert sorted(map(str, compile_host(program)())) == ["-0.0", "0.0", "2.0"]


def test_scalars_given_as_arrays_become_inputs_behind_the_gradient():
    program = gdopt.rules.adam.kernel.program({"lr"})
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
        return np.where((t > 2) & (p > 0), p * 10, p)

    for t, expected in ((2, [1.0, -1.0]), (3, [10.0, -1.0])):
        p = np.array([1.0, -1.0])
        gdopt.Kernel(rule)(p, t=t)
        assert p.tolist() == expected


def branching(p, g):
    return p if g > 0 else g


def chained(p, g):
    return np.where(0 < g < 1, p, g)


def membership(p, g):
    return p if g in (0.0, 1.0) else g


def joined_by_and(p, g):
    return np.where(g > 0 and p > 0, p, g)


def python_max(p, g):
    return max(p, g)


def python_sum(p, g):
    return p - sum(g)


def python_round(p, g):
    return p - round(g)


def with_divmod(p, g):
    return p - divmod(g, 2)[1]


def with_floor(p, g):
    return p - math.floor(g)


def into_an_array(p, g):
    return np.add(p, g, out=p)


def where_asked(p, g):
    return np.subtract(p, g, where=g > 0)


def in_another_dtype(p, g):
    return np.multiply(p, g, dtype=np.float64)


def clipped_into(p, g):
    return np.clip(g, 0.0, 1.0, out=p)


def where_alone(p, g):
    return np.where(g > 0)


def with_norm_order(p, g):
    return p - np.linalg.norm(g, ord=1)


def with_deviation(p, g):
    return p / np.std(g)


def reduced(p, g):
    return p - np.add.reduce(g)


def with_fmax(p, g):
    return np.fmax(p, g)


def with_isfinite(p, g):
    return np.where(np.isfinite(g), p - g, p)


def assigned(p, g):
    g[0] = 0.0
    return p - g


def arithmetic_on_truth(p, g):
    return p * (g > 0)


def where_on_number(p, g):
    return np.where(g, p, g)


def with_math(p, g):
    return p - math.sqrt(g)


def with_unknown_ufunc(p, g):
    return p - np.tan(g)


def with_reduction(p, g):
    return p - np.min(g)


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
        (branching, r"cannot branch .* np\.where\(condition, x, y\) for if"),
        (chained, r"\(a < x\) & \(x < b\) for a < x < b"),
        (membership, r"\(x == a\) \| \(x == b\) for x in \(a, b\)"),
        (joined_by_and, r"& \| ~ for and, or, not"),
        (python_max, r"np\.maximum\(x, y\) for max\(x, y\)"),
        (python_sum, r"iteration, as in sum\(x\), is not an operation"),
        (python_round, "round is not an operation of rules"),
        (with_divmod, "divmod is not an operation"),
        (with_floor, r"math\.floor is not an operation"),
        (into_an_array, r"np\.add takes no out= in a rule: write y = np\.add\("),
        (where_asked, r"np\.subtract takes no where= in a rule"),
        (in_another_dtype, r"np\.multiply takes no dtype= in a rule"),
        (clipped_into, r"np\.clip takes \(x, a_min.*\) in a rule, got out="),
        (where_alone, r"np\.where takes \(condition, x, y\) in a rule, got 1"),
        (
            with_norm_order,
            r"np\.linalg\.norm takes \(x, axis, keepdims\) in a rule, got ord=",
        ),
        (with_deviation, r"np\.std is not an operation of rules"),
        (reduced, r"np\.add\.reduce is not an operation"),
        (with_fmax, r"np\.fmax is not an operation of rules: write np\.maximum\(x, y"),
        (with_isfinite, r"np\.isfinite is not .*: write abs\(x\) < np\.inf"),
        (assigned, "assignment to an element is not an operation"),
        (arithmetic_on_truth, r"multiply needs a number, not a .*: write np\.where\("),
        (where_on_number, "where needs a comparison as argument 1: write x != 0"),
        (with_math, r"write np\.sqrt\(x\), np\.exp\(x\), \.\.\. for math\.sqrt\(x\)"),
        (with_unknown_ufunc, r"np\.tan is not an operation of rules, which are \+"),
        (with_reduction, r"np\.min is not an operation of rules: write -np\.max\(-x\)"),
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
