"""The formulas of the page of rules compute what the rules do."""

import ast
import inspect

import numpy as np
import pytest

import gdopt

latex = pytest.importorskip("gdopt.guide.hooks.latex", reason="not in the wheel")
lines = pytest.importorskip("gdopt.guide.hooks.lines")
CASES = r"\begin{cases}1 & \text{if } a > b \\ 2 & \text{if } a = b \\ "
CASES += r"3 & \text{otherwise}\end{cases}"
SCALARS = {"t": 3, "lr": 0.1, "eps": 0.01, "eps1": 0.02, "d": 0.5}
SCALARS |= {"min_step_size": 0.01, "max_step_size": 1.0, "lr_power": -0.4, "t0": 1.0}
SCALARS |= {"eta_plus": 1.2, "beta2_decay": -0.8, "l1": 0.05, "momentum_decay": 0.004}


def given(function, shape):
    """Return arrays and scalars for a rule, each another."""
    rng, found = np.random.default_rng(0), {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            found[name] = SCALARS.get(name, 0.3)
        else:
            found[name] = rng.uniform(0.1, 0.4, shape)
            found[name] *= -1 if name == "h" else 1
    return found


def run(function, shape):
    """Return the new arrays, by the lines of the formula one after the other."""
    scope = {"np": np, "abs": abs} | given(function, shape)
    for where, target, value in lines.lines(function):
        if not where or ("matrix" in where) == (len(shape) == 2):
            code = compile(ast.Expression(ast.fix_missing_locations(value)), "", "eval")
            scope[target] = eval(code, scope)  # noqa: S307 - the rule's own expression
    kinds = inspect.signature(function).parameters.items()
    *arrays, _ = [n for n, p in kinds if p.kind is not p.KEYWORD_ONLY]
    return [scope[name] for name in arrays]


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
@pytest.mark.parametrize("name", gdopt.rules.__all__)
def test_the_lines_of_a_formula_compute_the_rule(name, shape):
    function = getattr(gdopt.rules, name).function
    values = given(function, shape)
    kinds = inspect.signature(function).parameters
    arrays = [values.pop(n) for n, p in kinds.items() if p.kind is not p.KEYWORD_ONLY]
    expected = function(*arrays, **values)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one, other in zip(run(function, shape), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr * a / b * m / root", r"\frac{\mathrm{lr} \, a \, m}{b \, \mathrm{root}}"),
        ("a - (b - c)", r"a - (b - c)"),
        ("a - (b + c) * d", r"a - (b + c) \, d"),
        ("(a + b) + c", "a + b + c"),
        ("-(a * b)", r"-a \, b"),
        ("(1 - beta2**t) ** 0.5", r"\sqrt{1 - \beta_2^{t}}"),
        ("(a + b) ** k", r"(a + b)^{k}"),
        ("(a + b) * (a + b)", r"(a + b)^2"),
        ("0.5 * 0.96**t", r"0.5 \cdot 0.96^{t}"),
        ("(a / b) ** 2", r"\left(\frac{a}{b}\right)^{2}"),
        ("np.abs(g) ** 2", r"\left|g\right|^{2}"),
        ("v_max * weight_decay", r"v_{\mathrm{max}} \, \lambda"),
        ("np.maximum(l1, x)", r"\max(\mathrm{l1}, x)"),
        ("np.mean(g, axis=1)", r"\operatorname{mean}_{\text{rows}}(g)"),
        ("np.where(a > b, 1, np.where(a == b, 2, 3))", CASES),
    ],
)
def test_an_expression_is_written_as_in_a_paper(text, expected):
    assert latex.latex(ast.parse(text, mode="eval").body) == expected


def test_what_cannot_be_written_is_named():
    with pytest.raises(ValueError, match=r"no way to write a\[0\]"):
        latex.latex(ast.parse("a[0]", mode="eval").body)


def test_muon_s_formula_names_what_is_not_a_formula():
    function = gdopt.Muon(np.zeros((2, 2))).rule.function
    text = latex.formula(function)
    assert r"\operatorname{orthogonalize}((1 - \mu) \, g" in text
    assert "astype" not in text
