"""Writes the function of a rule as a formula in LaTeX."""

import ast
import itertools
from collections.abc import Callable
from typing import Any

from gdopt.guide.hooks.lines import lines

SYMBOLS = {
    "eps": r"\epsilon",
    "eps1": r"\epsilon_1",
    "eps2": r"\epsilon_2",
    "eta_minus": r"\eta_-",
    "eta_plus": r"\eta_+",
    "lambd": r"\lambda",
    "momentum": r"\mu",
    "weight_decay": r"\lambda",
}
GREEK = ("beta", "alpha", "rho", "eta", "sigma")
AROUND = {  # of NumPy's functions, those with signs of their own around x
    "abs": r"\left|x\right|",
    "norm": r"\left\|x\right\|",
    "sqrt": r"\sqrt{x}",
}
FUNCTIONS = {"maximum": r"\max", "minimum": r"\min"}
HIGH = (r"\begin", r"\frac", r"\sqrt")
COMPARISONS = {ast.Gt: ">", ast.Lt: "<", ast.Eq: "=", ast.GtE: r"\ge"}
LOGIC, SUM, PRODUCT, POWER = range(4)  # how tightly an expression binds


def formula(function: Callable[..., Any]) -> str:
    """Return the lines of a function as LaTeX."""
    rows = []
    for where, target, value in lines(function):
        note = rf" & \text{{{where}}}" if where else ""
        rows.append(rf"{symbol(target)} &\leftarrow {latex(value)}{note}")
    return r"\begin{align*}" + r" \\ ".join(rows) + r"\end{align*}"


def symbol(name: str) -> str:
    """Return how a name is written in a formula."""
    if name in SYMBOLS:
        return SYMBOLS[name]
    for greek in GREEK:
        rest = name.removeprefix(greek)
        if rest != name and (rest.isdigit() or not rest):
            return rf"\{greek}" + (f"_{rest}" if rest else "")
    if len(name) == 1:
        return name
    first, _, rest = name.partition("_")
    if len(first) == 1 and rest:  # v_max
        return rf"{first}_{{\mathrm{{{rest}}}}}"
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"


def latex(node: ast.expr, inside: int = LOGIC) -> str:
    """Return an expression as LaTeX, in parentheses where `inside` binds tighter."""
    text, binds = _parts(node)
    return in_parentheses(text) if binds < inside else text


def in_parentheses(text: str) -> str:
    """Return LaTeX in parentheses, high ones around what is high."""
    high = any(command in text for command in HIGH)
    return rf"\left({text}\right)" if high else f"({text})"


def _parts(node: ast.expr) -> tuple[str, int]:
    """Return an expression as LaTeX, and how tightly it binds."""
    match node:
        case ast.Name(id=name):
            found = symbol(name), POWER + 1
        case ast.Constant(value=int() | float() as value):
            found = f"{value:g}", POWER + 1
        case ast.Starred(value=ast.Attribute(value=value, attr="shape")):
            found = rf"\text{{shape of }} {latex(value)}", POWER + 1
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found = f"-{latex(operand, PRODUCT)}", SUM
        case ast.BinOp():
            found = _operation(node)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            sign = COMPARISONS[type(op)]
            found = f"{latex(left, SUM)} {sign} {latex(right, SUM)}", LOGIC
        case ast.Call():
            found = _call(node)
        case _:
            raise ValueError(f"no way to write {ast.unparse(node)}")
    return found


def _operation(node: ast.BinOp) -> tuple[str, int]:
    left, right = node.left, node.right
    match node.op:
        case ast.Add():
            return f"{latex(left, SUM)} + {latex(right, SUM)}", SUM
        case ast.Sub():
            return f"{latex(left, SUM)} - {latex(right, PRODUCT)}", SUM
        case ast.BitAnd():
            return rf"{latex(left)} \text{{ and }} {latex(right)}", LOGIC
        case ast.Pow() if isinstance(right, ast.Constant) and right.value == 0.5:
            return rf"\sqrt{{{latex(left)}}}", POWER + 1
        case ast.Pow():
            return f"{latex(left, POWER + 1)}^{{{latex(right)}}}", POWER
    return _product(node)


def _product(node: ast.expr) -> tuple[str, int]:
    """Write a chain of products and quotients as one fraction."""
    above: list[ast.expr] = []
    below: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        (above if isinstance(node.op, ast.Mult) else below).insert(0, node.right)
        node = node.left
    above.insert(0, node)
    if below:
        return rf"\frac{{{_factors(above)}}}{{{_factors(below)}}}", PRODUCT
    return _factors(above), PRODUCT


def _factors(factors: list[ast.expr]) -> str:
    if len(factors) == 1:
        return latex(factors[0])
    texts = [latex(one, PRODUCT) for one in factors]
    if len(texts) == 2 and texts[0] == texts[1]:
        return f"{latex(factors[0], POWER + 1)}^2"
    joined = texts[0]
    for before, text in itertools.pairwise(texts):
        numbers = before[-1].isdigit() and text[0].isdigit()
        joined += (r" \cdot " if numbers else r" \, ") + text
    return joined


def _call(node: ast.Call) -> tuple[str, int]:
    """Write a call of NumPy's functions, or of another by its name."""
    name = _name(node)
    if name == "where":
        return _cases(node), LOGIC
    arguments = ", ".join(latex(one) for one in node.args)
    if name in AROUND:
        return AROUND[name].replace("x", arguments), POWER + 1
    written = FUNCTIONS.get(name, rf"\operatorname{{{name}}}")
    axis = {k.arg: ast.literal_eval(k.value) for k in node.keywords}.get("axis")
    if axis is not None:
        written += rf"_{{\text{{{'columns' if axis == 0 else 'rows'}}}}}"
    return written + in_parentheses(arguments), POWER + 1


def _name(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _cases(node: ast.expr) -> str:
    """Write `where`, and what stands in its last place, as cases."""
    rows = []
    while isinstance(node, ast.Call) and _name(node) == "where":
        test, yes, node = node.args
        rows.append(rf"{latex(yes)} & \text{{if }} {latex(test)}")
    rows.append(rf"{latex(node)} & \text{{otherwise}}")
    return r"\begin{cases}" + r" \\ ".join(rows) + r"\end{cases}"
