import gzip
import json

import numpy as np
import pytest
from data.examples import IRIS

from gdopt.data import read, read_csv
from gdopt.data.csv import read_table
from gdopt.data.readers import read_column
from gdopt.data.schema import Schema
from gdopt.errors import ArgumentError, ArgumentTypeError, DataWarning


def test_csv_with_a_header_and_text_classes(write):
    data = read(write(IRIS))
    assert data.X.tolist() == [[3.5, 5.1], [3.2, 7.0], [3.0, 4.9]]
    assert data.y.tolist() == [0, 1, 0]
    assert data.classes == ("setosa", "versicolor")
    assert data.feature_names == ("width", "length")


@pytest.mark.parametrize("target", ["kind", "1", 0, -3])
def test_the_target_may_be_any_column(write, target):
    text = "kind,width,length\nb,3.5,5.1\na,3.2,7.0\n"
    data = read_csv(write(text), target=target)
    assert data.X.tolist() == [[3.5, 5.1], [3.2, 7.0]]
    assert data.y.tolist() == [1, 0]
    assert data.feature_names == ("width", "length")


@pytest.mark.parametrize(
    ("cells", "classes", "y"),
    [
        ("0 1 1 0", ("0", "1"), [0, 1, 1, 0]),
        ("10 9 9 10", ("9", "10"), [1, 0, 0, 1]),
        ("-1 +1 1 -1", ("-1", "1"), [0, 1, 1, 0]),
        ("1.0 2 1 2.0", ("1", "2"), [0, 1, 0, 1]),
        ("007 7 7 007", ("007", "7"), [0, 1, 1, 0]),
        ("1_0 2_0", ("1_0", "2_0"), [0, 1]),
        ("\N{ARABIC-INDIC DIGIT ONE} \N{ARABIC-INDIC DIGIT TWO}", None, [0, 1]),
        (
            " ".join(2 * ["18446744073709551617", "18446744073709551616"]),
            ("18446744073709551616", "18446744073709551617"),
            [1, 0, 1, 0],
        ),
    ],
)
def test_classes_are_what_the_file_says(write, cells, classes, y):
    cells = cells.split()
    text = "".join(f"{k}.5,{cell}\n" for k, cell in enumerate(cells))
    data = read_csv(write(text), target=1, header=False)
    assert data.classes == (classes or tuple(sorted(cells)))
    assert data.y.tolist() == y
    assert data.y.dtype == np.int64


def test_numbers_are_a_regressions_target_where_they_are_not_whole(write):
    data = read_csv(write("a,y\n1,0.5\n2,2\n3,1e2\n"), target="y")
    assert data.y.tolist() == [0.5, 2, 100]
    assert (data.classes, data.schema.task) == (None, "regression")


def test_whole_numbers_that_hardly_repeat_need_a_task(write):
    path = write("a,y\n1,5\n2,6\n3,7\n4,7\n")
    with pytest.raises(ArgumentError, match=r"task must be .*--task.* 'y' with 3 diff"):
        read_csv(path, target="y")
    assert read_csv(path, target="y", task="regression").y.tolist() == [5, 6, 7, 7]
    data = read_csv(path, target="y", task="classification")
    assert data.classes == ("5", "6", "7")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,b,y\n1,2,p\n3,4,q\n",
        "a,b,y\r\n1,2,p\r\n3,4,q\r\n",
        "a,b,y\r1,2,p\r3,4,q\r",
        "a,b,y\n1,2,p\n3,4,q",
        "\na,b,y\n\n1,2,p\n  \n3,4,q\n\n\n",
        '"a","b","y"\n"1","2","p"\n"3",4,q\n',
        "a, b, y \n 1, 2 , p\n3 ,4, q \n",
        'a ,b,y\n1, "2",p\n3,4,"q"\n',
        "a;b;y\n1;2;p\n3;4;q\n",
        "a\tb\ty\n1\t2\tp\n3\t4\tq\n",
        "a|b|y\n1|2|p\n3|4|q\n",
        "a;b;y\n1,0;2;p\n3,0;4;q\n",
        "# a,b,y\n1,2,p\n3,4,q\n",
    ],
)
def test_csv_in_any_dress_gives_the_same_data(write, text):
    data = read_csv(write(text), target="y")
    assert data.X.tolist() == [[1, 2], [3, 4]]
    assert data.y.tolist() == [0, 1]
    assert data.feature_names == ("a", "b")


