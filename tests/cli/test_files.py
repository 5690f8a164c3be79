"""From a file of any kind to a model, and from the model to predictions."""

import csv
import json

import numpy as np
import pytest

import gdopt
from gdopt.files import write_json

for module in ("rich", "matplotlib", "pandas"):
    pytest.importorskip(module)
FEW = ("--backend", "numpy", "--hidden", 8, "--epochs", 40, "--lr", 0.03)


def write(path, rows, delimiter=",", decimal="."):
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=delimiter)
        for row in rows:
            cells = (f"{c:.4f}" if isinstance(c, float) else str(c) for c in row)
            table.writerow(
                [c if c.isalpha() else c.replace(".", decimal) for c in cells]
            )


def examples(count=90):
    generator = np.random.default_rng(2)
    a, b = generator.standard_normal((2, count)).tolist()
    color = generator.choice(["red", "blue"], count).tolist()
    side = [
        "right" if x + (c == "red") > 0.5 else "left"
        for x, c in zip(a, color, strict=True)
    ]
    price = [100 + 30 * x - 20 * y for x, y in zip(a, b, strict=True)]
    return {"a": a, "b": b, "color": color, "side": side, "price": price}


def rows_of(names, data):
    return [names, *zip(*(data[name] for name in names), strict=True)]


CASES = {
    "label_first": (["side", "a", "color"], ",", "."),
    "text_label": (["a", "color", "side"], ",", "."),
    "regression": (["a", "price", "b"], ",", "."),
    "semicolons": (["b", "a", "side"], ";", "."),
    "decimal_commas": (["a", "b", "price"], ";", ","),
}


@pytest.fixture(params=CASES)
def case(request, command, numpy_engine, tmp_path):
    """Return a file that was trained on: its target, and what the command said."""
    names, *form = CASES[request.param]
    data = examples()
    write(tmp_path / "d.csv", rows_of(names, data), *form)
    target = "price" if "price" in names else "side"
    found = command("train", "d.csv", "--target", target, "--out", "run", *FEW)
    assert found.code == 0, found.err
    features = [name for name in names if name != target]
    return target, features, data, form, found


def test_the_target_is_right_and_printed_first(case):
    target, features, _, _, found = case
    kind = "regression" if target == "price" else "classification"
    head, _, first, *others = found.out.splitlines()
    assert head == f"d.csv: 90 rows, {kind}"
    assert first.split()[:2] == [target, "target"]
    assert [line.split()[0] for line in others[: len(features)]] == features
    model = gdopt.Model.load("run")
    assert model.schema.target == target
    measured = model.evaluate("d.csv").metrics
    assert measured.get("accuracy", measured.get("r2")) > 0.85


def test_predict_in_the_shell_equals_the_library(case, command, tmp_path):
    target, features, data, form, _ = case
    model = gdopt.Model.load("run")
    expected = model.predict("d.csv")
    write(tmp_path / "new.csv", rows_of(features[::-1], data), *form)  # no target
    assert command("predict", "run", "new.csv", "--out", "p.csv").code == 0
    said = command("predict", "run", "d.csv").out
    assert (tmp_path / "p.csv").read_text() == said
    head, *cells = said.split()
    assert head == target
    if target == "side":
        assert cells == expected.tolist()
        right = np.mean([p == t for p, t in zip(cells, data["side"], strict=True)])
        said = command("predict", "run", "d.csv", "--proba").out.splitlines()
        assert said[0] == "side,p(left),p(right)"
        shares = [[float(cell) for cell in line.split(",")[1:]] for line in said[1:]]
        np.testing.assert_array_equal(shares, model.predict_proba("d.csv"))
        assert (
            f"90 examples, accuracy {right:.3f}"
            in command("evaluate", "run", "d.csv").out
        )
    else:
        assert [float(cell) for cell in cells] == expected.tolist()
        wrong = command("predict", "run", "d.csv", "--proba")
        assert (wrong.code, wrong.out) == (2, "")
        assert "output='softmax' or 'sigmoid', got 'linear'" in wrong.err


def test_wrong_columns_are_refused_by_name(case, command, tmp_path):
    _, features, data, form, _ = case
    other = data | {"other": data["b"]}
    for names, message in (
        (features[1:], f"missing '{features[0]}'"),
        ([*features, "other"], "unknown 'other'"),
        ([*features[1:], "other"], f"missing '{features[0]}'; unknown 'other'"),
    ):
        write(tmp_path / "new.csv", rows_of(names, other), *form)
        found = command("predict", "run", "new.csv")
        assert (found.code, found.out) == (2, "")
        assert f"columns must be those of the model: {message}" in found.err


