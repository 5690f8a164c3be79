"""Optimizers whose rules reduce have the bits of the CPU, a launch for each pass."""

import itertools

import numpy as np
import pytest
import reducing_rules
from oracles import CASES
from reducing_rules import RULES
from twins import LAYOUTS, Twins, draw, full_from, snapshot

import gdopt
from gdopt.nn import Network

SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "none": (0, 3), "V": (70, 9)}
OF_ALL = ("lamb", "unit_wise", "standardized", "nadam", "old_momentum", "own_operand")
OPTIONS = {
    "skip": {"non_finite": "skip"},
    "clip": {"clip_norm": 0.5, "ema": 0.9, "loss_scale": 3.0},
    "all": {"clip_norm": 0.5, "ema": 0.9, "non_finite": "skip"},
}
STORAGE = {
    "plain": {},
    "random state": {"state_dtype": "bfloat16", "seed": 3},
    "all at random": {"rounding": "stochastic", "state_dtype": "bfloat16"},
    "all at random, counted there": {
        "rounding": "stochastic",
        "state_dtype": "bfloat16",
        "non_finite": "skip",
    },
    "master": {"master_weights": True, "state_dtype": "bfloat16"},
    "averaged": {"ema": 0.9, "state_dtype": "bfloat16"},
}
PLACES = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1] if a.ndim else a,
    "between 16 bytes": lambda a: a[:, 1:] if a.ndim == 2 else a,
}


def in_turns(*rows):
    """Pair every value of the longest row with the others' in turn."""
    longest = max(map(len, rows))
    turns = [itertools.cycle(row) for row in rows]
    return [tuple(map(next, turns)) for _ in range(longest)]


def maker(name, **options):
    """Return what makes an optimizer of a rule with reductions."""
    function = getattr(reducing_rules, name)
    scalars, per = RULES[function]
    rule = gdopt.rule(per=per)(function)
    given = {key: value for key, value in scalars.items() if key != "t"}
    return lambda params: gdopt.Optimizer(params, rule=rule, **given | options)


def assert_twins(twins, dtypes, shapes, place=None, steps=2):
    """Step twins, and compare them."""
    for seed in range(1, 1 + steps):
        twins.step(draw(seed, dtypes, shapes), place=place)
    twins.assert_same()