@pytest.mark.parametrize("name", ["data.csv.gz", "DATA.TSV.GZ", "data.txt"])
def test_names_of_files_say_how_they_are_read(write, name):
    text = IRIS.encode()
    content = gzip.compress(text) if name.lower().endswith("gz") else text
    assert read(write(content, name)).X.shape == (3, 2)


@pytest.mark.parametrize("cut", [slice(0, 20), slice(5, None), slice(0, -8)])
def test_a_damaged_gzip_file_is_refused(write, cut):
    path = write(gzip.compress(IRIS.encode())[cut], "data.csv.gz")
    with pytest.raises(
        ArgumentError, match=r"data\.csv\.gz: must be a whole gzip file"
    ):
        read(path)


def test_a_gzip_file_that_was_changed_is_refused(write):
    content = bytearray(gzip.compress(IRIS.encode() * 50))
    content[30] ^= 255
    with pytest.raises(ArgumentError, match="must be a whole gzip file"):
        read(write(bytes(content), "data.csv.gz"))


def test_quoted_cells_hold_delimiters_and_line_ends(write):
    text = '"the ""a"", in\r\nmm",y\n1,"big, red"\n2,"small"\n'
    data = read_csv(write(text), target="y")
    assert data.feature_names == ('the "a", in\r\nmm',)
    assert data.classes == ("big, red", "small")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,2,p\n3,4,q\n", None),
        ("1,2,0\n3,4,0\n", None),
        (",b,y\n1,2,p\n", ("column 1", "b")),
        ("1990,1991,y\n1,2,p\n", ("1990", "1991")),
        ("1990,1991,0\n1992,1993,0\n", None),
        ("NA,2,p\n3,4,q\n", None),
        ("a,1,y\n1,2,0\n", ("a", "1")),
    ],
)
def test_a_header_is_found_and_names_the_features(write, text, names):
    path = write(text)
    if "NA" in text:
        with pytest.raises(ArgumentError, match="line 1, column 1: a cell must not be"):
            read_csv(path, target=2)
        return
    data = read_csv(path, target=2, task="classification")
    assert data.feature_names == names
    assert len(data.X) == text.count("\n") - (names is not None)


def test_header_decides_where_given(write):
    path = write("1,2,0\n3,4,0\n5,6,0\n")
    assert read_csv(path, target="0", header=True).X.tolist() == [[3, 4], [5, 6]]
    assert len(read_csv(path, target=2, header=False).X) == 3


def test_text_is_one_hot_encoded(write):
    data = read_csv(write("c,n,y\nred,1,p\nblue,2,q\nred,3,p\n"), target="y")
    assert data.feature_names == ("c=blue", "c=red", "n")
    assert data.X.tolist() == [[0, 1, 1], [1, 0, 2], [0, 1, 3]]
    assert data.schema.columns == {"c": ("blue", "red"), "n": None}


def test_codes_with_leading_zeros_are_not_numbers(write):
    data = read_csv(write("zip,y\n007,p\n7,q\n"), target="y")
    assert data.feature_names == ("zip=007", "zip=7")


def test_columns_and_exclude_choose_the_features(write):
    path = write("id,a,b,y\nx,1,2,p\nz,3,4,q\n")
    assert read_csv(path, target="y", exclude=["id"]).feature_names == ("a", "b")
    assert read_csv(path, target="y", columns=["b", 1]).feature_names == ("b", "a")
    schema = read_csv(path, target="y", columns=["2"]).schema
    assert (schema.feature_names, schema.ignored) == (("a",), ("id", "b"))
    with pytest.raises(
        ArgumentError, match=r"exclude must be the name .* got 'c'; the"
    ):
        read_csv(path, target="y", exclude=["c"])
    with pytest.raises(ArgumentError, match="must have a feature in addition"):
        read_csv(path, target="y", columns=["y"])


