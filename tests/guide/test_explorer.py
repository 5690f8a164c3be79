"""The explorer's scripts give the bits of NumPy when they run in Node."""

import functools
from pathlib import Path

import numpy as np
import pytest
from node import literal, run_node
from rules import bits

import gdopt
from gdopt.guide import hooks
from gdopt.guide.hooks import explorer
from gdopt.kernels.trace import compile_host

STEPS, NOISE, SCHEDULE = 200, 0.1, "cosine with warm-up"
RULES = explorer.explorer_rules()
BY_POWER = {"ftrl_power"}  # of elements, by a function of each library's own
BY_FUNCTION = ("plateau", "rastrigin")  # slopes by exp and sin, likewise
DESCENT = Path(hooks.__file__).parents[1] / "explorer" / "descent.js"


def rate_of(rule):
    """Return a rate that suits all problems: small where the slope sets the step."""
    plain = rule.kind in {gdopt.SGD, gdopt.Momentum, gdopt.Nesterov, gdopt.ASGD}
    return 0.002 if plain else 0.02


def setting_of(rule):
    own = {**rule.defaults, "momentum": 0.9, "lr": rate_of(rule)}
    return {name: own[name] for name in rule.scalars}


@functools.cache
def descend(dtype):
    """Return points and gradients by problem, (steps, rules, 2), as NumPy has them."""
    rate, noise = explorer.SCHEDULES[SCHEDULE], explorer.make_noise().astype(dtype)
    points = {
        name: np.array([problem.start] * len(RULES), dtype)
        for name, problem in explorer.PROBLEMS.items()
    }
    optimizers = []
    for k, rule in enumerate(RULES.values()):
        setting = setting_of(rule)
        setting["lr"] = setting["lr"] * rate
        own = {name: all_rules[k] for name, all_rules in points.items()}
        optimizers.append(gdopt.Optimizer(own, rule, **setting))
    path = {name: [] for name in points}
    slopes = {name: [] for name in points}
    for k in range(STEPS):
        for name, problem in explorer.PROBLEMS.items():
            slopes[name].append(problem.gradient(points[name]))
        for place, optimizer in enumerate(optimizers):
            given = dtype(NOISE) * noise[k]
            optimizer.step({n: slopes[n][-1][place] + given for n in points})
        for name, own in points.items():
            path[name].append(own.copy())
    return tuple(
        {name: np.array(own) for name, own in found.items()} for found in (path, slopes)
    )


def hoisted_values():
    """Return what the host computes of each rule for every step."""
    factors = [explorer.SCHEDULES[SCHEDULE](step) for step in range(STEPS)]
    hosts = {}
    for name, rule in RULES.items():
        program, setting = rule.kernel.element_program(), setting_of(rule)
        host, hosts[name] = compile_host(program), []
        for k, factor in enumerate(factors):
            now = {**setting, "lr": setting["lr"] * factor, "t": k + 1}
            hosts[name].append(host(*(now[scalar] for scalar in program.scalars)))
    return hosts


@pytest.fixture(scope="module")
def run():
    """Run all rules on all problems in Node, on some slopes where they are given."""
    library = explorer.print_library()

    def descend_in_node(dtype, slopes, hosts):
        settings = {name: setting_of(rule) for name, rule in RULES.items()}
        given = {
            name: {rule: own[:, k] for k, rule in enumerate(RULES)}
            for name, own in slopes.items()
        }
        numbers = run_node(
            library,
            DESCENT.read_text("utf-8"),
            f"const SETTINGS = {literal(settings)}, HOSTS = {literal(hosts)};",
            f"const SLOPES = {literal(given)}, f = GDOPT.rounding.{dtype};",
            f"const steps = {STEPS}, noise = {NOISE};",
            f"const factors = GDOPT.schedules[{literal(SCHEDULE)}];",
            """
            for (const [name, problem] of Object.entries(GDOPT.problems)) {
              const run = { start: problem.start, steps, f, factors, noise };
              for (const [key, rule] of Object.entries(GDOPT.rules)) {
                let k = 0;
                const own = SLOPES[name]
                  ? { ...problem, slope: () => SLOPES[name][key][k++] } : problem;
                const hosts = HOSTS[key];
                const made = descend(own, rule, SETTINGS[key], { ...run, hosts });
                print(made.points.slice(1).flat());
              }
            }""",
        )
        shape = len(explorer.PROBLEMS), len(RULES), STEPS, 2
        paths = numbers.reshape(shape).swapaxes(1, 2)
        return dict(zip(explorer.PROBLEMS, paths, strict=True))

    return descend_in_node


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_paths_of_200_steps_have_the_bits_of_numpy(dtype, run):
    expected, slopes = descend(dtype)
    given = {name: slopes[name] for name in BY_FUNCTION}
    found = run(dtype.__name__, given, hoisted_values())
    for name, path in expected.items():
        for k, rule in enumerate(RULES):
            if rule not in BY_POWER:
                actual = found[name][:, k].astype(dtype)
                assert bits(path[:, k]) == bits(actual), (name, rule)


def test_live_paths_of_200_steps_are_those_of_numpy_to_1e_12(run):
    expected, _ = descend(np.float64)
    found = run("float64", {}, {})
    for name, path in expected.items():
        np.testing.assert_allclose(found[name], path, rtol=1e-12, atol=1e-12)
