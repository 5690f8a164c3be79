"""Reductions in a formula: against the eager function, the public order, and counts."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reducing_rules
from norm_order import ordered_norm, ordered_sum
from reducing_rules import RULES, SHAPES, draw, fits
from rules import bits, special_arrays

import gdopt
from gdopt.kernels import Kernel
from gdopt.kernels.cpu.block_passes import BlockPasses
from gdopt.kernels.packing import rows_and_columns
from gdopt.kernels.sums import block_results, finish, reduce
from gdopt.kernels.trace import compile_host

BOUND = {"float32": 2e-6, "float64": 2e-14}  # of the largest entry of a result
CASES = [(rule, shape) for rule in RULES for shape in SHAPES if fits(rule, shape)]


@pytest.fixture(autouse=True)
def numpy_engine(monkeypatch):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rule", "shape"), CASES)
def test_passes_equal_the_eager_function(rule, shape, dtype):
    scalars, per = RULES[rule]
    kernel = Kernel(rule, per)
    arrays = draw(kernel.program((), len(shape)), shape, dtype)
    if math.prod(shape):
        wanted = rule(*[array.copy() for array in arrays], **scalars)
    else:
        wanted = [array.copy() for array in arrays]  # empty arrays are left alone
    kernel(*arrays, **scalars)
    results = wanted if isinstance(wanted, tuple | list) else (wanted,)
    for found, expected in zip(arrays, results, strict=False):
        largest = np.max(np.abs(expected), initial=0)
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=BOUND[dtype] * float(largest)
        )


@pytest.mark.parametrize(
    ("rule", "passes", "loads", "stores", "axes"),
    [
        (reducing_rules.lamb, 2, 7, 3, 2),
        (reducing_rules.lars, 2, 5, 2, 2),
        (reducing_rules.unit_wise, 2, 5, 2, 2),
        (reducing_rules.unit_wise, 2, 5, 2, 1),
        (reducing_rules.adafactor, 3, 5, 1, 2),
        (reducing_rules.centred, 2, 3, 1, 2),
        (reducing_rules.centred, 1, 2, 1, 1),
        (reducing_rules.row_cap, 2, 4, 1, 2),
        (reducing_rules.unit_ball, 2, 4, 1, 1),
        (reducing_rules.standardized, 3, 4, 1, 1),
        (reducing_rules.nadam, 1, 4, 3, 1),
        (reducing_rules.old_momentum, 2, 5, 2, 1),
        (reducing_rules.largest_mean, 3, 4, 1, 2),
    ],
)
def test_passes_loads_and_stores_are_as_few_as_can_be(
    rule, passes, loads, stores, axes
):
    program = Kernel(rule, RULES[rule][1]).program((), axes)
    assert len(program.passes) == passes
    assert (program.loads, program.stores) == (loads, stores)


def test_nothing_is_written_early_where_storage_rounds():
    kernel = Kernel(reducing_rules.lamb)
    early, late = kernel.program(), kernel.program(early=False)
    assert early.early
    assert not late.early
    assert (late.loads, late.stores) == (8, 3)


@pytest.mark.parametrize("size", [1, 2, 100, 129, 4095, 4096, 12_289, 100_001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_have_the_public_order(size, dtype):
    x = np.random.default_rng(size).normal(size=size).astype(dtype)
    assert float(reduce("sum", x)) == ordered_sum(x.tolist())
    assert float(reduce("norm", x)) == ordered_norm([x])
    assert float(reduce("max", x)) == x.max()


def test_sums_of_columns_are_of_64_rows_each_then_of_neighbours():
    x = np.random.default_rng(1).normal(size=(64 * 4 + 7, 3))
    blocks = []
    for low in range(0, len(x), 64):
        held = np.zeros(3)
        for row in x[low : low + 64]:
            held = held + row
        blocks.append(held)
    expected = ((blocks[0] + blocks[1]) + (blocks[2] + blocks[3])) + blocks[4]
    found = finish("sum", block_results("sum", x))
    assert found.tolist() == expected.tolist()


def test_norms_neither_overflow_nor_vanish():
    for scale in (1e-310, 1e-200, 1.0, 1e200, 1e300):
        x = np.full(1000, scale)
        expected = math.sqrt(1000) * scale
        assert float(reduce("norm", x)) == pytest.approx(expected, rel=1e-13)


def test_the_largest_value_is_as_of_numpy():
    for values in ([1, np.nan, 3], [-np.inf, -np.inf], [np.inf, 2], [-3.0, -2.0]):
        x = np.array(values)
        np.testing.assert_array_equal(reduce("max", x), np.max(x))


def test_a_row_of_a_vector_is_an_element_and_its_column_the_array():
    def rule(p, r, c, g, *, lr):
        r = r + np.mean(g * g, axis=tuple(range(1, g.ndim)), keepdims=True)
        c = c + np.mean(g * g, axis=0, keepdims=True)
        return p - lr * g / np.sqrt(r) - c, r, c

    per = {"r": "row", "c": "column"}
    kernel = Kernel(rule, per)
    assert [s.kind for s in kernel.program((), 1).inputs] == [
        "element",
        "element",
        "array",
        "element",
    ]
    p, g = np.ones(3), np.arange(1.0, 4)
    r, c = np.zeros(3), np.zeros(())
    kernel(p, r, c, g, lr=0.1)
    assert r.tolist() == [1, 4, 9]
    assert float(c) == np.mean(g * g)


def rows_without_keepdims(p, g):
    return p - np.sum(g, axis=1)


def means_without_keepdims(p, g):
    return p - np.mean(g, axis=1)


def by_python(p, g):
    return p - sum(g)


def one_axis_of_three(p, g):
    return p - np.sum(g, axis=1, keepdims=True)


def axis_out_of_range(p, g):
    return p - np.sum(g, axis=2)


def norm_of_three_axes(p, g):
    return p - np.linalg.norm(g, axis=(0, 1, 2))


def of_comparison(p, g):
    return p - np.sum(g > 0)


def with_dtype(p, g):
    return p - np.sum(g, dtype=np.float64)


def method(p, g):
    return p - g.mean()


def element_into_row(p, r, g):
    return p - g, r + g


@pytest.mark.parametrize(
    ("rule", "axes", "message"),
    [
        (rows_without_keepdims, 2, "np.sum over rows needs keepdims=True.* axis=1"),
        (means_without_keepdims, 2, "np.mean over rows needs keepdims=True.* axis=1"),
        (by_python, 2, r"as in sum\(x\), is not an op.*: write np.sum\(x\), or np.max"),
        (one_axis_of_three, 3, r"axis=\(1, 2\), keepdims=True\), got axis=1"),
        (axis_out_of_range, 2, "takes axes from -2 to 1 of .* 2 axes, got axis=2"),
        (norm_of_three_axes, 3, r"write np.sqrt\(np.sum\(x \* x, axis=\(0, 1, 2\)"),
        (of_comparison, 2, r"write np.sum\(np.where\(condition, 1.0, 0.0\)\)"),
        (with_dtype, 2, r"np.sum takes \(x, axis, keepdims\) in a rule, got dtype="),
        (method, 2, r"\.mean is not an operation of rules: write np.mean\(x\)"),
        (element_into_row, 2, "'r' holds one value for each row, got one for each el"),
    ],
)
def test_what_cannot_be_reduced_is_refused(rule, axes, message):
    with pytest.raises(gdopt.RuleError, match=message):
        Kernel(rule, {"r": "row"} if rule is element_into_row else None).program(
            (), axes
        )


def test_arrays_that_overlap_are_refused():
    x = np.ones(8)
    with pytest.raises(gdopt.ArgumentError, match="m must not share memory with g"):
        Kernel(reducing_rules.lars)(
            np.ones(4), x[:4], x[2:6], **RULES[reducing_rules.lars][0]
        )


def test_a_state_of_rows_has_its_own_shape_and_dtype():
    kernel = Kernel(reducing_rules.adafactor, RULES[reducing_rules.adafactor][1])
    scalars = RULES[reducing_rules.adafactor][0]
    p = np.ones((3, 4), np.float32)
    c = np.ones((1, 4))
    with pytest.raises(gdopt.ArgumentError, match=r"r must have shape \(3, 1\), one v"):
        kernel(p, np.ones((3, 4)), c, p.copy(), **scalars)
    with pytest.raises(gdopt.ArgumentTypeError, match="r, one value for each row, mus"):
        kernel(p, np.ones((3, 1), np.float32), c, p.copy(), **scalars)


@pytest.fixture
def loop_passes():
    return pytest.importorskip("gdopt.kernels.cpu.loop_passes").LoopPasses


def make_table(program, shapes, dtype, seed=0):
    """Draw arrays of some shapes, one behind the other in a buffer for each input."""
    empty = [0] * len(program.inputs)
    table = [[*rows_and_columns(shape), *empty] for shape in shapes]
    drawn = [draw(program, shape, dtype, seed + k) for k, shape in enumerate(shapes)]
    buffers = []
    for k, arrays in enumerate(zip(*drawn, strict=True)):
        gap = np.full(k, 7.0, arrays[0].dtype)  # offsets differ, and nobody writes here
        buffers.append(np.concatenate([gap, *(array.reshape(-1) for array in arrays)]))
        starts = np.cumsum([k, *(array.size for array in arrays)])
        for row, start in zip(table, starts, strict=False):
            row[2 + k] = start
    return np.array(table), buffers


def assert_equal_bits(engines, table, buffers, values, steps=3):
    """Run both engines over the same table, and compare all that there is."""
    before = [[buffer.copy() for buffer in buffers] for _ in engines]
    for engine, own in zip(engines, before, strict=True):
        for _ in range(steps):
            engine.run(table, own, values)
    for one, other in zip(*before, strict=True):
        assert bits(one) == bits(other)


def host_values(program, scalars):
    return compile_host(program)(*(scalars[name] for name in program.scalars))


OTHER_SHAPES = [(3000, 3), (150, 40), (9, 1000), (2, 8200)]  # several units of rows
# Each rule in one dtype, and in the other where time does not matter; of the rules that
# are done by rows one alone.
BY_ROWS = (reducing_rules.centred, reducing_rules.row_cap)
IN_TURN = [
    pytest.param(
        rule,
        dtype,
        marks=[pytest.mark.slow] if (k + j) % 2 or rule in BY_ROWS else [],
    )
    for k, rule in enumerate(RULES)
    for j, dtype in enumerate(BOUND)
]


@pytest.mark.parametrize(("rule", "dtype"), IN_TURN)
def test_loops_give_the_bits_of_numpy(rule, dtype, loop_passes):
    scalars, per = RULES[rule]
    kernel, built = Kernel(rule, per), {}
    for shape in (s for s in SHAPES + OTHER_SHAPES if fits(rule, s)):
        program = kernel.program((), len(shape))
        if program not in built:
            built[program] = [e(program, dtype) for e in (BlockPasses, loop_passes)]
        values = np.array([host_values(program, scalars)])
        assert_equal_bits(built[program], *make_table(program, [shape], dtype), values)


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [
        (reducing_rules.lamb, "float32"),
        (reducing_rules.unit_wise, "float32"),
        (reducing_rules.adafactor, "float32"),
        (reducing_rules.nadam, "float64"),
    ],
)
def test_loops_take_many_arrays_with_values_of_their_own(rule, dtype, loop_passes):
    scalars, per = RULES[rule]
    program = Kernel(rule, per).program((), 2)
    shapes = [(3, 4), (0, 5), (130, 33), (1, 5000), (5, 0), (200, 3), (1, 1), (70, 64)]
    rates = np.geomspace(1e-4, 1, len(shapes))
    values = [host_values(program, {**scalars, "lr": lr}) for lr in rates]
    engines = [e(program, dtype) for e in (BlockPasses, loop_passes)]
    table, buffers = make_table(program, shapes, dtype)
    assert_equal_bits(engines, table, buffers, np.array(values))


def largest(p, r, c, a, g):
    r = np.max(g, axis=1, keepdims=True)
    return p, r, np.max(g, axis=0), np.max(g)


def norms(p, r, c, a, g):
    r = np.linalg.norm(g, axis=1, keepdims=True)
    return p, r, np.linalg.norm(g, axis=0), np.linalg.norm(g)


def spread_scales(p, r, c, a, g):
    """Copy values that are denormal in float32, and halve those between passes."""
    chosen = np.where(g > 0, r * 1e-3, np.where(g < -1, c * 1e-3, a * 1e-3))
    return np.where(p > 0, chosen, g * np.sum(g)), r * 0.5, c * 0.5, a * 0.5


PER = {"r": "row", "c": "column", "a": "array"}


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [
        (largest, "float32"),
        (norms, "float64"),
        pytest.param(largest, "float64", marks=pytest.mark.slow),
        pytest.param(norms, "float32", marks=pytest.mark.slow),
    ],
)
def test_loops_give_the_bits_of_numpy_for_special_numbers(rule, dtype, loop_passes):
    program = Kernel(rule, PER).program((), 2)
    engines = [e(program, dtype) for e in (BlockPasses, loop_passes)]
    values = np.array([host_values(program, {})])
    for shape in ((1, 9), (40, 5), (70, 300)):
        table, (*others, g) = make_table(program, [shape], dtype)
        (special,) = special_arrays(1, g.size, dtype)
        arrays = [special, np.where(np.isfinite(special), special, g)]
        for value in (np.nan, np.inf, -np.inf, -0.0, 1e-40):
            for place in (len(g) - math.prod(shape), shape[1], len(g) - 1):
                arrays.append(g.copy())
                arrays[-1][place] = value
        for array in arrays:
            assert_equal_bits(engines, table, [*others, array], values, 1)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 2e-154, 1.0, 2e146, 1e200, 1e300])
def test_loops_give_the_bits_of_numpy_for_norms_of_every_scale(scale, loop_passes):
    program = Kernel(norms, PER).program((), 2)
    engines = [e(program, "float64") for e in (BlockPasses, loop_passes)]
    values = np.array([host_values(program, {})])
    table, buffers = make_table(program, [(70, 300)], "float64")
    for last in (buffers[-1] * scale, np.where(buffers[-1] > 1, scale, buffers[-1])):
        data = [*buffers[:-1], last]
        assert_equal_bits(engines, table, data, values, 1)


@pytest.mark.parametrize("scale", [1e-320, 1e-310, 1e-38, 1e-37])
def test_loops_flush_in_passes_and_not_between(scale, loop_passes):
    program = Kernel(spread_scales, PER).program((), 2)
    engines = [e(program, "float32") for e in (BlockPasses, loop_passes)]
    for shape in ((7, 40), (50, 9)):
        table, buffers = make_table(program, [shape], "float32")
        small = [b * scale if b.dtype == np.float64 else b for b in buffers]
        values = np.array([host_values(program, {})])
        assert_equal_bits(engines, table, small, values)
        denormal = [(b * 1e-39).astype(b.dtype) for b in buffers]
        assert_equal_bits(engines, table, denormal, values)


def test_loops_may_run_in_several_threads(loop_passes):
    rule = reducing_rules.adafactor
    scalars, per = RULES[rule]
    program = Kernel(rule, per).program((), 2)
    engine = loop_passes(program, "float32")
    values = np.array([host_values(program, scalars)])
    tables = [make_table(program, [(90, 200)], "float32", seed) for seed in range(4)]

    def run(task):
        table, buffers = task
        own = [buffer.copy() for buffer in buffers]
        for _ in range(20):
            engine.run(table, own, values)
        return [bits(buffer) for buffer in own]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, tables)) == list(map(run, tables))
