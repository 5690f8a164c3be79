import csv
import dataclasses
import json
import sys

import numpy as np
import pytest

import gdopt
from gdopt.training import load, save
from gdopt.training.records import History, Record, Result

NAN = float("nan")
RECORDS = [
    Record(1, 1, 0.1 + 0.2, 1 / 3, lr=1e-3, seconds=0.5, examples_per_second=1e4),
    Record(3, 1, 0.25, 0.3, seconds=1.5, warning='the loss "rose",\nby 1e-3'),
    Record(4, 2, 1e-17, 0.2, seconds=2.0, grad_norm=5e-324, dev_accuracy=1.0),
]


def made(records=RECORDS):
    history = History()
    for record in records:
        history.append(record)
    return history


def same(one, other):
    equal = all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
    return equal and one.warnings == other.warnings


def test_each_number_of_a_record_has_an_array_of_its_name():
    history = made()
    numbers = {field.name for field in dataclasses.fields(Record)} - {"warning"}
    assert set(history) == numbers
    assert len(history) == len(numbers)
    for name in numbers:
        values = [getattr(record, name) for record in RECORDS]
        expected = [NAN if value is None else value for value in values]
        assert history[name].dtype == np.float64
        assert np.array_equal(history[name], expected, equal_nan=True)
    assert history.warnings == [(3, RECORDS[1].warning)]
    with pytest.raises(KeyError, match="warning"):
        history["warning"]


def test_arrays_are_copies_that_later_records_do_not_touch():
    history = made()
    loss = history["loss"]
    history.append(RECORDS[0])
    loss[0] = 7
    assert len(loss) == 3
    assert history["loss"].tolist() == [0.1 + 0.2, 0.25, 1e-17, 0.1 + 0.2]


def test_an_empty_history_has_empty_arrays(tmp_path):
    assert History()["loss"].shape == (0,)
    History().to_jsonl(tmp_path / "run.jsonl")
    History().to_csv(tmp_path / "run.csv")
    assert (tmp_path / "run.jsonl").read_bytes() == b""
    assert (tmp_path / "run.csv").read_text().split(",")[0] == "step"


def test_a_record_with_something_that_is_not_a_number_changes_nothing():
    history = made()
    with pytest.raises(TypeError):
        history.append(Record(5, 2, loss="0.5", smoothed_loss=0.5))
    assert same(history, made())


def test_a_csv_file_holds_every_bit_and_empty_cells(tmp_path):
    made().to_csv(tmp_path / "new" / "run.csv")
    content = (tmp_path / "new" / "run.csv").read_bytes()
    assert b"\r" not in content
    rows = list(csv.DictReader(content.decode().splitlines()))
    assert list(rows[0]) == list(History())
    for row, record in zip(rows, RECORDS, strict=True):
        for name, cell in row.items():
            value = getattr(record, name)
            assert cell == ("" if value is None else repr(value))


def test_a_jsonl_file_holds_what_was_recorded_and_nothing_else(tmp_path):
    made().to_jsonl(tmp_path / "run.jsonl")
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    for line, record in zip(lines, RECORDS, strict=True):
        known = {k: v for k, v in vars(record).items() if v is not None}
        assert json.loads(line) == known
        assert f'"step": {record.step},' in line


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    made().to_csv(tmp_path / "run.csv")
    before = (tmp_path / "run.csv").read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        made(RECORDS[:1]).to_csv(tmp_path / "run.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]
    assert (tmp_path / "run.csv").read_bytes() == before


@pytest.mark.peers("pandas")
def test_a_table_of_pandas_has_a_row_for_each_record(tmp_path):
    import pandas as pd

    table = made().to_pandas()
    assert list(table.columns) == list(History())
    assert [str(kind) for kind in table.dtypes] == ["int64"] * 2 + ["float64"] * 8
    made().to_csv(tmp_path / "run.csv")
    read = pd.read_csv(tmp_path / "run.csv")
    pd.testing.assert_frame_equal(read, table, check_exact=True)


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    message = r'History.to_pandas needs pandas, .* pip install -e "\.\[pandas\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        made().to_pandas()


@pytest.mark.parametrize("count", range(4))
def test_a_saved_history_continues_bit_for_bit(count, tmp_path):
    save(tmp_path / "history.npz", made(RECORDS[:count]).state_dict())
    rest = made(RECORDS[::-1])
    rest.load_state_dict(load(tmp_path / "history.npz"))
    for record in RECORDS[count:]:
        rest.append(record)
    assert same(rest, made())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": np.zeros(2)}, r"loss of history must be float64 of shape \(3,\)"),
        ({"loss": np.zeros(3, np.float32)}, "loss of history must be float64"),
        ({"loss": None}, "loss of history must be float64"),
        ({"step": np.zeros((3, 1))}, "step of history must be float64"),
        ({"step": "1"}, "step of history must be float64"),
        ({"step": np.array([1, 2, NAN])}, "step of history must be whole numbers"),
        ({"epoch": np.array([1, 2.5, 3])}, "epoch of history must be whole numbers"),
        ({"epoch": np.array([1, 2, np.inf])}, "epoch of history must be whole"),
        ({"warnings": None}, "warnings of history must be pairs"),
        ({"warnings": [3]}, "warnings of history must be pairs"),
        ({"warnings": [("x", "text")]}, "warnings of history must be pairs"),
        ({"warnings": [(1, 2)]}, "warnings of history must be pairs"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(change, message):
    history = made(RECORDS[:2])
    with pytest.raises(gdopt.StateError, match=message):
        history.load_state_dict(made().state_dict() | change)
    assert same(history, made(RECORDS[:2]))


def result(x, **changes):
    values = {
        "fun": 0.5,
        "grad_norm": 3e-6,
        "nit": 12,
        "nfev": 15,
        "reason": "The gradient is below gtol=1e-05.",
        "success": True,
    }
    return Result(x, **values | changes, history=made())


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.ones(2), "array([1., 1.])"),
        (np.ones((300, 2), np.float32), "float32 of shape (300, 2)"),
        ({"W1": np.ones((4, 9)), "b1": np.ones(4)}, "W1(4, 9), b1(4,)"),
        ([{"W": np.ones(9)}, np.ones(4)], "0.W(9,), 1(4,)"),
        ([np.ones(k) for k in range(1, 301)], "9(10,) and 290 more"),
        (gdopt.Arena.of({"W": np.ones(9)}), "W(9,)"),
    ],
)
def test_a_result_shows_the_shapes_of_its_parameters(x, expected):
    lines = str(result(x)).splitlines()
    assert lines[-1].startswith("        x: ")
    assert lines[-1].endswith(expected)


def test_a_result_is_aligned_and_leaves_out_what_is_not_known():
    lines = str(result(np.ones(2), grad_norm=None)).splitlines()
    assert {line.index(":") for line in lines} == {len("success")}
    names = [line.split(":")[0].strip() for line in lines]
    assert names == ["reason", "success", "fun", "nit", "nfev", "x"]


def test_results_of_arrays_can_be_compared():
    one = result(np.ones(3))
    assert [one] == [one]
    assert [one] != [result(np.ones(3))]
