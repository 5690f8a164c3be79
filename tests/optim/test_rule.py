"""A rule of one's own is a plain function, and as good as the built-in ones."""

import inspect

import numpy as np
import pytest
from oracles import CASES, by_rule

import gdopt

GENERATOR = np.random.default_rng(19)
START = GENERATOR.standard_normal(9)
ROWS = GENERATOR.standard_normal((7, 9))


def run(optimizer, rows=ROWS):
    for row in rows:
        optimizer.step(row)
    return optimizer.params["0"]


def signed(p, g, *, lr):
    return p - lr * np.sign(g)


def own_adam(p, m, v, g, *, lr, beta1, beta2, eps, t):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    unbias = np.sqrt(1 - beta2**t)
    root = np.sqrt(v) + eps * unbias
    return p - lr * unbias / (1 - beta1**t) * m / root, m, v


@gdopt.rule(state={"a": "p"})
def averaged(p, a, g, *, lr, t):
    p = p - lr * g
    return p, a + (p - a) / t


@gdopt.rule(state={"v": 0.1}, ranges={"lr": "[0, 1]"})
def adagrad(p, v, g, *, lr, eps=1e-7):
    v = v + g * g
    return p - lr * g / np.sqrt(v + eps), v


def decayed(p, m, v, g, *, lr, beta1, beta2, eps, weight_decay, t):
    p = (1 - lr * weight_decay) * p
    hyper = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
    return gdopt.rules.adam(p, m, v, g, t=t, **hyper)


