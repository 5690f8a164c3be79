"""``gdopt ewa`` reads a column, prints a table, and leaves JSON and a picture."""

import argparse
import json

import numpy as np
import pytest

import gdopt
from gdopt.cli import ewa
from gdopt.data.readers import read_column

pytest.importorskip("matplotlib")
DAYS = "day,degrees\n1,40\n2,49\n\n3,45\n"


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return ``command(...)``, which runs gdopt ewa in an empty folder."""
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser(prog="gdopt")
    ewa.add_options(parser)

    def run(*arguments):
        assert ewa.run(parser.parse_args(arguments)) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def write(tmp_path):
    """Return ``write(text)``: leave a file in the folder of the test."""

    def make(text, name="days.csv"):
        (tmp_path / name).write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )
        return name

    return make


def test_the_figures_of_the_course_stand_in_the_table(command, write):
    write("degrees\n40\n50\n")
    lines = command("days.csv", "--beta", ".98").splitlines()
    assert lines[0] == "days.csv, degrees: 2 values, the last 50"
    head, row = lines[1:3]
    assert head.split("  ") == [
        *("beta", "window", "last, corrected", "not corrected", "lag")
    ]
    # With bias correction: (.0196 * 40 + .02 * 50) / .0396
    assert row.split() == ["0.98", "50", "45.0505", "1.784", "49"]
    assert lines[-1] == "picture days-ewa.png"


def test_windows_stand_for_betas(command, write, tmp_path):
    write(DAYS)
    days = "days.csv", "--column", "2"
    command(*days, "--beta", "0.9", "0.98", "0.5", "--json", "betas.json")
    command(*days, "--window", "10", "50", "2", "--json", "windows.json")
    betas, windows = (tmp_path / f"{name}.json" for name in ("betas", "windows"))
    assert betas.read_text() == windows.read_text()
    with pytest.raises(gdopt.ArgumentError, match="--window must be 1 to 6 numbers"):
        command(*days, "--window", *["2"] * 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "0.5"], "--window: must be a number of at least 1, got '0.5'"),
        (["--window", "9", "--beta", ".9"], "not allowed with argument"),
    ],
)
def test_a_window_below_1_or_with_a_beta_is_refused(command, capsys, options, message):
    with pytest.raises(SystemExit):
        command("days.csv", *options)
    assert message in capsys.readouterr().err


def test_json_holds_the_series_and_both_averages_of_every_beta(
    command, write, tmp_path
):
    write(DAYS)
    command("days.csv", "--column", "degrees", "--json", "deep/er.json")
    found = json.loads((tmp_path / "deep" / "er.json").read_text(encoding="utf-8"))
    assert (found["file"], found["column"]) == ("days.csv", "degrees")
    series = np.array(found["values"])
    assert series.tolist() == [40, 49, 45]
    assert [row["beta"] for row in found["averages"]] == [0.9, 0.98, 0.5]
    for row in found["averages"]:
        beta, v = row["beta"], 0.0
        for t, x in enumerate(series, 1):
            v = beta * v + (1 - beta) * x
            assert row["uncorrected"][t - 1] == pytest.approx(v)
            assert row["corrected"][t - 1] == pytest.approx(v / (1 - beta**t))
        assert row["window"] == pytest.approx(1 / (1 - beta))
        assert row["lag"] == pytest.approx(beta / (1 - beta))


def test_a_rising_series_is_followed_at_the_lag(command, write, tmp_path):
    write("\n".join(str(3 * k) for k in range(500)))
    command("days.csv", "--beta", "0.9", "--json", "found.json")
    (row,) = json.loads((tmp_path / "found.json").read_text())["averages"]
    assert (3 * 499 - row["corrected"][-1]) / 3 == pytest.approx(row["lag"])


@pytest.mark.parametrize("text", ["7\n7\n7\n", "7\n"])
def test_a_constant_series_is_its_own_average(command, write, tmp_path, text):
    write(text)
    command("days.csv", "--beta", "0.9", "--json", "found.json")
    (row,) = json.loads((tmp_path / "found.json").read_text())["averages"]
    assert row["corrected"] == pytest.approx([7] * text.count("7"))


def test_pictures_that_are_there_are_let_be(command, write, tmp_path):
    write(DAYS)
    (tmp_path / "days-ewa.png").write_text("mine")
    assert "picture days-ewa-2.png" in command("days.csv", "--column", "2")
    assert "picture days-ewa-3.png" in command("days.csv", "--column", "2")
    assert (tmp_path / "days-ewa.png").read_text() == "mine"
    assert (tmp_path / "days-ewa-3.png").read_bytes()[:4] == b"\x89PNG"
    assert "picture my.png" in command(
        "days.csv", "--column", "2", "--picture", "my.png"
    )


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        (DAYS, "degrees", ("degrees", [40, 49, 45])),
        (DAYS, 1, ("degrees", [40, 49, 45])),
        (DAYS, "1", ("day", [1, 2, 3])),
        ("5\n6\n", None, ("column 1", [5, 6])),
        ("5,a\n6,b\n", "1", ("column 1", [5, 6])),
        ("2019,2020\n3,8\n", "2020", ("2020", [8])),
        ('\ufeff"a, b", c \n" 1",2e3', "c", ("c", [2000])),
        ("a;b\n-1,5;1\n", "a", ("a", [-1.5])),
    ],
)
def test_a_column_is_found_by_name_or_number(write, tmp_path, text, column, expected):
    write(text)
    name, values = read_column(tmp_path / "days.csv", column)
    assert expected == (name, values.tolist())
    assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a,b\n1,2\n3,x\n", "b", r"line 3, column 2 \(b\): a column must .* 'x'"),
        ("1\n-inf\n", None, "line 2, column 1: a column must hold .*, got '-inf'"),
        ("a,b\n1,2\n3\n", "b", "line 3 must have 2 cells like the first, got 1"),
        ("a,b\n1,2\n", "c", "one of 2 columns, got 'c'; they are a, b"),
        ("a,b\n1,2\n", "3", "one of 2 columns, got '3'"),
        ("a,b\n1,2\n", None, "column must be named where there are several: a, b"),
        ("", None, "must hold a table, got an empty file"),
        ("a\n", None, "must hold rows of data, got a header alone"),
    ],
)
def test_what_is_no_series_is_refused_by_line(write, tmp_path, text, column, message):
    write(text)
    with pytest.raises(gdopt.ArgumentError, match=message):
        read_column(tmp_path / "days.csv", column)


def test_gaps_do_not_change_an_average(command, write, tmp_path):
    write("day;t\n1;40,5\n2;\n3;NA\n4;50\n")
    lines = command("days.csv", "--column", "t", "--json", "found.json").splitlines()
    assert lines[0] == "days.csv, t: 2 values and 2 gaps, the last 50"
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["values"] == [40.5, None, None, 50]
    assert found["averages"][0]["uncorrected"] is None
    assert lines[2].split()[3] == "-"
    row = found["averages"][0]["corrected"]
    assert row[0] == row[2] == pytest.approx(40.5)
    assert row[3] == pytest.approx((0.9 * 0.1 * 40.5 + 0.1 * 50) / 0.19)
    write("t\n?\nNA\n")
    with pytest.raises(gdopt.ArgumentError, match="must hold a value, got gaps"):
        command("days.csv", "--column", "1")


def test_a_refused_file_leaves_nothing_behind(command, write, tmp_path):
    write("1\nx\n")
    with pytest.raises(gdopt.ArgumentError, match="line 2"):
        command("days.csv", "--json", "found.json")
    with pytest.raises(gdopt.ArgumentError, match="--beta must be 1 to 6 numbers"):
        command("days.csv", "--beta", *["0.5"] * 7)
    with pytest.raises(gdopt.ArgumentError, match="a file that exists"):
        command("nowhere.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["days.csv"]


@pytest.mark.parametrize("beta", ["1", "-0.1", "nan", "much"])
def test_a_beta_out_of_its_range_is_refused(command, write, capsys, beta):
    write(DAYS)
    with pytest.raises(SystemExit):
        command("days.csv", f"--beta={beta}")
    assert f"must be in [0, 1), got '{beta}'" in capsys.readouterr().err