def test_the_last_column_is_the_target_only_where_no_other_can_be(write):
    rows = "".join(f"{k % 3},{k / 7},{'pq'[k % 2]}\n" for k in range(40))
    with pytest.raises(ArgumentError, match=r"named \(--target.*: a, y of a, b, y"):
        read_csv(write("a,b,y\n" + rows))
    assert read_csv(write("a,b,y\n" + rows), columns=["b"], target="y").X.shape[1] == 1
    rows = "".join(f"{k % 2},{k / 7}\n" for k in range(40))
    with pytest.raises(ArgumentError, match="may hold classes: y of y, a"):
        read_csv(write("y,a\n" + rows))
    with pytest.raises(ArgumentError, match="may hold classes: none of y, a"):
        read_csv(write("y,a\n1.5,2.5\n3.5,4.5\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",b,y\n0,1.5,p\n1,2.5,q\n", "the first column has no name and counts"),
        ("id,b,y\n7,1.5,p\n3,2.5,q\n", "column 'id' differs in every row"),
        ("id,b,y\nu,1.5,p\nv,2.5,q\n", "column 'id' differs in every row"),
    ],
)
def test_columns_that_are_probably_no_features_are_noted(
    write, monkeypatch, text, message
):
    monkeypatch.setattr("gdopt.data.table.MANY", 2)
    with pytest.warns(DataWarning, match=message):
        assert len(read_csv(write(text), target="y").X) == 2


def test_too_many_categories_are_refused_with_the_column(write, monkeypatch):
    monkeypatch.setattr("gdopt.data.schema.MOST_BYTES", 60)
    path = write("id,c,y\na,1,p\nb,1,q\nc,1,p\n")
    with pytest.raises(ArgumentError, match="1 GiB, got 72 bytes; exclude 'id'"):
        read_csv(path, target="y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b,y\n1,,0\n",
            r"line 2, column 2 \(b\): a cell must not be missing .*, got ''",
        ),
        ("a,b,y\n1,1,0\n1,x,0\n", r"line 3, column 2 \(b\): a column must .*, got 'x'"),
        (
            "1,2,0\nNA,2,0\n",
            r"2, column 1: .*df.dropna\(subset=\['column 1'\]\)\), got",
        ),
        ("1,2,0\n?,2,0\n", "line 2, column 1: a cell must not be missing .*, got '?'"),
        ("1,2,0\n\n1,nan,0\n", "line 3, column 2: a cell must not be .*, got 'nan'"),
        ("1,2,0\n1,-inf,0\n", "line 2, column 2: a column must .*, got '-inf'"),
        ("1,2,0\n1,1e999,0\n", "line 2, column 2: a cell must be finite .*'1e999'"),
        ("1,2,0\n1,1_0,0\n", "line 2, column 2: a column must hold .*, got '1_0'"),
        (
            "1,2,0\n1,\N{ARABIC-INDIC DIGIT TWO},0\n",
            "line 2, column 2: a column must hold numbers .*, got",
        ),
        ("1,2,0\n1,9007199254740993,0\n", "column 2: a cell must be a number that flo"),
        ("a,y\n1,0\n2020-01-31,0\n", r"\(a\): a column must .*, got '2020-01-31'"),
        ("a,y\n31.01.2020,0\n2.1.20,0\n", r"line 2, .*: a date must .*pd.to_datetime"),
        (
            "a,y\n2020-01-31T10:00Z,0\n",
            r"\(a\): a date must .*df\['a'\] = \(pd.to_date",
        ),
        ("1,2,0\n1,2\n", "line 2 must have 3 cells like the first, got 2"),
        ("1,2,0\n1,2,3,4\n", "line 2 must have 3 cells like the first, got 4"),
        ("1,2,0\n1,2,\n", "line 2, column 3: a cell must not be missing"),
        ("1,2,a\n1,2,\n", "line 2, column 3: a cell must not be missing"),
        ("a,b,y\n", "must hold rows of data, got a header alone"),
        ("", "must hold a table, got an empty file"),
        ("\n\n", "must hold a table, got an empty file"),
        ('1,2,"0\n', "line 1 must be CSV: unexpected end of data"),
        ('1,2,0\n1,"2"3,0\n', "line 2 must be CSV: ',' expected"),
        (b"1,2,3\n1,2,\xff\n", "line 2 must be text in UTF-8: 'utf-8' codec"),
        ("a,a,y\n1,2,0\n", "column names must differ, got twice a"),
    ],
)
def test_a_broken_csv_file_is_refused_with_its_place(write, text, message):
    with pytest.raises(ArgumentError, match=rf"data\.csv: .*{message}"):
        read_csv(write(text), target=-1)


