"""The optimizer: what it counts, shows and skips."""

import gc
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
from oracles import CASES, MATRIX_CASES

import gdopt
from gdopt.optim import OPTIMIZERS


@pytest.fixture(scope="module", params=[gdopt, gdopt.optim])
def exported(request):
    """Return the optimizers that a package exports: all but their base class."""
    package = request.param
    found = [getattr(package, name) for name in package.__all__]
    classes = {thing for thing in found if isinstance(thing, type)}
    return {k for k in classes if issubclass(k, gdopt.Optimizer)} - {gdopt.Optimizer}


def test_the_table_of_optimizers_has_all_that_are_exported_by_their_names(exported):
    assert set(OPTIMIZERS.values()) == exported
    assert all(kind.__name__.lower() == name for name, kind in OPTIMIZERS.items())


def test_the_table_of_tested_optimizers_is_what_is_exported(exported):
    tested = [*CASES.values(), *MATRIX_CASES.values()]
    assert {case.kind for case in tested} == exported


def test_the_page_of_rules_lists_every_optimizer(exported):
    page = Path(gdopt.__file__).parent / "guide" / "rules.md"
    listed = re.findall(r"^\| `(\w+)` \|", page.read_text("utf-8"), re.MULTILINE)
    assert {kind.__name__ for kind in exported} <= set(listed)


def test_the_table_of_tested_optimizers_runs_every_formula():
    used = {case.make(np.zeros(1)).rule.function for case in CASES.values()}
    assert used == {getattr(gdopt.rules, name).function for name in gdopt.rules.__all__}


def test_a_step_tells_that_it_was_done_and_counts(numpy_engine):
    optimizer = gdopt.Adam(np.zeros(2))
    assert optimizer.t == 0
    assert optimizer.step(np.ones(2)) is True
    assert optimizer.step(np.ones(2)) is True
    assert optimizer.t == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_skipped_step_advances_neither_count_nor_schedule(bad, unchanged, engine):
    p, seen = np.zeros(2), []

    def rate(step):
        seen.append(step)
        return 1.0 + step

    optimizer = gdopt.SGD(p, lr=rate, non_finite="skip")
    assert optimizer.step(np.ones(2)) is True
    with unchanged(optimizer):
        assert optimizer.step(np.array([0.0, bad])) is False
    assert optimizer.hyper["lr"] == 2.0
    assert optimizer.step(np.ones(2)) is True
    assert p.tolist() == [-3, -3]
    assert set(seen) == {0, 1}
    assert optimizer.t == 2


def test_a_skipped_step_leaves_the_bias_correction_where_it_was(engine):
    rows = np.random.default_rng(0).standard_normal((4, 3))
    skipping, plain = np.zeros(3), np.zeros(3)
    with_gaps = gdopt.Adam(skipping, non_finite="skip")
    without = gdopt.Adam(plain)
    for row in rows:
        with_gaps.step(np.full(3, np.nan))
        with_gaps.step(row)
        without.step(row)
    np.testing.assert_array_equal(skipping, plain)


@pytest.mark.parametrize("name", CASES)
def test_state_takes_the_bytes_of_the_rules_arrays(name):
    case = CASES[name]
    params = {"W": np.zeros((3, 30), np.float32), "h": np.zeros(64, np.float16)}
    optimizer = case.make(params)
    # 90 elements are padded to 128, and other values to 64; float16 has float32 state,
    # and so have the rows of a vector. Values that are not of elements are float64.
    taken = {"element": (128 + 64) * 4, "row": 64 * (8 + 4)}
    taken |= dict.fromkeys(("column", "array"), 2 * 64 * 8)
    kinds = [optimizer.rule.kind_of(state, 2) for state in optimizer.rule.states]
    assert optimizer.state_bytes == sum(taken[kind] for kind in kinds)


def test_state_is_shown_as_live_views(numpy_engine):
    optimizer = gdopt.Adam({"W": np.zeros(2)}, beta1=0.5)
    shown = optimizer.state["W"]["m"]
    optimizer.step({"W": np.ones(2)})
    assert shown.tolist() == [0.5, 0.5]
    assert [*optimizer.state["W"]] == ["m", "v"]


def test_the_parameters_are_shown_as_the_callers_own():
    W, b = np.zeros(2), np.zeros(3)
    optimizer = gdopt.SGD({"W": W, "b": b})
    assert optimizer.params["W"] is W
    assert optimizer.params["b"] is b
    arena = gdopt.Arena.of([W])
    assert gdopt.SGD(arena).params is arena


def test_its_text_tells_class_settings_size_and_count(numpy_engine):
    optimizer = gdopt.SGD([np.zeros(2), np.zeros((2, 3))], lr=0.5)
    optimizer.step([np.zeros(2), np.zeros((2, 3))])
    assert repr(optimizer) == "SGD(lr=0.5; 2 arrays, 8 elements on cpu, t=1)"


def test_optimizers_of_equal_rules_do_not_share_state(numpy_engine):
    first, second = gdopt.Adam(np.zeros(2)), gdopt.Adam(np.zeros(2))
    first.step(np.ones(2))
    assert second.state["0"]["m"].tolist() == [0, 0]
    assert second.t == 0


def test_an_optimizer_holds_its_arrays(numpy_engine):
    optimizer = gdopt.SGD(np.zeros(1000), lr=1.0)
    others = [np.zeros(1000) for _ in range(3)]  # in the place of what was let go
    optimizer.step(np.ones(1000))
    assert not any(other.any() for other in others)
    np.testing.assert_array_equal(optimizer.params["0"], -1)


def test_minimizing_a_parabola_comes_to_its_minimum(engine):
    p, target = np.array([4.0, -3.0]), np.array([1.0, 2.0])
    optimizer = gdopt.Adam(p, lr=lambda step: 0.5 / (1 + 0.1 * step))
    for _ in range(2000):
        optimizer.step(2 * (p - target))
    np.testing.assert_allclose(p, target, atol=1e-6)


def scaled_descent(p, g, *, lr, scale):
    return p - lr * scale * g


ENDS = {
    "plain": (gdopt.Adam, {}, [{}]),
    "around": (
        gdopt.Adam,
        {"accumulate": 2, "clip_each": 1.0, "clip_norm": 1.0, "loss_scale": "dynamic"},
        [{}, {}],
    ),
    "matrices": (gdopt.Muon, {"clip_norm": 1.0}, [{}]),
    "given": (
        lambda params, **options: gdopt.Optimizer(params, scaled_descent, **options),
        {"lr": 0.1},
        [{"scale": 2.0}, {"scale": {"W": np.ones((3, 2)), "b": np.ones(2)}}],
    ),
    "rows": (gdopt.SGD, {}, [{"at": {"W": [0, 1, 2]}}]),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_optimizer_s_memory_is_free_when_it_is_gone(name, engine):
    kind, options, steps = ENDS[name]
    params = {"W": np.ones((3, 2)), "b": np.ones(2)}
    optimizer = kind(params, **options)
    for given in steps:
        optimizer.step({name: np.ones(a.shape) for name, a in params.items()}, **given)
    states = [weakref.ref(a) for a in optimizer.state_arenas.values()]
    references = [weakref.ref(optimizer), *states]
    gc.disable()  # which would find reference cycles, later
    try:
        del optimizer
        assert [one() for one in references] == [None] * len(references)
    finally:
        gc.enable()
