"""Arenas take fewer passes than arrays apart, and give the same bits."""

import numpy as np
import pytest
from oracles import CASES

import gdopt
from gdopt.kernels.cpu.blocks import Blocks

GENERATOR = np.random.default_rng(7)
SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "none": (0, 3), "U": (130,)}
DTYPES = ("float64", "float32", "float16")
STEPS = 5


def values(dtypes=("float64",)):
    """Make arrays of all shapes in all dtypes, in turns."""
    return {
        f"{name} {dtype}": np.array(GENERATOR.standard_normal(shape), dtype)
        for name, shape in SHAPES.items()
        for dtype in dtypes
    }


def copies(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def run(optimizer, rows):
    """Step with fresh arrays, or through an arena whose views are written to."""
    grads = optimizer.params.like() if isinstance(optimizer.params, gdopt.Arena) else {}
    for row in rows:
        for name, gradient in row.items():
            grads[name] = gradient
        assert optimizer.step(grads)
    return optimizer


def assert_same(one, other):
    for name, array in one.params.items():
        np.testing.assert_array_equal(array, other.params[name], strict=True)
        for state, expected in one.state[name].items():
            found = other.state[name][state]
            np.testing.assert_array_equal(found, expected, strict=True)


def assert_padding_is_zero(arena):
    padding = {group: buffer.copy() for group, buffer in arena.buffers.items()}
    for slot in arena.layout.slots.values():
        padding[slot.group][slot.start : slot.stop] = 0
    for buffer in padding.values():
        np.testing.assert_array_equal(buffer, 0)


@pytest.mark.parametrize("name", CASES)
def test_an_arena_gives_the_bits_of_arrays_apart(name, engine):
    start, rows = values(DTYPES), [values(DTYPES) for _ in range(STEPS)]
    apart = run(CASES[name].make(copies(start)), rows)
    together = run(CASES[name].make(gdopt.Arena.of(start)), rows)
    assert_same(apart, together)
    assert_padding_is_zero(together.params)
    for arena in together._state.values():  # what the rule makes of zeros
        assert all(np.isfinite(buffer).all() for buffer in arena.buffers.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: gdopt.Adagrad(p, 0.1, eps=0.0, initial_accumulator=0.1),
        lambda p: gdopt.FTRL(p, 0.1),
        lambda p: gdopt.RMSprop(p, 0.1, eps=0),
    ],
)
def test_padding_is_not_divided_by_zero(make, engine):
    together = make(gdopt.Arena.of(values(DTYPES)))
    run(together, [values(DTYPES) for _ in range(STEPS)])
    assert_padding_is_zero(together.params)


def test_arrays_in_an_arena_take_gradients_apart_and_the_reverse(engine):
    case, start, rows = CASES["adamw corrected"], values(), [values()] * 2
    expected = run(case.make(copies(start)), rows)
    arena = case.make(gdopt.Arena.of(start))
    apart = case.make(copies(start))
    grads = gdopt.Arena.of(rows[0])
    for row in rows:
        arena.step(row)
        apart.step(grads)
    assert_same(expected, arena)
    assert_same(expected, apart)


def test_a_gradient_arena_may_list_dtypes_in_another_order(engine):
    params = {"a": np.zeros(3), "b": np.zeros(3, np.float32)}
    grads = gdopt.Arena.of({"b": np.full(3, 1, np.float32), "a": np.full(3, 2.0)})
    gdopt.SGD(params, lr=1.0).step(grads)
    assert params["a"].tolist() == [-2] * 3
    assert params["b"].tolist() == [-1] * 3


def test_gradients_that_are_not_finite_are_named_in_an_arena_of_another_order():
    params = {"a": np.zeros(3), "b": np.zeros(3, np.float32)}
    grads = gdopt.Arena.of({"b": np.ones(3, np.float32), "a": np.full(3, np.inf)})
    optimizer = gdopt.SGD(params, lr=1.0, non_finite="raise")
    with pytest.raises(gdopt.ArgumentError, match="in the gradients of 'a'"):
        optimizer.step(grads)


def test_another_arena_of_the_same_layout_is_not_taken_for_the_known_one(engine):
    params = gdopt.Arena.of({"a": np.zeros(3)})
    optimizer = gdopt.SGD(params, lr=1.0)
    first, second = params.like(), params.like()
    first["a"][...] = 1
    second["a"][...] = 10
    for grads in (first, second, first):
        optimizer.step(grads)
    assert params["a"].tolist() == [-12] * 3


@pytest.fixture
def passes(monkeypatch, numpy_engine):
    """Count the passes over memory, by the elements that each was about."""
    sizes = []
    run_blocks = Blocks.run

    def counting(self, arrays, values):
        sizes.append(arrays[0].size)
        run_blocks(self, arrays, values)

    monkeypatch.setattr(Blocks, "run", counting)
    return sizes


def step_once(optimizer):
    params = optimizer.params
    if isinstance(params, gdopt.Arena):
        optimizer.step(params.like())
    else:
        optimizer.step({name: np.zeros_like(array) for name, array in params.items()})


def test_an_arena_is_one_pass_for_each_dtype(passes):
    step_once(gdopt.Adam(gdopt.Arena.of(values())))
    assert len(passes) == 1
    step_once(gdopt.Adam(gdopt.Arena.of(values(("float64", "float32")))))
    assert len(passes) == 3


def test_small_arrays_apart_share_a_pass_and_large_ones_have_their_own(passes):
    step_once(gdopt.Adam(values()))
    assert passes == [448]  # with the padding that the state has
    passes.clear()
    sizes = [3, 4096, 4097, 5, 0, 70, 5000, 0]
    step_once(gdopt.Adam([np.ones(size) for size in sizes]))
    assert passes == [4160, 4097, 192, 5000, 0]


