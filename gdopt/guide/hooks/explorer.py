"""Writes what the explorer's page runs: explorer/rules.js, made by each build.

It holds the library's own formulas, traced and printed: its rules that work element by
element, and its problems. Schedules, which may branch, and noise are tables of values.
"""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

import gdopt
from gdopt import problems, schedules
from gdopt.kernels.javascript import FLOAT32, FLOAT64, print_function, print_rule
from gdopt.kernels.symbol import ELEMENT, Symbol
from gdopt.optim.rule import BUILT_IN, BuiltInRule

STEPS = 400
PROBLEMS = {
    "bowl": problems.bowl(25.0),
    "turned_bowl": replace(
        problems.bowl(25.0).turned(0.6), start=(-3.9, -1.4), box=((-5, 5), (-4, 4))
    ),
    "saddle": problems.saddle(),
    "bounded_saddle": problems.bounded_saddle(),
    "plateau": problems.plateau(),
    "rosenbrock": problems.rosenbrock(),
    "beale": problems.beale(),
    "himmelblau": problems.himmelblau(),
    "rastrigin": problems.rastrigin(),
}
SCHEDULES = {  # each a factor of the rate
    "constant": schedules.constant(1.0),
    "warm-up in 40 steps": schedules.warmup(1.0, 40),
    "linear, to 0": schedules.polynomial(1.0, 0.0, STEPS),
    "cosine, to 0": schedules.cosine(1.0, 0.0, STEPS),
    "cosine with warm-up": schedules.warmup(schedules.cosine(1.0, 0.0, STEPS), 40),
    "cosine with restarts": schedules.cosine_restarts(1.0, 0.0, STEPS // 4),
    "exponential, to 0.01": schedules.exponential(1.0, 0.01, STEPS),
    "halved every 100 steps": schedules.halving(1.0, 100),
    "1 / (1 + 0.05 step)": schedules.inverse_time(1.0, 0.05),
    "1 / √(step + 1)": schedules.inv_sqrt(1.0),
    "triangles of 100 steps": schedules.cyclic(0.1, 1.0, 50),
    "one cycle": schedules.one_cycle(1.0, STEPS)[0],
}
# What optimizers choose a rule by: with 0, the class takes another one.
CHOSEN_BY = {"momentum": 0.9}


def explorer_rules() -> dict[str, BuiltInRule]:
    """Return the library's rules that compute every element for itself, by name."""
    return {n: rule for n, rule in BUILT_IN.items() if not rule.kernel.by_shape}


def make_noise() -> Any:
    """Return standard normal numbers, (steps, 2), which all descents see."""
    return np.random.default_rng(0).standard_normal((STEPS, 2)).round(4)


def _recorded(name: str) -> Any:
    return np.frompyfunc(lambda x: Symbol(name, (x,), kind=x.kind), 1, 1)


# What problems ask of a backend, of arrays that hold symbols.
TRACING: Any = SimpleNamespace(
    xp=SimpleNamespace(
        sum=np.sum,
        zeros_like=np.zeros_like,
        **{name: _recorded(name) for name in ("cos", "exp", "expm1", "sin")},
    ),
    from_host=lambda array, _: array,
    device=lambda _: None,
)


def print_problem(problem: problems.Problem) -> str:
    """Print a problem: ``value(f, x, y)`` and ``slope(f, x, y)``, and what is known."""
    symbols = [Symbol(name=name, kind=ELEMENT) for name in "xy"]
    point = np.array([[None, None]])  # a batch of one: its coordinates are arrays
    point[0, 0], point[0, 1] = symbols
    known = dict(zip(symbols, "xy", strict=True))
    functions = {
        name: print_function(name, "fxy", formula(point, TRACING).ravel(), known=known)
        for name, formula in (("value", problem.formula), ("slope", problem.slope))
    }
    facts = {
        "title": problem.name[0].upper() + problem.name[1:],
        "start": problem.start,
        "box": problem.box,
        "minima": problem.minima,
        "least": problem.least if problem.minima else None,
    }
    return _print_object(functions.values(), facts)


def print_explorer_rule(rule: BuiltInRule) -> str:
    """Print a rule, with its class, what its state starts from, and its scalars."""
    scalars = {
        name: {
            "start": CHOSEN_BY.get(name, rule.defaults[name]),
            "range": rule.bounds(name).text,
        }
        for name in rule.scalars
    }
    states = [rule.start(state) for state in rule.states]
    source = rule.function.__doc__ or rule.name
    facts = {"kind": rule.kind.__name__, "states": states, "scalars": scalars}
    functions = print_rule(rule.kernel.element_program())
    return _print_object([functions], facts | {"source": source})


def _print_object(functions: Any, facts: dict[str, Any]) -> str:
    fields = [f"{key}: {json.dumps(value)}" for key, value in facts.items()]
    return "{\n" + ",\n".join([*fields, *functions]) + "\n}"


def print_library() -> str:
    """Print all that the page needs, as the constant ``GDOPT``."""
    values = {n: [f(step) for step in range(STEPS)] for n, f in SCHEDULES.items()}
    rules = {n: print_explorer_rule(rule) for n, rule in explorer_rules().items()}
    shapes = {name: print_problem(problem) for name, problem in PROBLEMS.items()}
    fields = {
        "version": json.dumps(gdopt.__version__),
        "steps": str(STEPS),
        "rounding": f"{{ float64: {FLOAT64}, float32: {FLOAT32} }}",
        "schedules": json.dumps(values),
        "noise": json.dumps(make_noise().tolist()),
        **{
            key: "{\n" + ",\n".join(f"{n}: {text}" for n, text in own.items()) + "\n}"
            for key, own in (("problems", shapes), ("rules", rules))
        },
    }
    body = ",\n".join(f"{key}: {text}" for key, text in fields.items())
    head = "// Printed by gdopt from its own formulas: gdopt/guide/hooks/explorer.py"
    return f'{head}\n"use strict";\nconst GDOPT = {{\n{body}\n}};\n'


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the script to the site's files."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - the tests need it not

    made = File.generated(config, "explorer/rules.js", content=print_library())
    files.append(made)
    return files
