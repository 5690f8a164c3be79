import decimal
import fractions
import json

import numpy as np
import pytest

import gdopt
from gdopt.tune import (
    Outcome,
    Space,
    Study,
    Trial,
    choice,
    log_one_minus,
    log_uniform,
    power_of_two,
    uniform_int,
    zoom,
)
from gdopt.tune.study import evaluate

SPACE = Space(
    {
        "rate": log_uniform(1e-4, 1),
        "beta": log_one_minus(0.9, 0.999),
        "units": uniform_int(10, 99),
        "size": power_of_two(16, 512),
        "kind": choice(["a", "b", "c"]),
    }
)


def trial(number, score, *values, state="complete"):
    return Outcome(number, dict(zip(SPACE, values, strict=True)), state, score)


TRIALS = [
    trial(0, 0.3, 0.5, 0.999, 10, 16, "c"),
    trial(1, 0.8, 0.01, 0.98, 40, 64, "b"),
    trial(2, None, 0.02, 0.98, 30, 32, "a", state="pruned"),
    trial(3, 0.9, 0.1, 0.95, 60, 64, "b"),
    trial(4, 0.7, 0.03, 0.97, 50, 256, "a"),
    trial(5, None, 1.0, 0.9, 99, 16, "a", state="failed"),
    trial(6, 0.8, 0.2, 0.9, 20, 128, "a"),
]


def test_trials_are_ranked_and_equals_stay_in_their_order():
    assert [t.number for t in Study(SPACE, TRIALS).ranked] == [3, 1, 6, 4, 0]
    cheap = Study(SPACE, TRIALS, "minimize")
    assert [t.number for t in cheap.ranked] == [0, 4, 1, 6, 3]
    assert cheap.best.number == 0


def test_zooming_gives_the_box_around_the_best_share():
    # Half of the six that were judged are three: 3, 1 and 6.
    box = zoom(Study(SPACE, TRIALS), share=0.5)
    assert box == Space(
        {
            "rate": log_uniform(0.01, 0.2),
            "beta": log_one_minus(0.9, 0.98),
            "units": uniform_int(20, 60),
            "size": power_of_two(64, 128),
            "kind": choice(["a", "b"]),
        }
    )
    assert list(box) == list(SPACE)


@pytest.mark.parametrize(
    ("share", "numbers"), [(0.01, 2), (0.34, 3), (0.33, 2), (1, 5)]
)
def test_zooming_takes_two_trials_at_least_and_the_complete_ones_at_most(
    share, numbers
):
    best = Study(SPACE, TRIALS).ranked[:numbers]
    rates = [t.values["rate"] for t in best]
    found = zoom(Study(SPACE, TRIALS), share=share)
    assert found["rate"] == log_uniform(min(rates), max(rates))


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_share_must_be_one(share):
    with pytest.raises(gdopt.ArgumentError, match=r"share must be in \(0, 1\]"):
        zoom(Study(SPACE, TRIALS), share=share)


def test_zooming_needs_two_trials():
    with pytest.raises(gdopt.ArgumentError, match="2 complete trials or more, got 1"):
        zoom(Study(SPACE, [TRIALS[0], TRIALS[2], TRIALS[5]]))


def test_all_of_it_goes_into_json():
    found = json.loads(json.dumps(Study(SPACE, TRIALS).to_dict()))
    assert found["direction"] == "maximize"
    assert found["space"]["rate"] == "log_uniform(low=0.0001, high=1.0)"
    assert found["trials"][3]["values"]["size"] == 64
    assert found["trials"][5]["state"] == "failed"


def test_printing_shows_the_best_five():
    lines = str(Study(SPACE, [*TRIALS, trial(7, 0.1, 0.1, 0.9, 9, 16, "a")])).split(
        "\n"
    )
    assert lines[0] == "8 trials: 6 complete, 1 pruned, 1 failed"
    assert lines[2].split() == ["trial", "score", *SPACE]
    assert [line.split()[0] for line in lines[3:]] == ["3", "1", "6", "4", "0"]


SCORES = [
    *(1, 0.5, np.float16(0.5), np.int8(1), np.array(0.5), np.array([0.5])),
    *(np.array([[2]]), fractions.Fraction(1, 2), decimal.Decimal("0.5")),
]


@pytest.mark.parametrize("score", SCORES)
def test_a_score_is_what_float_takes(score):
    reported = Trial(0, {"rate": 0.1})
    reported.report(score, step=1)
    outcome = evaluate(lambda _: score, reported)
    assert outcome.score == float(np.ravel([score])[0])
    assert type(outcome.score) is float
    json.dumps(outcome.to_dict())


@pytest.mark.peers("torch")
def test_a_score_may_be_of_torch():
    import torch

    for score in (torch.tensor(0.5), torch.tensor([0.5], requires_grad=True)):
        assert evaluate(lambda _, s=score: s, Trial(0, {})).score == 0.5


@pytest.mark.parametrize(
    "score", [True, np.True_, "0.5", None, 1j, [0.5], np.ones(2), np.ma.masked]
)
def test_what_is_no_score_fails_the_trial(score):
    outcome = evaluate(lambda _: score, Trial(0, {}))
    assert outcome.state == "failed"
    assert "score must be" in outcome.error