def test_small_arrays_share_passes_that_stay_in_cache(passes):
    optimizer = gdopt.Adam([np.ones(1000) for _ in range(300)])
    step_once(optimizer)
    size = Blocks(optimizer.rule.kernel.program(), "float64").size
    assert sum(passes) == 300 * 1024
    assert all(size - 1024 < count <= size for count in passes[:-1])


def odd(array, k):
    """Lay an array out in one of several ways."""
    wide = np.zeros((*array.shape, 2), array.dtype)[..., 1]
    backwards = np.zeros_like(array)[(..., *[slice(None, None, -1)] * array.ndim)]
    columns = np.zeros_like(array, order="F")
    laid = (wide, backwards, columns, np.zeros_like(array))[k % 4]
    laid[...] = array
    return laid


@pytest.mark.parametrize("arena", [False, True], ids=["apart", "arena"])
@pytest.mark.parametrize("name", ["sgd", "adamw corrected"])
def test_small_arrays_together_have_the_bits_of_each_alone(name, arena, engine):
    start, rows = values(DTYPES), [values(DTYPES) for _ in range(STEPS)]
    params = {key: odd(array, k) for k, (key, array) in enumerate(start.items())}
    together = CASES[name].make(gdopt.Arena.of(params) if arena else params)
    for row in rows:
        together.step({key: odd(g, k) for k, (key, g) in enumerate(row.items(), 1)})
    for key, array in start.items():
        alone = CASES[name].make({key: array.copy()})
        for row in rows:
            alone.step({key: row[key]})
        found, expected = together.params[key], alone.params[key]
        np.testing.assert_array_equal(found, expected, strict=True)
        for state, expected in alone.state[key].items():
            np.testing.assert_array_equal(together.state[key][state], expected)
    for arena_of_state in together._state.values():
        assert_padding_is_zero(arena_of_state)


@pytest.mark.parametrize(
    ("decays", "count"), [((0.1, 0.1, 0.1), 1), ((0.1, 0, 0), 2), ((0.1, 0, 0.1), 3)]
)
def test_neighbours_with_equal_values_by_name_share_a_pass(decays, count, passes):
    params = gdopt.Arena.of({name: np.ones(3) for name in "abc"})
    decay = dict(zip("abc", decays, strict=True))
    step_once(gdopt.AdamW(params, lr=1.0, weight_decay=decay))
    assert len(passes) == count
    assert [params[name][0] for name in "abc"] == [1 - value for value in decays]


def by_name(names, *numbers):
    return {name: numbers[k % len(numbers)] for k, name in enumerate(names)}


BY_NAME = {
    "in turns": lambda names: by_name(names, 0.1, 0.0),
    "in runs": lambda names: {name: 0.1 * name.startswith("W") for name in names},
    "a schedule for some": lambda names: by_name(names, 0.1, lambda k: 0.01 * k),
    "a 0-d array for some": lambda names: by_name(names, np.array(0.1), 0.2),
    "arrays": lambda names: by_name(names, np.array([0.1]), 0.2),
}


@pytest.mark.parametrize("kind", BY_NAME)
def test_values_by_name_give_an_arena_the_bits_of_arrays_apart(kind, engine):
    start = values(DTYPES)
    rows = [values(DTYPES) for _ in range(12)]  # more than the runs that are kept
    decay = BY_NAME[kind](start)
    case = CASES["adamw corrected"]
    apart = run(case.make(copies(start), weight_decay=decay), rows)
    together = run(case.make(gdopt.Arena.of(start), weight_decay=decay), rows)
    assert_same(apart, together)
    assert_padding_is_zero(together.params)


def test_values_by_name_are_each_arrays_own(engine):
    start, rows = values(), [values() for _ in range(STEPS)]
    rates = {name: 0.01 * (k + 1) for k, name in enumerate(start)}
    together = run(gdopt.Adam(gdopt.Arena.of(start), lr=rates), rows)
    for name, rate in rates.items():
        alone = gdopt.Adam({name: start[name].copy()}, lr=rate)
        run(alone, [{name: row[name]} for row in rows])
        np.testing.assert_array_equal(together.params[name], alone.params[name])


def test_settings_changed_between_steps_reach_an_arena(engine):
    start, rows = values(), [values() for _ in range(STEPS)]
    apart, together = (
        CASES["adamw corrected"].make(params)
        for params in (copies(start), gdopt.Arena.of(start))
    )
    for settings in (
        {"lr": 0.5},
        {"lr": {name: 0.1 * k for k, name in enumerate(start)}},
        {"weight_decay": np.array([0.3])},
        {"lr": 0.2, "weight_decay": 0.0},
    ):
        for optimizer in (apart, together):
            for name, setting in settings.items():
                optimizer.hyper[name] = setting
            run(optimizer, rows)
        assert_same(apart, together)


@pytest.mark.parametrize("name", CASES["adamw corrected"].hyper)
def test_padding_stays_zero_where_a_setting_is_an_array(name, engine):
    case = CASES["adamw corrected"]
    params = gdopt.Arena.of({"a": np.ones(3), "b": np.ones(70)})
    optimizer = case.make(params, **{name: np.array([case.hyper[name]])})
    run(optimizer, [{"a": np.ones(3), "b": np.ones(70)}] * 2)
    assert_padding_is_zero(params)
    for arena in optimizer._state.values():
        assert_padding_is_zero(arena)