@pytest.mark.parametrize(("name", "layout"), in_turns(OF_ALL, LAYOUTS))
def test_a_rule_has_the_bits_of_the_cpu(name, layout, cp):
    dtypes = ("float64", "float32", "float16")
    start = draw(0, dtypes, SHAPES)
    assert_twins(Twins(cp, maker(name), start, layout), dtypes, SHAPES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_state_of_rows_and_columns_has_the_bits_of_the_cpu(layout, cp):
    shapes = {"V": (70, 9), "W": (6, 600), "none": (0, 3)}
    dtypes = ("float64", "float32")
    start = draw(0, dtypes, shapes)
    twins = Twins(cp, maker("adafactor"), start, layout)
    assert_twins(twins, dtypes, shapes, steps=3)


BUILT_IN = [
    name for name, case in CASES.items() if case.make(np.zeros(1)).rule.kernel.by_shape
]


@pytest.mark.parametrize(("name", "layout"), in_turns(BUILT_IN, LAYOUTS))
def test_a_built_in_rule_has_the_bits_of_the_cpu(name, layout, cp):
    dtypes = ("float64", "float32")
    start = draw(0, dtypes, SHAPES)
    twins = Twins(cp, CASES[name].make, start, layout)
    assert_twins(twins, dtypes, SHAPES, steps=3)


def test_averages_show_on_the_gpu(cp):
    start = draw(0, ("float32",), SHAPES)
    twins = Twins(cp, lambda p: gdopt.ScheduleFreeSGD(p, 0.1), start, "apart")
    for seed in range(1, 4):
        twins.step(draw(seed, ("float32",), SHAPES))
    host, device = twins.host, twins.device
    before = {name: cp.asnumpy(array) for name, array in device.params.items()}
    with host.averaged(), device.averaged():
        for name, array in host.params.items():
            found = cp.asnumpy(device.params[name])
            np.testing.assert_allclose(found, array, rtol=1e-6, atol=1e-6)
            assert not array.size or (found != before[name]).any()
    twins.assert_same()


@pytest.mark.parametrize(
    ("option", "name", "layout"), in_turns(OPTIONS, ("nadam", "lamb"), LAYOUTS)
)
def test_an_option_has_the_bits_of_the_cpu(option, name, layout, cp):
    dtypes = ("float64", "float32")
    twins = Twins(cp, maker(name, **OPTIONS[option]), draw(0, dtypes, SHAPES), layout)
    for seed in range(1, 4):
        row = draw(seed, dtypes, SHAPES)
        if seed == 2 and "non_finite" in OPTIONS[option]:
            row["V float32"][3, 3] = np.nan
        done = twins.step(row)
        assert bool(done[0]) == bool(done[1])
    twins.assert_same()


@pytest.mark.parametrize(
    ("storage", "name", "layout"),
    in_turns(STORAGE, ("lamb", "nadam", "unit_wise"), LAYOUTS),
)
def test_storage_has_the_bits_of_the_cpu(storage, name, layout, cp):
    pytest.importorskip("ml_dtypes")
    dtypes = ("float16", "bfloat16")
    options = STORAGE[storage]
    start = draw(0, dtypes, SHAPES)
    assert_twins(Twins(cp, maker(name, **options), start, layout), dtypes, SHAPES)


@pytest.mark.parametrize(
    ("place", "name"), in_turns(PLACES, ("adafactor", "lamb", "unit_wise"))
)
def test_arrays_of_any_strides_are_updated_in_place(place, name, cp):
    shapes = {"A": (6, 6), "B": (70, 70)}
    shapes |= {} if name == "adafactor" else {"c": (200,), "s": ()}
    twins = Twins(cp, maker(name), draw(0, shapes=shapes), place=PLACES[place])
    assert_twins(twins, ("float32",), shapes, PLACES[place])


@pytest.mark.parametrize("option", [{}, {"non_finite": "skip"}])
def test_values_by_name(option, cp):
    start = draw(0, shapes=SHAPES)
    rate = {
        name: gdopt.schedules.exponential(0.1, 0.5) if name[0] in "bV" else 0.2
        for name in start
    }
    twins = Twins(cp, maker("lamb", lr=rate, **option), start)
    assert_twins(twins, ("float32",), SHAPES)


def test_gradients_may_be_in_an_arena_or_not_in_turns(cp):
    twins = Twins(cp, maker("lars"), draw(0, shapes=SHAPES))
    for seed in range(1, 5):
        twins.gradients_together = seed % 2 == 1
        twins.step(draw(seed, shapes=SHAPES))
    twins.assert_same()


@pytest.mark.parametrize("together", [True, False])
def test_a_step_is_a_launch_for_each_pass_and_number_of_axes(together, cp, cuda):
    params = {n: cp.asarray(a) for n, a in draw(0, shapes=SHAPES).items()}
    grads = {n: cp.asarray(a) for n, a in draw(1, shapes=SHAPES).items()}
    if together:
        params, grads = gdopt.Arena.of(params), gdopt.Arena.of(grads)
    optimizer = maker("lamb")(params)
    optimizer.step(grads)
    cuda.forget()
    optimizer.step(grads)
    assert cuda.launches == ["gdopt_lamb_1", "gdopt_lamb_2"] * 3  # 0, 1 and 2 axes
    assert cuda.count("waits") == cuda.count("copies to device") == 0


def test_out_of_memory_at_any_allocation_leaves_all_as_it_was(cp, allocations):
    dtypes, failures = ("float32", "float64"), 0
    for number in range(1, 200):
        allocations.trap = None
        params = {n: cp.asarray(a) for n, a in draw(0, dtypes, SHAPES).items()}
        grads = {n: cp.asarray(a) for n, a in draw(1, dtypes, SHAPES).items()}
        optimizer = maker("lamb", non_finite="skip")(params)
        before = snapshot(optimizer)
        allocations.count, allocations.trap = 0, full_from(number)
        try:
            optimizer.step(grads)
        except MemoryError:
            failures += 1
            allocations.trap = None
            assert snapshot(optimizer) == before
            optimizer.step(grads)  # and goes on
            assert optimizer.t == 1
            continue
        break
    assert failures > 0


@pytest.mark.parametrize("option", [{}, {"non_finite": "skip"}])
def test_a_captured_step_has_the_bits_of_a_plain_one(option, cp):
    generator = np.random.default_rng(0)
    X = cp.asarray(generator.standard_normal((22, 5)).astype(np.float32))
    y = cp.asarray(generator.integers(0, 3, 22))
    ends = []
    for captured in (False, True):
        network = Network((5, 8, 3), seed=0, backend="cupy")
        optimizer = maker("lamb", **option)(network.params)
        batches = gdopt.minibatches(X, y, batch_size=8, seed=0)
        gdopt.fit(network, optimizer, batches, epochs=3, cuda_graph=captured)
        ends.append(network.params.flat.get().tobytes())
    assert ends[0] == ends[1]