def test_a_row_without_a_number_is_refused(case, command, tmp_path):
    _, features, data, form, _ = case
    holes = data | {"a": [*data["a"][:4], "nan", *data["a"][5:]]}
    write(tmp_path / "new.csv", rows_of(features, holes), *form)
    found = command("predict", "run", "new.csv")
    assert (found.code, found.out) == (2, "")
    assert "line 6, column" in found.err
    model = gdopt.Model.load("run")
    X = np.zeros((3, model.network.sizes[0]))
    X[1, 0] = np.nan
    with pytest.raises(gdopt.ArgumentError, match="got nan in row 1, feature 0"):
        model.predict(X)


def test_excluded_columns_may_be_there_when_predicting(command, numpy_engine, tmp_path):
    names = ["b", "a", "side"]
    write(tmp_path / "d.csv", rows_of(names, examples()))
    options = ("--target", 3, "--exclude", "b", "--out", "run")
    found = command("train", "d.csv", *options, *FEW)
    assert "b       -        left out" in found.out.splitlines()
    assert command("predict", "run", "d.csv").code == 0


def test_any_name_of_a_column_will_do(command, numpy_engine, tmp_path):
    names, data = ["$a", "b/\\c", " %(d)s{} "], examples()
    rows = zip(data["a"], data["b"], data["side"], strict=True)
    write(tmp_path / "$d$.csv", [names, *rows])
    target = ("--target", names[2].strip(), "--out", "run")
    assert command("train", "$d$.csv", *target, *FEW).code == 0
    assert command("predict", "run", "$d$.csv").out.startswith("%(d)s{}\n")


def test_without_a_target_it_is_asked_for(command, tmp_path):
    write(tmp_path / "d.csv", rows_of(["side", "a", "color"], examples()))
    found = command("train", "d.csv", *FEW)
    assert found.code == 2
    assert "target must be named (--target NAME in the shell)" in found.err
    assert not (tmp_path / "runs").exists()
    digits = command("train", "digits", "--target", "y")
    assert "--target is of a CSV file, got digits" in digits.err


