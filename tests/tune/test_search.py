import math
import sys

import pytest

import gdopt
from gdopt.tune import log_uniform, tune, uniform

pytest.importorskip("optuna")
import optuna
from tune.objectives import SPACE, near


def values(study):
    return [dict(trial.values) for trial in study.trials]


def test_the_seed_decides_every_draw():
    one, same, other = (tune(near, SPACE, trials=6, seed=seed) for seed in (1, 1, 2))
    assert values(one) == values(same)
    assert values(one) != values(other)
    assert len({tuple(v.items()) for v in values(one)}) == 6


def test_a_draw_depends_on_seed_and_number_alone():
    worse = tune(lambda trial: -near(trial), SPACE, trials=6, seed=1)
    assert values(worse) == values(tune(near, SPACE, trials=9, seed=1))[:6]


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_the_best_trial_is_the_best_by_the_direction(direction, sign):
    study = tune(
        lambda trial: sign * near(trial), SPACE, trials=30, seed=0, direction=direction
    )
    distances = [abs(trial.values["rate"] - 0.1) for trial in study.trials]
    assert study.best.number == distances.index(min(distances))
    assert study.best.score == -sign * min(distances)


@pytest.mark.slow
def test_the_parzen_estimator_comes_nearer_than_random_draws():
    def distance(method, seed):
        space = {"x": uniform(-10, 10), "y": uniform(-10, 10)}

        def objective(trial):
            return (trial["x"] - 3) ** 2 + (trial["y"] + 5) ** 2

        options = {"trials": 40, "seed": seed, "direction": "minimize"}
        return tune(objective, space, method=method, **options).best.score

    led, random = (
        sorted(distance(method, seed) for seed in range(5))[2]
        for method in ("tpe", "random")
    )
    assert led < random / 2


def test_a_trial_worse_than_the_median_is_ended():
    ended = []

    def objective(trial):
        for step in range(3):
            trial.report(-trial.number if trial.number < 5 else -2.5 - step, step=step)
        ended.append(trial.number)
        return -float(trial.number)

    study = tune(objective, {"x": uniform(0, 1)}, trials=7, seed=0, prune=True)
    # The median of 0, -1, -2, -3 and -4 is -2, and what is worse ends at once.
    assert [trial.state for trial in study.trials] == ["complete"] * 5 + ["pruned"] * 2
    assert ended == [0, 1, 2, 3, 4]
    assert study.trials[5].reports == {0: -2.5}
    assert study.trials[5].score is None
    plain = tune(objective, {"x": uniform(0, 1)}, trials=7, seed=0)
    assert {trial.state for trial in plain.trials} == {"complete"}
    assert plain.trials[5].reports == {0: -2.5, 1: -3.5, 2: -4.5}


def test_the_best_report_so_far_counts_against_the_median():
    def objective(trial):
        first, second = (1.0, 0.0) if trial.number == 5 else (0.0, 0.5)
        trial.report(first, step=0)
        trial.report(second, step=1)
        return second

    study = tune(objective, {"x": uniform(0, 1)}, trials=6, seed=0, prune=True)
    assert study.trials[5].state == "complete"


def test_a_trial_that_fails_is_reported_and_the_search_goes_on():
    told = []

    def objective(trial):
        if trial.number == 1:
            message = "no such network"
            raise ValueError(message)
        if trial.number == 2:
            return math.nan
        return "good" if trial.number == 3 else 1.0

    study = tune(
        objective,
        {"x": uniform(0, 1)},
        trials=5,
        seed=0,
        progress=lambda trial, done, total: told.append((trial.error, done, total)),
    )
    errors = [
        None,
        "ValueError: no such network",
        "the objective's score is nan",
        "ArgumentTypeError: the objective's score must be a number, got 'good' (str)",
        None,
    ]
    assert [trial.error for trial in study.trials] == errors
    assert told == [(error, k, 5) for k, error in enumerate(errors, start=1)]
    assert [trial.number for trial in study.failed] == [1, 2, 3]
    assert "2 complete, 0 pruned, 3 failed" in str(study)
    assert "trial 1 failed with ValueError: no such network" in str(study)


def test_a_search_in_which_all_fails_has_no_best():
    study = tune(lambda trial: trial["rat"], SPACE, trials=2, seed=0)
    message = "best needs .* got none of 2; trial 0 failed with KeyError: 'rat'"
    with pytest.raises(gdopt.ArgumentError, match=message):
        _ = study.best


def test_ctrl_c_ends_the_search():
    def objective(trial):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(objective, SPACE, trials=2, seed=0)


@pytest.fixture
def loud():
    """Have Optuna as loud as it is by itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    yield
    optuna.logging.set_verbosity(before)


def test_optuna_says_nothing_and_its_loudness_stays(loud, capfd):
    tune(near, SPACE, trials=2, seed=0)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    found = capfd.readouterr()
    assert (found.out, found.err) == ("", "")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trials": 0}, "ArgumentError", "trials must be a whole number of at least 1"),
        ({"trials": 2.0}, "ArgumentTypeError", "trials must be a whole number"),
        ({"seed": -1}, "ArgumentError", "seed must be a whole number of at least 0"),
        ({"seed": None}, "ArgumentTypeError", "seed must be a whole number"),
        ({"direction": "up"}, "ArgumentError", "direction must be one of maximize, mi"),
        ({"method": "grid"}, "ArgumentError", "method must be one of random, tpe, got"),
        ({"prune": "median"}, "ArgumentTypeError", "prune must be True or False"),
        ({"jobs": 0}, "ArgumentError", "jobs must be a whole number of at least 1"),
        ({"name": ""}, "ArgumentError", "name must be text that is not empty"),
        ({"space": {}}, "ArgumentError", "scales must hold at least one"),
        ({"space": {"x": 1.0}}, "ArgumentTypeError", "must be a scale"),
        ({"objective": None}, "ArgumentTypeError", "objective must be a function"),
        ({"storage": "no/where.db"}, "ArgumentError", "folder that exists"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    given = {"objective": near, "space": SPACE, "trials": 2, "seed": 0, **options}
    objective, space = given.pop("objective"), given.pop("space")
    with pytest.raises(getattr(gdopt, error), match=message):
        tune(objective, space, **given)


@pytest.mark.parametrize(
    ("score", "step", "error"),
    [("1", 0, "score must be a number"), (1.0, -1, "step must be"), (1.0, 0.5, "step")],
)
def test_bad_reports_are_refused(score, step, error):
    study = tune(lambda trial: trial.report(score, step=step), SPACE, trials=1, seed=0)
    assert error in study.trials[0].error


def test_without_optuna_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "optuna"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = r'tuning needs optuna, .* pip install -e "\.\[tune\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        tune(near, {"x": log_uniform(1, 2)}, trials=1, seed=0)
