"""Training to a target loss counts steps, times them, and gives each size its rate."""

import json
import math
from dataclasses import replace

import descent
import notes
import numpy as np
import pytest


@pytest.fixture
def race():
    """Make two heaps of examples that are easily told apart, and no hurry."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    X = rng.standard_normal((300, 4)) + 2 * y[:, None]
    return descent.Race(
        X.astype(np.float32),
        y,
        sizes=(4, 8, 2),
        loss=0.3,
        rates=(0.5, 0.05),
        choosing=range(2),
        seeds=range(100, 103),
        allowed=1e9,
    )


@pytest.fixture
def steps_take_a_second(monkeypatch):
    """Make every step take one second of a clock of its own."""

    def take(step, count):
        for _ in range(count):
            step()
        return float(count)

    monkeypatch.setattr(descent, "_time", take)
    monkeypatch.setattr(descent, "REST", 0)


def test_a_round_that_neither_side_ends_is_a_draw():
    late, one, two = (None, math.inf), (10, 1.0), (10, 2.0)
    ones, others = [one, one, late, late], [two, late, two, late]
    assert descent.ratios(ones, others) == [0.5, 0.0, math.inf, 1.0]


@pytest.mark.parametrize("size", [1, 64, 300])
def test_the_counted_steps_lead_below_the_loss_and_fewer_do_not(race, size):
    steps = descent.steps_to_loss(race, size, 0.05, seed=3)
    at_once = max(1, 300 // (descent.LOOKS * size))
    for fewer, reached in ((0, True), (at_once, False)):
        network, step = descent._start(race, size, 0.05, seed=3)
        for _ in range(steps - fewer):
            step()
        assert (network.loss(race.examples, race.labels) <= race.loss) is reached


def test_the_rate_with_the_fewest_steps_is_chosen(race):
    def total(rate):
        return sum(descent.steps_to_loss(race, 64, rate, s) for s in race.choosing)

    assert total(0.5) < total(0.05)
    assert descent.choose_rate(race, 64) == 0.5
    turned = replace(race, rates=race.rates[::-1])
    assert descent.choose_rate(turned, 64) == 0.5


def test_a_rate_that_makes_the_loss_infinite_is_not_chosen(race):
    race = replace(race, rates=(1e38, 0.05))
    assert descent.steps_to_loss(race, 64, 1e38, seed=0) is None
    assert descent.choose_rate(race, 64) == 0.05


def test_a_size_is_given_up_when_its_time_is_over(race):
    race = replace(race, allowed=0.0)
    assert descent.choose_rate(race, 64) is None
    assert descent.run_once(race, 64, None, seed=0) == (None, math.inf)
    assert descent.run_once(race, 64, 0.5, seed=0) == (None, math.inf)


def test_a_summary_counts_the_runs_that_got_there(race):
    runs = [(10, 1.0), (None, math.inf), (30, 3.0)]
    assert descent.summarize(race, 64, 0.5, runs) == {
        "size": 64,
        "rate": 0.5,
        "reached": 2,
        "seconds": 3.0,
        "quartiles": [1.0, None],
        "steps": 30,
        "epochs": 6.0,
    }


@pytest.mark.usefixtures("steps_take_a_second")
def test_sizes_take_turns_and_start_from_the_same_weights(race, monkeypatch):
    taken = []
    once = descent.run_once

    def watched(race, size, rate, seed):
        taken.append((size, seed))
        return once(race, size, rate, seed)

    monkeypatch.setattr(descent, "run_once", watched)
    runs = descent.run_rounds(race, dict.fromkeys(race.batches, 0.5))
    sizes = [1, 64, 256, 300]
    expected = [(n, 100) for n in sizes] + [(n, 101) for n in sizes[::-1]]
    assert taken == expected + [(n, 102) for n in sizes]
    assert all(seconds == steps for of in runs.values() for steps, seconds in of)


@pytest.mark.usefixtures("steps_take_a_second")
def test_the_claims_of_the_target_are_judged_by_the_same_runs(race):
    target, rows = notes.to_target(race, quick=False, say=lambda _: None)
    by_size = {run["size"]: run for run in target["runs"]}
    assert list(by_size) == [1, 64, 256, 300]
    assert [row["claim"] for row in rows] == [notes.IN_BETWEEN] * 2 + [notes.SMALL]
    one, whole, small = rows
    assert (one["one"], whole["one"], small["other"]) == (1, 300, 300)
    assert {one["other"], whole["other"], small["one"]} <= {64, 256}
    for row in rows:
        assert row["seconds"]["one"] == by_size[row["one"]]["seconds"]
        assert row["rounds"] == 3
    assert whole["ratio"] == pytest.approx(1 / small["ratio"])
    json.dumps([target, rows], allow_nan=False)


def test_sides_that_both_fail_are_named_and_not_compared(race):
    target, rows = notes.to_target(
        replace(race, allowed=0.0), quick=False, say=lambda _: None
    )
    assert {row["left_out"] for row in rows} == {"neither reached the loss"}
    assert [run["reached"] for run in target["runs"]] == [0] * 4
    json.dumps([target, rows], allow_nan=False)