def test_evaluate_uses_scikit_learns_figures(command, numpy_engine, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    write(tmp_path / "d.csv", rows_of(["a", "b", "side"], examples()))
    command("train", "d.csv", "--target", "side", "--out", "run", *FEW)
    found = gdopt.Model.load("run").evaluate("d.csv")
    pair = found.truth, found.predicted
    report = metrics.classification_report(*pair, output_dict=True)
    for name, figures in found.per_class.items():
        assert figures == pytest.approx(tuple(report[name].values()))
    expected = metrics.confusion_matrix(*pair)
    assert found.confusion.tolist() == expected.tolist()
    assert "precision  recall  f1-score  support" in str(found)
    write(tmp_path / "r.csv", rows_of(["a", "b", "price"], examples()))
    command("train", "r.csv", "--target", "price", "--out", "r", *FEW)
    found = gdopt.Model.load("r").evaluate("r.csv")
    pair = found.truth, found.predicted
    expected = metrics.r2_score(*pair), metrics.mean_absolute_error(*pair)
    assert tuple(found.metrics.values()) == pytest.approx(expected)


def test_a_model_of_arrays_predicts_arrays(command, numpy_engine, tmp_path):
    data = examples()
    X, y = np.array([data["a"], data["b"]]).T, np.array(data["a"]) > 0
    np.savez(tmp_path / "d.npz", X=X, y=np.where(y, 7, 3))
    assert command("train", "d.npz", "--out", "run", *FEW).code == 0
    model = gdopt.Model.load("run")
    assert np.mean(model.predict(X) == np.where(y, "7", "3")) > 0.9
    assert model.predict(X).tolist() == model.predict("d.npz").tolist()
    assert (
        model.evaluate("d.npz").metrics == model.evaluate(X, np.where(y, 7, 3)).metrics
    )
    for wrong, message in (
        (X[:, :1], r"shape \(m, 2\), got float64 of shape \(90, 1\)"),
        (X.astype(str), r"real numbers of shape \(m, 2\), got <U"),
    ):
        with pytest.raises(gdopt.ArgumentError, match=message):
            model.predict(wrong)
    with pytest.raises(gdopt.ArgumentError, match="classes 3, 7, got 9"):
        model.evaluate(X, np.full(90, 9))


def test_pixels_stay_whole_numbers(command, numpy_engine):
    datasets = pytest.importorskip("sklearn.datasets")
    assert command("train", "digits", "--out", "run", *FEW[:2], "--epochs", 5).code == 0
    model, (X, y) = gdopt.Model.load("run"), datasets.load_digits(return_X_y=True)
    assert model.evaluate(X, y).metrics["accuracy"] > 0.8
    with pytest.raises(gdopt.ArgumentError, match="numbers of uint8, as in training"):
        model.predict(X + 0.5)


def test_a_folder_without_a_model_is_refused(command, tmp_path):
    found = command("predict", "run", "d.csv")
    assert (found.code, found.out) == (2, "")
    assert "run must be a folder with model.npz in it, got 'run'" in found.err


def test_the_winner_of_a_search_is_trained(command, numpy_engine, tmp_path):
    pytest.importorskip("optuna")
    write(tmp_path / "d.csv", rows_of(["side", "a", "b"], examples(120)))
    search = ("--target", "side", "--backend", "numpy", "--epochs", 4, "--trials", 4)
    files = ("--json", "tune.json", "--picture", "t.png")
    assert command("tune", "d.csv", *search, *files).code == 0
    trials = json.loads((tmp_path / "tune.json").read_text())["search"]["trials"]
    best = max(trial["score"] for trial in trials)
    own = ("--from", "tune.json", "--backend", "numpy", "--out", "run")
    found = command("train", "d.csv", *own)
    assert found.code == 0, found.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["accuracy"]["dev"] == best
    assert "momentum, 4 epochs" in found.out
    longer = command("train", "d.csv", *own[:-1], "more", "--epochs", 5)
    assert "momentum, 5 epochs" in longer.out
    (tmp_path / "tune.json").write_text("{}")
    wrong = command("train", "d.csv", *own[:-1], "other")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--from must name a file by gdopt tune --json" in wrong.err


def test_a_regression_is_searched_and_planned_too(command, numpy_engine, tmp_path):
    pytest.importorskip("optuna")
    write(tmp_path / "d.csv", rows_of(["a", "b", "price"], examples()), ";", ",")
    target = ("--target", "price", "--backend", "numpy", "--picture", "p.png")
    found = command("tune", "d.csv", *target, "--epochs", 2, "--trials", 3)
    assert found.code == 0, found.err
    assert "best dev loss" in found.out
    sizes = ("--sizes", "8,16", "--hidden", 4)
    assert command("plan", "d.csv", *target, *sizes).code == 0


WRITTEN = [  # in a file of a search: where, what, and what is said of it
    (("settings", "optimizer"), "new", "--optimizer: invalid choice: 'new'"),
    (("settings", "optimizer"), None, "--optimizer: invalid choice: 'None'"),
    (("settings", "epochs"), [], "--epochs: must be a whole number"),
    (("settings", "l2"), float("nan"), "--l2: must be a number of at least 0"),
    (("search", "direction"), "up", "--from must name a file by gdopt tune"),
    (("search", "trials", 0, "values"), None, "--from must name a file by gdopt tune"),
    (("search", "trials", 0, "values", "batch_size"), 8.0, "--batch-size: must be a"),
    (("search", "trials", 0, "values", "hidden_units"), "x", "--hidden: must be whole"),
    (("search", "trials", 0, "values", "layers"), 10**30, "--from must name a file by"),
]


@pytest.mark.parametrize("case", WRITTEN)
def test_what_no_option_can_be_is_none_from_a_file(
    command, numpy_engine, tmp_path, case
):
    (*path, last), value, message = case
    write(tmp_path / "d.csv", rows_of(["side", "a", "b"], examples()))
    values = {"learning_rate": 0.1, "hidden_units": 3, "batch_size": 8, "layers": 2}
    search = {"direction": "maximize", "trials": [{"values": values, "score": 0.5}]}
    content = {"settings": {"optimizer": "sgd", "epochs": 1, "l2": 0.0, "seed": 0}}
    content["search"] = search
    part = content
    for key in path:
        part = part[key]
    part[last] = value
    write_json(tmp_path / "t.json", content)
    found = command("train", "d.csv", "--from", "t.json", "--target", "side")
    assert (found.code, found.out) == (2, "")
    assert message in found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize("option", ["--delimiter", "--decimal", "--target"])
def test_an_option_without_text_is_refused(command, tmp_path, option):
    write(tmp_path / "d.csv", rows_of(["side", "a", "b"], examples()))
    found = command("train", "d.csv", option, "")
    assert (found.code, found.out) == (2, "")
    assert f"{option.strip('-')} must be" in found.err
