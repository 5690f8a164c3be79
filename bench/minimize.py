"""Counts and times the methods with a line search against SciPy's."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from claims import plain
from machine import describe

from gdopt.optim.parameters import Parameters
from gdopt.problems import Problem, beale, bowl, himmelblau, rosenbrock
from gdopt.training.lbfgs import LINE_SEARCH_METHODS

GTOL, MOST = 1e-5, 20_000
PEERS = {"l-bfgs": "L-BFGS-B", "cg": "CG"}
LARGE = 100_000
ROUNDS = 5
HEAD = ("method", "function", "variables", "evaluations", "SciPy's", "ratio", "time")
HELP = """\
examples:
  python bench/minimize.py                    a minute; leave the machine alone
  python bench/minimize.py --json minimize.json
  python bench/minimize.py --quick            without 100,000 variables, each once
"""
Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A function with its gradient, a start, and bounds that part of it meets."""

    name: str
    function: Function
    start: np.ndarray
    bounds: tuple[Any, Any]
    inside: np.ndarray | None = None  # where a run within bounds starts


def of(problem: Problem, size: int, **given: Any) -> Case:
    """Make a case of one of gdopt's test functions."""
    start = np.array(given.pop("start", problem.start))
    name = f"{problem.name}, {size:,}"
    return Case(name, lambda x: (problem.value(x), problem.gradient(x)), start, **given)


def valley(size: int) -> Case:
    """Make a long valley; from its usual start it takes thousands of steps."""
    start = np.resize([1.3, 0.7, 0.8, 1.9, 1.2], size)  # that of SciPy's documentation
    lower = np.where(np.arange(size) % 2, -100.0, 1.0)  # those of L-BFGS-B's own driver
    given = {"bounds": (lower, np.full(size, 100.0)), "inside": np.full(size, 3.0)}
    return of(rosenbrock(size), size, start=start, **given)


