import json
import re
import warnings

import numpy as np
import pytest

import gdopt
from gdopt.cli import prepare
from gdopt.cli.prepare import load_problem
from gdopt.data import split
from gdopt.training import load

pytest.importorskip("rich")
pytest.importorskip("matplotlib")


@pytest.fixture
def train(command, numpy_engine):
    """Return ``train(file)``: a short training on a file, on the CPU."""

    def run(*arguments):
        return command("train", *arguments, "--backend", "numpy", "--epochs", 30)

    return run


def points(count=90):
    generator = np.random.default_rng(1)
    X = generator.standard_normal((count, 2)) * [1, 1000]
    return X, X[:, 0] > 0


def test_a_csv_with_names_of_classes_is_learned(train, tmp_path):
    X, positive = points()
    rows = [
        f"{a},{b},{'right' if p else 'left'}"
        for (a, b), p in zip(X, positive, strict=True)
    ]
    (tmp_path / "points.v2.csv").write_text("x,y,side\n" + "\n".join(rows))
    found = train("points.v2.csv")
    assert found.code == 0
    folder = tmp_path / "runs" / "points-1"
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["classes"] == ["left", "right"]
    assert json.loads((folder / "summary.json").read_text())["accuracy"]["test"] > 0.8
    normalizer = load(folder / "model.npz")["normalizer"]
    assert normalizer["scale"][1] / normalizer["scale"][0] == pytest.approx(
        1e3, rel=0.3
    )


def test_class_numbers_need_not_begin_at_zero(train, tmp_path):
    X, positive = points()
    np.savez(tmp_path / "points.npz", X=X, y=np.where(positive, 7, -1))
    assert train("points.npz").code == 0
    settings = json.loads(
        (tmp_path / "runs" / "points-1" / "settings.json").read_text()
    )
    assert settings["classes"] == ["-1", "7"]


def test_pixels_are_normalized_together(train, tmp_path):
    X = np.random.default_rng(0).integers(0, 256, (60, 3, 3), np.uint8)
    np.savez(tmp_path / "images.npz", X=X, y=X[:, 0, 0] // 128)
    assert train("images.npz").code == 0
    normalizer = load(tmp_path / "runs" / "images-1" / "model.npz")["normalizer"]
    assert (normalizer["mean"].shape, normalizer["scale"].shape) == ((), ())


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((90, 2), int), r"must be of shape \(m,\), got \(90, 2\)"),
        (np.arange(90), "targets must be of 2 classes .* got 90 in 90 examples"),
        (np.zeros(90, int), "targets must be of 2 classes or more, .* got 1 in 90"),
    ],
)
def test_targets_that_are_no_classes_are_refused(train, tmp_path, y, message):
    np.savez(tmp_path / "points.npz", X=points()[0], y=y)
    found = train("points.npz")
    assert found.code == 2
    assert re.search(message, found.err)
    assert not (tmp_path / "runs").exists()


def test_a_warning_of_the_split_is_a_line_of_its_own(train, tmp_path, monkeypatch):
    def warn(*arrays, **options):
        warnings.warn("dev and test differ", gdopt.DataWarning, stacklevel=2)
        return split(*arrays, **options)

    monkeypatch.setattr(prepare, "split", warn)
    X, positive = points()
    np.savez(tmp_path / "points.npz", X=X, y=positive.astype(int))
    found = train("points.npz")
    assert found.code == 0
    assert found.err.startswith("gdopt: warning: dev and test differ\n")


def test_the_seed_decides_which_examples_are_for_what(tmp_path):
    X, positive = points()
    np.savez(tmp_path / "points.npz", X=X, y=positive.astype(int))
    backend = gdopt.get_backend("numpy")
    one, again, other = (
        load_problem(str(tmp_path / "points.npz"), seed, backend).test[0]
        for seed in (1, 1, 2)
    )
    assert (len(one), len(other)) == (18, 18)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_file_that_is_not_there_is_named(train):
    found = train("digit")
    assert found.code == 2
    assert "data must be digits or a file that exists, got 'digit'" in found.err


def test_a_damaged_file_is_named(train, tmp_path):
    (tmp_path / "points.npz").write_bytes(b"PK\3\4 but no more")
    found = train("points.npz")
    assert found.code == 2
    assert "points.npz: must be" in found.err
