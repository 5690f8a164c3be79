"""Takes the function of a rule apart: a line for each assignment, calls included."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

PLAIN = (ast.Assign, ast.If, ast.Return)  # what formulas are made of


class Line(NamedTuple):
    """An assignment, and where it holds if that is not everywhere."""

    where: str
    target: str
    value: ast.expr


def lines(function: Callable[..., Any]) -> list[Line]:
    """Return the assignments of a rule, those of the functions that it calls too."""
    found = Assignments(function)
    values = found.add_body()
    *arrays, _ = [p.name for p in _parameters(function) if p.kind is p.POSITIONAL_ONLY]
    return found.all + list(_ordered(dict(zip(arrays, values, strict=True))))


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    found = inspect.signature(function).parameters.values()
    once = inspect.Parameter.POSITIONAL_OR_KEYWORD
    only = inspect.Parameter.POSITIONAL_ONLY
    return [p.replace(kind=only) if p.kind is once else p for p in found]


def _ordered(values: dict[str, ast.expr]) -> Iterator[Line]:
    """Yield what is returned, so that nothing is read after it was replaced."""
    pending = {n: v for n, v in values.items() if ast.unparse(v) != n}
    while pending:
        free = (
            name
            for name in pending
            if not any(name in names(v) for n, v in pending.items() if n != name)
        )
        name = next(free)
        yield Line("", name, pending.pop(name))


def _body(function: Callable[..., Any]) -> list[ast.stmt]:
    """Return the statements of a function without its docstring."""
    code = function.__code__
    if function.__name__ != "<lambda>":
        source = textwrap.dedent(inspect.getsource(code))
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.FunctionDef)  # noqa: S101 - as it has a name
        docstring = ast.get_docstring(definition) is not None
        return definition.body[docstring:]
    for node in ast.walk(
        ast.parse(inspect.getsource(sys.modules[function.__module__]))
    ):
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno:
            return [ast.Return(node.body)]
    raise ValueError(f"no source for {function!r}")


def names(value: ast.AST) -> set[str]:
    """Return the names in an expression."""
    return {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}


@dataclass
class Assignments(ast.NodeTransformer):
    """Collects assignments; a call of another formula becomes that one's lines."""

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        self.all: list[Line] = []
        self.where = ""
        scope = inspect.getclosurevars(self.function)
        self.scope = {**scope.globals, **scope.nonlocals}

    def add_body(self, renamed: dict[str, str] | None = None) -> list[ast.expr]:
        """Add the function's lines, and return the values that it returns."""
        body = _body(self.function)
        for node in (inner for one in body for inner in ast.walk(one)):
            if isinstance(node, ast.Name) and renamed:
                node.id = renamed.get(node.id, node.id)
        return self._statements(body)

    def _statements(self, body: list[ast.stmt]) -> list[ast.expr]:
        for statement in body:
            if isinstance(statement, ast.Return):
                assert statement.value is not None  # noqa: S101 - the new arrays
                return self._values(statement.value)
            if isinstance(statement, ast.If):
                for where, branch in (("matrix", "body"), ("vector", "orelse")):
                    self.where = f"(of a {where})"
                    self._statements(getattr(statement, branch))
                self.where = ""
            elif isinstance(statement, ast.Assign):
                self._assign(statement)
        return []

    def _assign(self, statement: ast.Assign) -> None:
        values = self._values(statement.value)
        for target in reversed(statement.targets):
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            for part, value in zip(parts, values, strict=True):
                assert isinstance(part, ast.Name)  # noqa: S101 - formulas assign names
                if not ast.unparse(value).startswith(f"{part.id}.astype("):
                    self.add(part.id, value)
            # In `v = r = ...`, v becomes what r is.
            values = [ast.parse(ast.unparse(part), mode="eval").body for part in parts]

    def add(self, target: str, value: ast.expr) -> None:
        """Add a line, unless it assigns a name to itself."""
        if ast.unparse(value) != target:
            self.all.append(Line(self.where, target, value))

    def _values(self, value: ast.expr) -> list[ast.expr]:
        """Return the values of an expression: several of a tuple, or of a call."""
        if isinstance(value, ast.Tuple):
            return [self.visit(part) for part in value.elts]
        if isinstance(value, ast.Call) and (inner := self._formula(value)):
            return self._inline(value, inner)
        return [self.visit(value)]

    def _formula(self, call: ast.Call) -> Callable[..., Any] | None:
        """Return the formula that is called, if it is one."""
        if not isinstance(call.func, ast.Name):
            return None
        found = self.scope.get(call.func.id)
        found = getattr(found, "function", found)
        if not inspect.isfunction(found) or "families" not in found.__module__:
            return None
        plain = all(isinstance(one, PLAIN) for one in _body(found))
        of_shape = found.__name__ == "<lambda>" and ast.unparse(call).endswith("shape)")
        return found if plain and not of_shape else None

    def _inline(self, call: ast.Call, function: Callable[..., Any]) -> list[ast.expr]:
        inner = Assignments(function)
        inner.where, renamed = self.where, {}
        order = [p.name for p in _parameters(function)]
        given = dict(zip(order, call.args, strict=False))
        given |= {k.arg: k.value for k in call.keywords if k.arg}
        for name, value in given.items():
            if isinstance(value, ast.Name):
                renamed[name] = value.id
            elif not isinstance(value, ast.Starred):
                inner.add(name, self.visit(value))
        values = inner.add_body(renamed)
        self.all += inner.all
        return values

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Put the value of a formula in the place of its call."""
        if inner := self._formula(node):
            (value,) = self._inline(node, inner)
            return value
        self.generic_visit(node)
        return node
