import argparse
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.cli import tune
from gdopt.cli.session import Progress
from gdopt.tune import Outcome

pytest.importorskip("rich")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytest.importorskip("optuna")
FEW = ("--backend", "numpy", "--epochs", 2, "--trials", 4)


@pytest.fixture(autouse=True)
def drawn(request, monkeypatch):
    """Leave the drawing out, which takes longer than the search, but for one test."""
    found = []

    def draw(study, path, *, title):
        found.append((len(study.trials), str(path), title))

    if "a_picture" not in request.node.name:
        monkeypatch.setattr(tune, "parallel_coordinates", draw)
    return found


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, numpy_engine):
    """Return ``run(...)``: ``gdopt tune ...`` in an empty folder, and what it says."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        parser = argparse.ArgumentParser()
        tune.add_options(parser)
        chosen = parser.parse_args([*map(str, arguments)])
        capfd.readouterr()
        code = tune.run(chosen)
        said = capfd.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return command


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_digits_are_searched_with_a_table_json_and_a_picture(run, tmp_path):
    found = run("digits", *FEW, "--json", "found.json")
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0] == "digits: 1,079 training examples; momentum, 2 epochs a trial"
    assert lines[1] == "4 trials: 4 complete, 0 pruned, 0 failed"
    assert lines[2].split()[:4] == ["trial", "score", "learning_rate", "beta"]
    assert lines[-1] == "picture tune-digits.png"
    told = read(tmp_path / "found.json")
    assert told.keys() == {"sha256", "settings", "search"}
    assert told["settings"]["optimizer"] == "momentum"
    trials = told["search"]["trials"]
    best = max(trial["score"] for trial in trials)
    assert f"best dev accuracy {best:.3f}" in lines
    assert list(trials[0]["reports"]) == ["1", "2"]
    assert (tmp_path / "tune-digits.png").read_bytes()[:4] == b"\x89PNG"
    assert "trial 4/4, best dev accuracy" in found.err


def test_a_fine_search_follows_in_the_box_of_the_best(run, drawn, tmp_path):
    options = ("--fine", 3, "--json", "f.json", "--picture", "my.png")
    assert run("digits", *FEW, *options).code == 0
    told = read(tmp_path / "f.json")
    ranked = sorted(told["search"]["trials"], key=lambda t: -t["score"])[:2]
    rates = sorted(trial["values"]["learning_rate"] for trial in ranked)
    low, high = re.findall(r"=([\d.e-]+)", told["fine"]["space"]["learning_rate"])
    assert [float(low), float(high)] == rates
    for trial in told["fine"]["trials"]:
        assert rates[0] <= trial["values"]["learning_rate"] <= rates[1]
    assert drawn == [
        (4, "my.png", "digits: dev accuracy of 4 trials"),
        (3, "my-fine.png", "digits: dev accuracy of 3 trials"),
    ]


@pytest.mark.slow
def test_a_search_that_is_kept_goes_on(run, tmp_path):
    kept = (*FEW, "--storage", "s.db", "--json", "a.json")
    run("digits", *kept)
    first = read(tmp_path / "a.json")["search"]["trials"]
    again = run("digits", *kept, "--trials", 6)
    more = read(tmp_path / "a.json")["search"]["trials"]
    assert more[:4] == first
    assert len(more) == 6
    assert "trial 4/6" not in again.err
    assert "trial 6/6" in again.err
    with pytest.raises(gdopt.StateError, match="seed must be 0, as when the search"):
        run("digits", *kept, "--seed", 1)


def test_an_interrupted_search_says_how_to_go_on(run, monkeypatch):
    def interrupted(self, trial):
        if trial.number == 2:
            raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(gdopt.tune.NetworkObjective, "__call__", interrupted)
    for options, message in (
        ((), "after 2 of 4 trials$"),
        (("--storage", "s"), "after 2 of 4 trials; the same command resumes from 's'"),
    ):
        with pytest.raises(KeyboardInterrupt, match=message):
            run("digits", *FEW, *options)


@pytest.mark.parametrize(
    ("optimizer", "has_beta"), [("momentum", True), ("adam", False), ("sgd", False)]
)
def test_beta_is_searched_where_there_is_momentum(run, optimizer, has_beta, tmp_path):
    run("digits", *FEW, "--optimizer", optimizer, "--json", "o.json")
    assert ("beta" in read(tmp_path / "o.json")["search"]["space"]) is has_beta


@pytest.mark.newest
@pytest.mark.slow
def test_a_small_file_gets_small_batches(run, tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    X = rng.standard_normal((100, 3)) + y[:, None]
    np.savez(tmp_path / "few.npz", X=X.astype(np.float32), y=y)
    found = run("few.npz", *FEW, "--jobs", 2, "--prune", "--json", "few.json")
    assert "few: 60 training examples" in found.out
    space = read(tmp_path / "few.json")["search"]["space"]
    assert space["batch_size"] == "power_of_two(low=4, high=32)"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_trial_that_fails_is_reported_and_the_search_goes_on(run, monkeypatch):
    def objective(self, trial):
        if trial.number == 1:
            message = "the loss is no number"
            raise gdopt.DivergenceError(message)
        return 0.25

    monkeypatch.setattr(gdopt.tune.NetworkObjective, "__call__", objective)
    found = run("digits", *FEW)
    assert "trial 1 failed: DivergenceError: the loss is no number" in found.err
    assert "4 trials: 3 complete, 0 pruned, 1 failed" in found.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trials", 0), "must be a whole number of at least 1"),
        (("--l2", -1), "must be a number of at least 0"),
        (("--method", "grid"), "invalid choice: 'grid'"),
    ],
)
def test_bad_options_are_refused(run, options, message, capfd):
    with pytest.raises(SystemExit):
        run("digits", *options)
    assert message in capfd.readouterr().err


def test_a_file_that_is_not_there_is_an_error(run):
    with pytest.raises(gdopt.ArgumentError, match="data must be digits or a file"):
        run("nowhere.csv", *FEW)


def test_without_optuna_the_error_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(tune.sys.modules, "optuna", None)
    message = r'gdopt tune needs optuna, .* pip install -e "\.\[tune\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        run("digits", *FEW)


def test_progress_shows_the_best_and_the_failures():
    shown, told = Progress(), []
    shown.show = lambda *state: told.append(state)
    shown.note = told.append
    show = tune._reporter(shown)
    show(Outcome(0, {}, "failed", error="no"), 1, 3)
    show(Outcome(1, {}, "complete", 0.91), 2, 3)
    show(Outcome(2, {}, "complete", 0.5), 3, 3)
    assert told == [
        "trial 0 failed: no",
        (1, 3, "trial 1/3, best dev accuracy -"),
        (2, 3, "trial 2/3, best dev accuracy 0.910"),
        (3, 3, "trial 3/3, best dev accuracy 0.910"),
    ]
