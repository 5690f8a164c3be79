"""Rules printed as JavaScript give the bits of NumPy, and constants of their own."""

import numpy as np
import pytest
from node import literal, run_node
from rules import KERNELS, SCALARS, bits, special_arrays

from gdopt.kernels import Kernel
from gdopt.kernels.cpu.blocks import Blocks
from gdopt.kernels.javascript import FLOAT32, FLOAT64, print_number, print_rule
from gdopt.kernels.trace import compile_host

SIZE = 1023
BETAS = 0.999, 0.9999  # on either side of where 1 - x**t is computed otherwise


def print_rules(kernels):
    printed = [f"{n}: {{{print_rule(k.program())}}}" for n, k in kernels.items()]
    return f"const RULES = {{{', '.join(printed)}}};"


def flushed(array):
    """Return zeros in place of denormals, as where what is only moved keeps them."""
    tiny = np.finfo(np.float32).tiny if array.dtype == np.float32 else 0
    return np.where(abs(array) < tiny, np.copysign(array.dtype.type(0), array), array)


@pytest.mark.parametrize(("dtype", "f"), [("float32", FLOAT32), ("float64", FLOAT64)])
def test_printed_rules_give_the_bits_of_numpy(dtype, f):
    count = max(len(kernel.program().inputs) for kernel in KERNELS.values())
    arrays = special_arrays(count, SIZE, dtype)
    values, expected = {}, []
    for name, kernel in KERNELS.items():
        program = kernel.program()
        values[name] = compile_host(program)(*(SCALARS[s] for s in program.scalars))
        own = [array.copy() for array in arrays[: len(program.inputs)]]
        engine = Blocks(program, dtype)
        engine.run(own, engine.cast(values[name]))
        expected.append(np.stack(own[: len(program.results)], axis=-1).ravel())
    found = run_node(
        print_rules(KERNELS),
        f"const f = {f}, ARRAYS = {literal(arrays)}, VALUES = {literal(values)};",
        """for (const [name, rule] of Object.entries(RULES)) {
          const s = VALUES[name].map(f), count = rule.step.length - 2;
          const own = ARRAYS.slice(0, count);
          print(ARRAYS[0].flatMap((_, k) => rule.step(f, s, ...own.map(a => f(a[k])))));
        }""",
    )
    assert found.size == sum(array.size for array in expected)
    for name, own in zip(KERNELS, expected, strict=True):
        actual, found = found[: own.size], found[own.size :]
        assert bits(flushed(own)) == bits(actual.astype(dtype)), name


def test_scalars_of_a_step_are_computed_in_javascript_too():
    settings = [
        {**SCALARS, "t": t, "beta2": beta2} for t in (1, 2, 200) for beta2 in BETAS
    ]
    expected = [
        value
        for kernel in KERNELS.values()
        for setting in settings
        for value in compile_host(kernel.program())(
            *(setting[scalar] for scalar in kernel.program().scalars)
        )
    ]
    found = run_node(
        print_rules(KERNELS),
        f"const SETTINGS = {literal(settings)};",
        "for (const rule of Object.values(RULES))",
        "  for (const setting of SETTINGS) print(rule.host(setting));",
    )
    np.testing.assert_allclose(found, expected, rtol=1e-15)  # pow and expm1 are V8's


def test_functions_of_elements_are_those_of_javascript():
    def formula(p, *, lr):
        q = np.exp(p) + np.log(p + 1) * np.log1p(p) + np.tanh(p) * np.hypot(p, 3.0)
        return q * np.floor(1e3 * p) + np.abs(p) ** lr

    program, p = Kernel(formula).program(), np.linspace(0.01, 5.0, SIZE)
    found = run_node(
        f"const rule = {{{print_rule(program)}}}, s = rule.host({{lr: 0.3}});",
        f"for (const p of {literal(p)}) print(rule.step(x => x, s, p));",
    )
    np.testing.assert_allclose(found, formula(p, lr=0.3), rtol=2e-15)


def test_constants_that_javascript_writes_otherwise_are_its_own():
    def formula(p, *, a):
        return np.where(p < np.inf, p, -np.inf) * (-2.0) ** a + (
            np.nan if a is p else 0
        )

    source = print_rule(Kernel(formula).program())
    found = run_node(
        f"const rule = {{{source}}}; const s = rule.host({{a: 3}});",
        "print([...rule.step(x => x, s, 1), ...rule.step(x => x, s, Infinity)]);",
    )
    assert found.tolist() == [-8.0, np.inf]
    assert print_number(np.nan) == "NaN"