def test_lines_are_counted_through_quoted_line_ends(write):
    with pytest.raises(ArgumentError, match="line 5, column 1"):
        read_csv(write('"a\nb",y\n1,0\n2,0\nx,0\n'), target="y")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": ["a", 0]}, ArgumentError, "be different, but 'a' is given twice"),
        ({"target": "z"}, ArgumentError, "3 columns, got 'z'; they are a, b, y"),
        ({"target": "4"}, ArgumentError, "one of 3 columns, got '4'"),
        ({"target": 3}, ArgumentError, "one of 3 columns, got 3"),
        ({"target": -4}, ArgumentError, "one of 3 columns, got -4"),
        ({"target": True}, ArgumentTypeError, "target must be .*, got True"),
        ({"target": "y", "header": False}, ArgumentError, "got 'y'; they are column 1"),
        ({"target": 2, "task": "x"}, ArgumentError, "task must be one of class"),
        ({"target": 2, "decimal": "x"}, ArgumentError, "decimal must be '.' or ','"),
        ({"header": "yes"}, ArgumentTypeError, "header must be True or False, got 'y"),
        ({"delimiter": ", "}, ArgumentError, "delimiter must be one character, got"),
        ({"exclude": "a"}, ArgumentTypeError, "exclude must be a list or tuple"),
    ],
)
def test_a_wrong_option_of_csv_is_refused(write, options, error, message):
    with pytest.raises(error, match=message):
        read_csv(write("a,b,y\n1,2,0\n"), **{"target": 2, **options})


def test_a_schema_survives_saving_and_encodes_other_files(write):
    path = write("c,n,id,y\nred,1,u,p\nblue,2,v,q\n")
    data = read_csv(path, target="y", exclude=["id"])
    state = json.loads(json.dumps(data.schema.state_dict()))
    schema = Schema.from_state_dict(state)
    assert schema == data.schema
    other = read_table(write("n,c\n5,blue\n", "other.csv"))
    assert schema.encode(other).tolist() == [[1, 0, 5]]
    for text, message in [
        ("n,c,d\n5,blue,1\n", "columns must be those of the model: unknown 'd'"),
        ("n,y\n5,p\n", "columns must be those of the model: missing 'c'"),
        ("n,c\n5,green\n", r"line 2, column 2 \(c\): a cell must be one of blue, red"),
        (
            "n,c\n5,\n",
            r"line 2, column 2 \(c\): a cell must be one of blue, red, got ''",
        ),
        ("n,c\nnan,red\n", r"line 2, column 1 \(n\): a cell must be a finite number"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            schema.encode(read_table(write(text, "other.csv"), header=True))


def test_gaps_of_a_series_are_nan(write):
    name, series = read_column(write("day,t\n1,40\n2,\n3,NA\n4,45\n"), "t")
    np.testing.assert_array_equal(series, [40, np.nan, np.nan, 45])
    assert name == "t"
