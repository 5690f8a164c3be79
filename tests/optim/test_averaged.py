"""Within `averaged()`, parameters hold their averages, and what they held after it."""

import numpy as np
import pytest
from oracles import CASES

import gdopt

GENERATOR = np.random.default_rng(17)
START = {"W": GENERATOR.standard_normal((3, 4)), "b": GENERATOR.standard_normal(5)}
ROWS = [
    {name: GENERATOR.standard_normal(array.shape) for name, array in START.items()}
    for _ in range(6)
]
KINDS = {
    "ema": lambda p: gdopt.Adam(p, 0.05, ema=0.9),
    "schedule-free sgd": lambda p: gdopt.ScheduleFreeSGD(p, 0.05, weight_decay=0.1),
    "schedule-free adamw": lambda p: gdopt.ScheduleFreeAdamW(p, 0.05),
}


def params():
    return {name: array.copy() for name, array in START.items()}


def bits(optimizer):
    arrays = [*optimizer.params.values()]
    arrays += [a for own in optimizer.state.values() for a in own.values()]
    return [array.tobytes() for array in arrays]


def run(optimizer, rows):
    for row in rows:
        optimizer.step(row)
    return optimizer


@pytest.fixture(params=KINDS)
def make(request, engine):
    return KINDS[request.param]


def test_averages_show_and_go(make):
    optimizer = run(make(params()), ROWS)
    before, averages = bits(optimizer), dict(optimizer.averages())
    with optimizer.averaged():
        for name, array in optimizer.params.items():
            assert array.tobytes() == averages[name].tobytes()
            assert not np.array_equal(array, START[name])
    assert bits(optimizer) == before


def test_what_parameters_held_comes_back_when_the_block_raises(make):
    optimizer = run(make(params()), ROWS)
    before = bits(optimizer)
    with pytest.raises(LookupError), optimizer.averaged():
        raise LookupError
    assert bits(optimizer) == before
    run(optimizer, ROWS)


def test_no_step_and_no_other_block_within_it(make):
    optimizer = run(make(params()), ROWS)
    before = bits(optimizer)
    with optimizer.averaged():
        with pytest.raises(
            gdopt.GdoptError, match=r"step must not be called within av"
        ):
            optimizer.step(ROWS[0])
        with (
            pytest.raises(gdopt.GdoptError, match="must not be entered within"),
            optimizer.averaged(),
        ):
            pass
    assert bits(optimizer) == before


def test_an_optimizer_without_averages_has_no_block():
    optimizer = gdopt.Adam(params())
    with (
        pytest.raises(
            gdopt.ArgumentError, match="made with ema or swa_start, got one without"
        ),
        optimizer.averaged(),
    ):
        pass
    optimizer.step(ROWS[0])


@pytest.mark.parametrize("saved_within", [False, True])
@pytest.mark.parametrize("loaded_within", [False, True])
def test_a_run_goes_on_from_a_state_of_either_kind(make, saved_within, loaded_within):
    whole = run(make(params()), ROWS)
    first = run(make(params()), ROWS[:3])
    if saved_within:
        with first.averaged():
            held, state = copies(first.params), first.state_dict()
    else:
        held, state = copies(first.params), first.state_dict()
    second = make(params())
    if loaded_within:
        with second.averaged():
            for name, array in held.items():
                second.params[name][...] = array
            second.load_state_dict(state)
            for name, average in first.averages().items():
                assert second.params[name].tobytes() == average.tobytes()
    else:
        for name, array in held.items():
            second.params[name][...] = array
        second.load_state_dict(state)
    assert bits(second) == bits(first)
    assert bits(run(second, ROWS[3:])) == bits(whole)


def copies(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def test_a_state_with_other_parameters_is_refused_and_changes_nothing(make):
    optimizer = run(make(params()), ROWS[:2])
    with optimizer.averaged():
        state = optimizer.state_dict()
    before = bits(optimizer)
    for wrong in (
        {"W": state["params"]["W"]},
        {**state["params"], "b": np.zeros(4)},
        {**state["params"], "b": np.zeros(5, np.float32)},
    ):
        with pytest.raises(gdopt.StateError):
            optimizer.load_state_dict({**state, "params": wrong})
    assert bits(optimizer) == before


@pytest.mark.parametrize("name", ["schedule-free sgd", "schedule-free adamw"])
def test_the_average_is_the_papers_x(name, numpy_engine):
    case, p = CASES[name], START["b"].copy()
    optimizer = case.make(p, lr=lambda step: 0.1 / (1 + step % 3))
    states = [{} for _ in p]
    y = START["b"].tolist()
    for step, row in enumerate(ROWS):
        optimizer.step(row["b"])
        hyper = {**case.hyper, "lr": 0.1 / (1 + step % 3)}
        y = [
            case.textbook(number, g, state, t=step + 1, **hyper)
            for number, g, state in zip(y, row["b"].tolist(), states, strict=True)
        ]
    with optimizer.averaged():
        np.testing.assert_allclose(p, [state["x"] for state in states], rtol=1e-12)


def test_half_precision_shows_averages_of_its_master_weights(numpy_engine):
    p = START["b"].astype(np.float16)
    optimizer = gdopt.ScheduleFreeSGD(p, 0.05, master_weights=True)
    exact = START["b"].astype(np.float16).astype(np.float32)
    other = gdopt.ScheduleFreeSGD(exact, 0.05)
    for row in ROWS:
        gradient = row["b"].astype(np.float16)
        optimizer.step(gradient)
        other.step(gradient.astype(np.float32))
    with optimizer.averaged(), other.averaged():
        assert p.tobytes() == exact.astype(np.float16).tobytes()
