"""Classifiers are fitted alike on both sides, in turns, and counted as they say."""

import functools
import json

import estimators
import machine
import pytest

pytest.importorskip("sklearn")


def test_a_quick_run_writes_both_sides_of_every_case(
    tmp_path, capsys, monkeypatch, numpy_engine
):
    monkeypatch.setattr(estimators, "REST", 0)
    file = tmp_path / "deeper" / "estimators.json"
    assert estimators.main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["quick"] is True
    assert found["machine"] == machine.describe()
    names = [(row["data"], row["dtype"]) for row in found["rows"]]
    data = ("digits", "breast cancer")
    assert names == [(d, dtype) for d in data for dtype in estimators.DTYPES]
    for row in found["rows"]:
        low, high = row["quartiles"]
        assert 0 < low <= row["ratio"] <= high
        for side in row["sides"].values():
            assert side["epochs"] == 2
            assert 0 < side["accuracy"] <= 1
    shown = capsys.readouterr().out
    assert "no figures to quote" in shown
    assert [row["data"] for row in found["folds"]] == list(estimators.LIMITS)
    assert len(shown.splitlines()) == 2 + 2 * 4 + 2 + 4


def test_accuracy_is_averaged_over_seeds_and_time_over_all_rounds():
    fits = [[(1.0, 0.9, 10), (3.0, 0.9, 10)], [(5.0, 0.8, 20), (7.0, 0.8, 20)]]
    found = estimators.summarize(fits)
    assert found["accuracy"] == pytest.approx(0.85)
    assert found["accuracies"] == [0.9, 0.8]
    assert (found["epochs"], found["seconds"]) == (15, 4.0)


def test_folds_are_paired_and_judged(monkeypatch):
    fitted = []

    class Scored:
        def __init__(self, side, random_state, max_iter):
            self.side, self.seed = side, random_state

        def fit(self, X, y):
            fitted.append((self.side, self.seed, X.sum(), len(y)))
            return self

        def score(self, X, y):
            return 0.9 + 0.01 * self.seed * self.side

    sides = {s: functools.partial(Scored, k) for k, s in enumerate(estimators.SIDES)}
    monkeypatch.setattr(estimators, "makers", lambda: sides)
    row = estimators.compare_folds("iris", seeds=range(3), epochs=1)
    assert len(fitted) == 3 * 5 * 2
    for ours, theirs in zip(fitted[::2], fitted[1::2], strict=True):
        assert ours[1:] == theirs[1:]
    assert row["accuracy"] == pytest.approx({"gdopt": 0.9, "scikit-learn": 0.91})
    assert row["above"] == pytest.approx(-1)
    assert row["range"] == pytest.approx([-2, 0])
    assert not row["holds"] or row["above"] >= -1
    assert "-1.00" in estimators.fold_rows({"folds": [row]})[0][3]


def test_without_scikit_learn_it_is_left_out(without, capsys):
    without("sklearn")
    assert estimators.main([]) == 0
    assert "not installed: scikit-learn" in capsys.readouterr().err


def test_both_sides_are_asked_for_the_same(monkeypatch):
    asked = []

    def fit(make, parts, **options):
        asked.append((make, options))
        return (2.0 if make is ours else 4.0), 0.75, 7

    ours, theirs = estimators.makers().values()
    monkeypatch.setattr(estimators, "fit", fit)
    case = estimators.cases()[0]
    row = estimators.compare(case, seeds=range(3), rounds=2, epochs=50)
    options = [{"random_state": seed, "max_iter": 50} for seed in range(3)]
    turns = [ours, theirs, theirs, ours]
    assert asked == [(make, option) for option in options for make in turns]
    assert (row["ratio"], row["quartiles"]) == (0.5, [0.5, 0.5])
    figures = {"accuracy": 0.75, "accuracies": [0.75] * 3, "epochs": 7}
    assert row["sides"]["gdopt"] == figures | {"seconds": 2.0}


def test_a_split_is_of_all_examples_and_by_its_seed():
    case = estimators.cases()[0]
    train, test, labels, truth = case.parts(0)
    assert len(train) + len(test) == len(labels) + len(truth) == 1797
    assert (train.max(), str(train.dtype)) == (1.0, "float32")
    assert (case.parts(1)[3] != truth).any()
