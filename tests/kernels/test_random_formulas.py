"""Formulas drawn at random: their passes give what the functions give on arrays."""

import numpy as np
import pytest

from gdopt.kernels import Kernel

LEAVES = ("p", "m", "g", "lr", "0.5", "2.0")
FORMS = (
    *("({} + {})", "({} - {})", "({} * {})", "({} / (1.0 + abs({})))"),
    *("np.sqrt(abs({}))", "np.where({} > p, {}, {})", "np.maximum({}, {})", "(-{})"),
    *("(0.1 * {reduce}({array} * {}))", "(0.1 * {reduce}({array} * {}, {axis}))") * 3,
)
REDUCTIONS = ("np.sum", "np.mean", "np.max", "np.linalg.norm")
SHAPES = {1: ((7,), (5000,)), 2: ((5, 9), (70, 130), (3, 5000))}


def draw_expression(generator, depth, axes):
    if not depth:
        return str(generator.choice(LEAVES))
    form = str(generator.choice(FORMS))
    axis = f"axis={generator.integers(axes)}, keepdims=True"
    parts = [
        draw_expression(generator, depth - 1, axes) for _ in range(form.count("{}"))
    ]
    names = {
        "reduce": generator.choice(REDUCTIONS),
        "array": generator.choice(["p", "m", "g"]),
    }
    return form.format(*parts, axis=axis, **names)


def draw_formula(seed):
    """Return a formula, its text, and how many axes its arrays have."""
    generator = np.random.default_rng(seed)
    axes = int(generator.integers(1, 3))
    depths = generator.integers(2, 4, 3)
    u, m, s = (draw_expression(generator, depth, axes) for depth in depths)
    text = (
        f"def formula(p, m, g, *, lr):\n    u = {u}\n    m2 = m * {m} + u\n"
        f"    return p - lr * u * {s}, m2\n"
    )
    scope = {"np": np}
    exec(text, scope)  # noqa: S102 - a formula of the above
    return scope["formula"], text, axes


def run(formula, shape, seed):
    arrays = list(np.random.default_rng(seed).standard_normal((3, *shape)))
    arrays = [array.copy() for array in arrays]
    Kernel(formula)(*arrays, lr=0.1)
    return arrays


@pytest.mark.parametrize("seed", range(80))
def test_passes_equal_the_function_on_arrays(seed, numpy_engine):
    formula, text, axes = draw_formula(seed)
    for shape in SHAPES[axes]:
        p, m, g = np.random.default_rng(seed).standard_normal((3, *shape))
        found, expected = run(formula, shape, seed), formula(p, m, g, lr=0.1)
        for array, wanted in zip(found, expected, strict=False):
            bound = 1e-12 * float(np.max(np.abs(wanted)))
            np.testing.assert_allclose(array, wanted, rtol=0, atol=bound, err_msg=text)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 106))
def test_loops_have_the_bits_of_numpy(seed, monkeypatch):
    formula, text, axes = draw_formula(seed)
    for shape in SHAPES[axes]:
        ends = []
        for engine in ("numpy", "numba"):
            monkeypatch.setenv("GDOPT_CPU_ENGINE", engine)
            ends.append(run(formula, shape, seed))
        for one, other in zip(*ends, strict=True):
            np.testing.assert_array_equal(one, other, strict=True, err_msg=text)
