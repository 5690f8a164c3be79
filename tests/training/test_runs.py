import json

import numpy as np
import pytest

import gdopt
from gdopt.training import Record, RunFolder, load


def record(step, **changes):
    values = {
        "epoch": 1,
        "step": step,
        "loss": 1 / step,
        "smoothed_loss": 0.5,
        "lr": 0.1,
        "dev_accuracy": None,
        "examples_per_second": 1e4,
    }
    return Record(**values | changes)


def lines_of(folder):
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_settings_are_written_at_once(tmp_path):
    with RunFolder(tmp_path / "a" / "run", {"seed": 3, "name": "Zürich"}) as run:
        text = (run.path / "settings.json").read_text(encoding="utf-8")
        assert json.loads(text) == {"seed": 3, "name": "Zürich"}


def test_every_record_is_on_disk_as_soon_as_it_is_written(tmp_path):
    with RunFolder(tmp_path / "run", {}) as run:
        run.write(record(1))
        run.write(record(2, dev_accuracy=0.5, lr=None))
        first, second = lines_of(run.path)
    assert first == {
        "epoch": 1,
        "step": 1,
        "loss": 1.0,
        "smoothed_loss": 0.5,
        "lr": 0.1,
        "dev_accuracy": None,
        "examples_per_second": 10000.0,
    }
    assert (second["dev_accuracy"], second["lr"]) == (0.5, None)


def test_a_notice_stands_in_its_line_alone(tmp_path):
    with RunFolder(tmp_path / "run", {}) as run:
        run.write(record(1))
        run.write(record(2, warning="the loss rose"))
    assert [line.get("warning") for line in lines_of(run.path)] == [
        None,
        "the loss rose",
    ]


def test_the_end_leaves_the_model_and_a_summary(tmp_path):
    with RunFolder(tmp_path / "run", {}) as run:
        run.finish({"W": np.ones(2)}, {"test_accuracy": 0.75})
    np.testing.assert_array_equal(np.ones(2), load(run.path / "model.npz")["W"])
    text = (run.path / "summary.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"test_accuracy": 0.75}


def test_an_empty_folder_is_taken(tmp_path):
    with RunFolder(tmp_path, {"seed": 1}) as run:
        assert run.path == tmp_path


def test_a_folder_with_something_in_it_is_refused_and_stays_as_it_is(tmp_path):
    with RunFolder(tmp_path / "run", {"seed": 1}) as run:
        run.write(record(1))
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    message = (
        r"a new or empty folder, got .*run' with metrics\.jsonl, settings\.json in"
    )
    with pytest.raises(gdopt.ArgumentError, match=message):
        RunFolder(run.path, {"seed": 2})
    assert before == {path: path.read_bytes() for path in run.path.iterdir()}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(gdopt.ArgumentError, match=r"a new folder, got a file: .*run'"):
        RunFolder(tmp_path / "run", {})


def test_numbered_folders_begin_at_one_and_leave_what_is_there(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits-2").mkdir()
    names = []
    for _ in range(3):
        with RunFolder.numbered(tmp_path / "runs" / "digits", {}) as run:
            names.append(run.path.name)
    assert names == ["digits-1", "digits-3", "digits-4"]
    assert not list((tmp_path / "runs" / "digits-2").iterdir())


def test_a_dev_loss_stands_in_its_line_alone(tmp_path):
    with RunFolder(tmp_path / "run", {}) as run:
        run.write(record(1))
        run.write(record(2, dev_loss=0.25))
    first, second = lines_of(run.path)
    assert "dev_loss" not in first
    assert second["dev_loss"] == 0.25
