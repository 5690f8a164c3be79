"""A step with bad numbers, one that fails, one beside another: done whole or not."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from oracles import CASES

import gdopt
from gdopt.optim import turns

ARGUMENT = gdopt.ArgumentError


def make_params():
    return {"W": np.arange(6.0).reshape(2, 3), "b": np.ones(3)}


def make_grads():
    return {"W": np.full((2, 3), 0.5), "b": np.ones(3)}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("arena", [False, True], ids=["apart", "arena"])
def test_gradients_that_are_not_finite_are_raised_by_name(
    bad, arena, unchanged, engine
):
    params = gdopt.Arena.of(make_params()) if arena else make_params()
    optimizer = gdopt.Adam(params, non_finite="raise")
    grads = gdopt.Arena.of(make_grads()) if arena else make_grads()
    optimizer.step(grads)
    grads["b"][2] = bad
    message = r"grads must be finite, got NaN or infinity in the gradients of 'b'"
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
        optimizer.step(grads)
    grads["W"][0, 0] = bad
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=r"'W', 'b'$"):
        optimizer.step(grads)
    grads["W"][...] = 1
    grads["b"][...] = 1
    assert optimizer.step(grads)


@pytest.mark.parametrize("arena", [False, True], ids=["apart", "arena"])
def test_gradients_that_are_not_finite_are_skipped_whole(arena, unchanged, engine):
    params = gdopt.Arena.of(make_params()) if arena else make_params()
    optimizer = gdopt.Adam(params, non_finite="skip")
    grads = gdopt.Arena.of(make_grads()) if arena else make_grads()
    optimizer.step(grads)
    grads["b"][2] = np.nan
    with unchanged(optimizer):
        assert optimizer.step(grads) is False


@pytest.mark.parametrize("name", CASES)
def test_gradients_that_are_not_finite_are_computed_with_when_ignored(name, engine):
    p = np.ones(3)
    optimizer = CASES[name].make(p, non_finite="ignore")
    for _ in range(2):  # as the first step of ADOPT moves nothing
        assert optimizer.step(np.array([np.nan, 1.0, -1.0])) is True
    spreads = CASES[name].kind is gdopt.Adafactor  # by the root mean square of all
    assert np.isnan(p).tolist() == [True, spreads, spreads]
    assert optimizer.t == 2


def test_a_schedule_that_fails_fails_the_step_and_nothing_changes(
    unchanged, numpy_engine
):
    def rate(step):
        if step == 1:
            message = "no rate"
            raise LookupError(message)
        return 0.1

    optimizer = gdopt.Adam(make_params(), lr=rate)
    optimizer.step(make_grads())
    for _ in range(2):  # and the step after it is not taken for another thread's
        with unchanged(optimizer), pytest.raises(LookupError, match="no rate"):
            optimizer.step(make_grads())


def test_a_step_waits_for_another_threads_step_but_not_for_ever(
    numpy_engine, monkeypatch
):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    p, refusals = np.zeros(2), []

    def rate(step):
        if step == 1:  # the first step's lock was given back
            worker = threading.Thread(target=step_too)
            worker.start()
            worker.join()
        return 1.0

    def step_too():
        with pytest.raises(gdopt.GdoptError, match="another thread's step") as caught:
            optimizer.step(np.ones(2))
        refusals.append(caught.value)

    optimizer = gdopt.SGD(p, lr=rate)
    for _ in range(3):
        optimizer.step(np.ones(2))
    assert len(refusals) == 1
    assert p.tolist() == [-3, -3]
    assert optimizer.t == 3


def test_of_many_threads_every_step_is_done_whole(engine):
    p = np.zeros(1000)
    optimizer = gdopt.Momentum(p, lr=1.0, form="heavy_ball", beta=0.0)

    def attempt(_):
        return optimizer.step(np.ones(1000))

    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(attempt, range(200)))
    assert optimizer.t == done == 200
    np.testing.assert_array_equal(p, -float(done))