def test_a_plain_function_is_a_rule(engine):
    p = START.copy()
    run(gdopt.Optimizer(p, rule=signed, lr=0.25), ROWS[:1])
    np.testing.assert_array_equal(p, START - 0.25 * np.sign(ROWS[0]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("own", "name"), [(own_adam, "adam corrected"), (decayed, "adamw corrected")]
)
def test_a_copy_of_a_built_in_rule_gives_its_bits(own, name, dtype, engine):
    case, rows = CASES[name], ROWS.astype(dtype)
    expected = run(case.make(START.astype(dtype)), rows)
    found = run(gdopt.Optimizer(START.astype(dtype), rule=own, **case.hyper), rows)
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize(
    ("rule", "hyper"),
    [(averaged, {"lr": 0.1}), (adagrad, {"lr": lambda k: 0.5 / (1 + k), "eps": 1e-7})],
    ids=["averaged", "adagrad"],
)
@pytest.mark.parametrize("arena", [False, True])
def test_state_starts_where_the_rule_says(rule, hyper, arena, engine):
    start = START.copy()
    params = gdopt.Arena.of(start) if arena else start
    optimizer = gdopt.Optimizer(params, rule=rule, **hyper)
    (state,) = optimizer.state["0"].values()
    expected = START if rule is averaged else np.full(9, 0.1)
    np.testing.assert_array_equal(state, expected)
    assert not np.shares_memory(state, optimizer.params["0"])
    found = [run(optimizer), state]
    wanted = by_rule(rule, START.tolist(), ROWS.tolist(), **hyper)
    assert [array.tolist() for array in found] == wanted


def test_a_copy_of_float16_parameters_is_float32_state(engine):
    p = START.astype(np.float16)
    optimizer = gdopt.Optimizer(p, rule=averaged, lr=0.0)
    (state,) = optimizer.state["0"].values()
    np.testing.assert_array_equal(state, p.astype(np.float32), strict=True)


def test_a_default_of_the_function_is_the_default_of_the_optimizer(numpy_engine):
    optimizer = gdopt.Optimizer(START.copy(), rule=adagrad, lr=0.1)
    assert dict(optimizer.hyper) == {"lr": 0.1, "eps": 1e-7}


def test_a_rule_may_have_no_scalars_and_leave_state_alone(engine):
    def plain(p, kept, g):
        return p - g, kept

    p = START.copy()
    run(gdopt.Optimizer(p, rule=plain), ROWS[:1])
    np.testing.assert_array_equal(p, START - ROWS[0])


def test_the_formulas_of_built_in_rules_are_plain_functions():
    functions = {
        name: getattr(gdopt.rules, name).function
        for name in dir(gdopt.rules)
        if name[0] != "_"
    }
    assert {"sgd", "nesterov", "rmsprop", "adam"} <= set(functions)
    assert all(name == function.__name__ for name, function in functions.items())
    assert [name for name, f in functions.items() if f.__annotations__] == []
    signature = inspect.signature(gdopt.rules.adam.function)
    assert signature == inspect.signature(own_adam)


def test_a_rule_is_called_like_its_function():
    assert gdopt.rules.sgd(1.0, 2.0, lr=0.25) == 0.5
    assert averaged(1.0, 1.0, 2.0, lr=0.1, t=1) == (0.8, 0.8)


def test_a_rule_tells_its_parts():
    assert adagrad.name == "adagrad"
    assert adagrad.states == ("v",)
    assert adagrad.scalars == ("lr", "eps")
    assert averaged.scalars == ("lr",)  # t is the step count
    assert averaged.start("a") == "p"
    assert adagrad.bounds("lr").text == "[0, 1]"


def test_the_range_of_a_rules_scalar_is_kept():
    with pytest.raises(gdopt.ArgumentError, match=r"lr must be in \[0, 1\] and finite"):
        gdopt.Optimizer(START.copy(), rule=adagrad, lr=1.5)
    with pytest.raises(gdopt.ArgumentError, match=r"lr must be in .* got inf"):
        gdopt.Optimizer(START.copy(), rule=signed, lr=float("inf"))


def too_few(p, m, v, g, *, lr):
    return p - lr * g, m


def too_many(p, g, *, lr):
    return p - lr * g, g, g


def without_gradient(p):
    return p


def branching(p, g, *, lr):
    return p - lr * g if g > 0 else p


def returns_text(p, g, *, lr):
    return "p"


MISTAKES = {
    "too few results": (
        lambda: gdopt.rule(too_few),
        r"must return 3 values \(p, m, v\)",
    ),
    "too many results": (lambda: gdopt.rule(too_many), "must return"),
    "no gradient": (lambda: gdopt.rule(without_gradient), "a parameter and a gradient"),
    "a branch": (lambda: gdopt.rule(branching), "where"),
    "a result that is no number": (lambda: gdopt.rule(returns_text), "'p'"),
    "no function": (lambda: gdopt.rule(3), "3"),
    "no function for an optimizer": (
        lambda: gdopt.Optimizer(START.copy(), rule=None, lr=0.1),
        "None",
    ),
    "a state that it does not have": (
        lambda: gdopt.rule(state={"w": 0})(adagrad.function),
        "state may name v, got 'w'",
    ),
    "the start of a stateless rule": (
        lambda: gdopt.rule(state={"v": 0})(signed),
        "state may name nothing, got 'v'",
    ),
    "a start that is neither number nor p": (
        lambda: gdopt.rule(state={"v": "g"})(adagrad.function),
        "'v' must .*'p'.* got 'g'",
    ),
    "a range of nothing": (
        lambda: gdopt.rule(ranges={"rate": "[0, 1]"})(signed),
        "ranges may name lr, got 'rate'",
    ),
    "a range that cannot be read": (
        lambda: gdopt.rule(ranges={"lr": "0 to 1"})(signed),
        "'0 to 1'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_rule_is_named(mistake):
    make, message = MISTAKES[mistake]
    with pytest.raises(gdopt.RuleError, match=message):
        make()


@pytest.mark.parametrize("name", gdopt.rules.__all__)
def test_a_built_in_rule_has_the_defaults_and_starts_of_its_optimizer(name):
    rule = getattr(gdopt.rules, name)
    case = next(c for c in CASES.values() if c.make(np.zeros(1)).rule.name == name)
    shown = inspect.signature(case.kind).parameters
    assert rule.defaults == {scalar: shown[scalar].default for scalar in rule.scalars}
    start = {"initial_accumulator"} & shown.keys()
    fixed = {"nadam": [1.0], "schedule_free_sgd": ["p"], "schedule_free_adamw": ["p"]}
    expected = fixed.get(name) or [shown[word].default for word in start]
    assert list(rule.initial.values()) == expected