def powell(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return value and gradient of the extended Powell function (Moré et al., 22)."""
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    r, s, t, u = a + 10 * b, c - d, b - 2 * c, a - d
    g = np.empty_like(x)
    g[::4], g[1::4] = 2 * r + 40 * u**3, 20 * r + 4 * t**3
    g[2::4], g[3::4] = 10 * s - 8 * t**3, -10 * s - 40 * u**3
    return r @ r + 5 * (s @ s) + np.sum(t**4) + 10 * np.sum(u**4), g


def wood(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return value and gradient of Wood's function (Moré et al., 14)."""
    a, b, c, d = x
    p, q, r, s, t, u = b - a * a, 1 - a, d - c * c, 1 - c, b + d - 2, b - d
    value = 100 * p**2 + q**2 + 90 * r**2 + s**2 + 10 * t**2 + u**2 / 10
    g = [-400 * a * p - 2 * q, 200 * p + 20 * t + u / 5]
    return value, np.array([*g, -360 * c * r - 2 * s, 180 * r + 20 * t - u / 5])


def dixon_price(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return value and gradient of Dixon and Price's function."""
    k = np.arange(2, x.size + 1)
    r = 2 * x[1:] ** 2 - x[:-1]
    g = np.zeros_like(x)
    g[1:] = 8 * k * r * x[1:]
    g[:-1] -= 2 * k * r
    g[0] += 2 * (x[0] - 1)
    return (x[0] - 1) ** 2 + np.sum(k * r * r), g


def quadratic(size: int, condition: float = 1e3) -> Function:
    """Return an ill-conditioned bowl along the axes."""
    c = np.logspace(0, np.log10(condition), size)
    return lambda x: (x @ (c * x) / 2, c * x)


def logistic(rows: int = 500, size: int = 40) -> Function:
    """Return the loss of logistic regression, of features of different scales."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, size)) * np.logspace(0, 1, size)
    chance = 1 / (1 + np.exp(-X @ rng.standard_normal(size) / 5))
    y = np.where(rng.random(rows) < chance, 1.0, -1.0)

    def function(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = -y * (X @ w)
        slope = -X.T @ (y / (1 + np.exp(-z))) / rows + 1e-3 * w
        return np.logaddexp(0, z).mean() + 5e-4 * (w @ w), slope

    return function


def deconvolution(size: int = 400) -> Function:
    """Return the misfit of a signal whose blurred and noisy image is known."""
    kernel = np.exp(-0.5 * (np.arange(-12, 13) / 3) ** 2)
    kernel /= kernel.sum()
    signal = np.zeros(size)
    signal[80], signal[130:170], signal[300:310] = 3, 1, 2
    noise = 0.01 * np.random.default_rng(0).standard_normal(size)
    image = np.convolve(signal, kernel, "same") + noise

    def function(w: np.ndarray) -> tuple[float, np.ndarray]:
        rest = np.convolve(w, kernel, "same") - image
        slope = np.convolve(rest, kernel[::-1], "same") + 1e-3 * w
        return (rest @ rest) / 2 + 5e-4 * (w @ w), slope

    return function


def cases(*, large: bool = True) -> list[Case]:
    """Return all cases; the large ones have 100,000 variables."""
    four = np.array([3.0, -1.0, 0.0, 1.0])
    found = [
        of(rosenbrock(), 2, bounds=(-2.0, 0.5)),
        of(rosenbrock(10), 10, bounds=(-2.0, 0.5)),
        valley(1000),
        Case("extended Powell, 4", powell, four, (0.1, 5.0)),
        Case("extended Powell, 1,000", powell, np.tile(four, 250), (-0.5, 3.0)),
        of(beale(), 2, bounds=(0.6, 2.0)),
        of(himmelblau(), 2, bounds=(-1.0, 2.5)),
        Case("Wood, 4", wood, np.array([-3.0, -1, -3, -1]), (-3.0, 0.9)),
        Case("Dixon-Price, 2", dixon_price, np.full(2, 10.0), (0.8, 10.0)),
        Case("Dixon-Price, 10", dixon_price, np.full(10, 10.0), (0.7, 10.0)),
        of(bowl(1e3, size=1000), 1000, bounds=(-1.0, np.inf)),
        Case("logistic regression, 40", logistic(), np.zeros(40), (-0.1, 0.1)),
        Case("deconvolution, 400", deconvolution(), np.zeros(400), (0.0, np.inf)),
    ]
    if large:
        lower = np.where(np.arange(LARGE) % 3, -1.0, 0.25)
        function, start = quadratic(LARGE), np.linspace(1, 2, LARGE)
        found += [
            valley(LARGE),
            Case("quadratic, 100,000", function, start, (lower, np.inf)),
        ]
    return found


def gdopts(case: Case, start: np.ndarray, method: str, bounds: Any) -> dict[str, Any]:
    """Minimize with gdopt."""
    w, evaluations = start.copy(), 0

    def evaluate() -> tuple[float, np.ndarray]:
        nonlocal evaluations
        evaluations += 1
        return case.function(w)

    made = LINE_SEARCH_METHODS[method](Parameters.of(w), bounds)
    point = made.start(evaluate)
    while point.grad_norm > GTOL and not point.stalled and made.t < MOST:
        point = made.update(evaluate)
    return {"evaluations": evaluations, "fun": point.value, "norm": point.grad_norm}


def scipys(case: Case, start: np.ndarray, method: str, bounds: Any) -> dict[str, Any]:
    """Minimize with SciPy."""
    from scipy.optimize import Bounds, minimize  # noqa: PLC0415 - a peer

    options = {"gtol": GTOL, "maxiter": MOST}
    if method == "l-bfgs":
        options |= {"ftol": 0, "maxfun": 10 * MOST}
    box = None
    if bounds is not None:
        box = Bounds(*(np.broadcast_to(end, start.shape) for end in bounds))
    given = {"jac": True, "method": PEERS[method], "bounds": box, "options": options}
    found = minimize(case.function, start, **given)
    ends = (-np.inf, np.inf) if bounds is None else bounds
    norm = np.abs(found.x - np.clip(found.x - found.jac, *ends)).max()
    return {"evaluations": found.nfev, "fun": float(found.fun), "norm": float(norm)}


def compare(case: Case, method: str, *, bounded: bool, rounds: int) -> dict[str, Any]:
    """Count the evaluations of both sides, and time them in turn."""
    bounds = case.bounds if bounded else None
    start = case.start
    if bounded:
        start = np.clip(start if case.inside is None else case.inside, *bounds)
    sides: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {"gdopt": [], "scipy": []}
    for _ in range(rounds):
        for name, run in (("gdopt", gdopts), ("scipy", scipys)):
            before = time.perf_counter()
            sides[name] = run(case, start, method, bounds)
            seconds[name].append(time.perf_counter() - before)
    least = {name: min(times) for name, times in seconds.items()}
    return {
        "method": method + (", bounds" if bounded else ""),
        "function": case.name,
        "variables": start.size,
        **sides,
        "ratio": sides["gdopt"]["evaluations"] / sides["scipy"]["evaluations"],
        "seconds": least,
        "time_ratio": least["gdopt"] / least["scipy"],
    }


def run(*, quick: bool = False) -> list[dict[str, Any]]:
    """Compare all cases by all methods."""
    kinds = ("l-bfgs", False), ("cg", False), ("l-bfgs", True)
    return [
        compare(case, method, bounded=bounded, rounds=rounds(case, quick=quick))
        for method, bounded in kinds
        for case in cases(large=not quick)
    ]


def rounds(case: Case, *, quick: bool) -> int:
    """Return how often a case is timed."""
    return 1 if quick else 2 if case.start.size == LARGE else ROUNDS


def mean_ratio(rows: list[dict[str, Any]]) -> float:
    """Return the geometric mean of the ratios of evaluations."""
    return float(np.exp(np.mean([np.log(row["ratio"]) for row in rows])))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="try the small cases once")
    options = parser.parse_args(arguments)
    rows = run(quick=options.quick)
    cells = [
        (
            row["method"],
            row["function"],
            f"{row['variables']:,}",
            f"{row['gdopt']['evaluations']:,}",
            f"{row['scipy']['evaluations']:,}",
            f"{row['ratio']:.2f}",
            f"{row['time_ratio']:.2f}",
        )
        for row in rows
    ]
    sys.stdout.write(f"{plain(HEAD, cells)}\n")
    for method in dict.fromkeys(row["method"] for row in rows):
        mean = mean_ratio([row for row in rows if row["method"] == method])
        sys.stdout.write(f"{method}: {mean:.3f} of SciPy's evaluations\n")
    if options.json:
        found = {"machine": describe(), "rows": rows}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
