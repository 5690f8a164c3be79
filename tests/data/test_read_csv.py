import numpy as np
import pytest
from data.examples import IRIS

from gdopt.data import read, read_csv
from gdopt.errors import ArgumentError, ArgumentTypeError


def test_csv_with_a_header_and_text_classes(write):
    data = read(write(IRIS))
    assert data.X.tolist() == [[3.5, 5.1], [3.2, 7.0], [3.0, 4.9]]
    assert data.y.tolist() == [0, 1, 0]
    assert data.classes == ("setosa", "versicolor")
    assert data.feature_names == ("width", "length")


@pytest.mark.parametrize("target", ["kind", 0, -3])
def test_the_target_may_be_any_column(write, target):
    text = "kind,width,length\nb,3.5,5.1\na,3.2,7.0\n"
    data = read_csv(write(text), target=target)
    assert data.X.tolist() == [[3.5, 5.1], [3.2, 7.0]]
    assert data.y.tolist() == [1, 0]
    assert data.feature_names == ("width", "length")


@pytest.mark.parametrize(
    ("cells", "expected", "dtype"),
    [
        ("0 1 2", [0, 1, 2], np.int64),
        ("-1 +1 1", [-1, 1, 1], np.int64),
        ("0 1.0 2", [0, 1, 2], np.float64),
        ("1e2 0.5 3", [100, 0.5, 3], np.float64),
        ("99999999999999999999 1 2", [1e20, 1, 2], np.float64),
    ],
)
def test_numbers_as_target_keep_their_kind(write, cells, expected, dtype):
    data = read(write("".join(f"1,{cell}\n" for cell in cells.split())))
    assert data.y.tolist() == expected
    assert data.y.dtype == dtype
    assert data.classes is None


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,b,y\n1,2,0\n3,4,1\n",
        "a,b,y\r\n1,2,0\r\n3,4,1\r\n",
        "a,b,y\r1,2,0\r3,4,1\r",
        "a,b,y\n1,2,0\n3,4,1",
        "\na,b,y\n\n1,2,0\n\n3,4,1\n\n\n",
        '"a","b","y"\n"1","2","0"\n"3",4,1\n',
        "a, b, y \n 1, 2 , 0\n3 ,4, 1 \n",
        '"a" ,b,y\n1, "2",0\n3,4,"1"\n'.replace('" ,', '",'),
    ],
)
def test_csv_in_any_dress_gives_the_same_data(write, text):
    data = read(write(text))
    assert data.X.tolist() == [[1, 2], [3, 4]]
    assert data.y.tolist() == [0, 1]
    assert data.feature_names == ("a", "b")


def test_quoted_cells_hold_delimiters_and_line_ends(write):
    data = read(write('"the ""a"", in\r\nmm",y\n1,"big, red"\n2,"small"\n'))
    assert data.feature_names == ('the "a", in\r\nmm',)
    assert data.classes == ("big, red", "small")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,2,0\n3,4,1\n", None),
        ("1,2,a\n3,4,b\n", None),
        (",b,y\n1,2,0\n", ("", "b")),
        ("a,b,0\n1,2,0\n", ("a", "b")),
    ],
)
def test_a_header_is_reported_by_its_features(write, text, names):
    data = read(write(text))
    assert data.feature_names == names
    assert len(data.X) == text.count("\n") - (names is not None)


def test_header_decides_where_given(write):
    path = write("1,2,0\n3,4,1\n")
    assert read_csv(path, header=True).X.tolist() == [[3, 4]]
    assert read_csv(path, header=True, target="0").feature_names == ("1", "2")
    assert len(read_csv(path, header=False).X) == 2


def test_another_delimiter(write):
    data = read_csv(write("a;b;y\n1;2;0\n"), delimiter=";")
    assert data.X.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,,0\n", r"line 2, column 2 \(b\): a feature must .*, got ''"),
        ("a,b,y\n1,2,0\n1,x,0\n", r"line 3, column 2 \(b\): .*, got 'x'"),
        ("1,2,0\nNA,2,0\n", "line 2, column 1: a feature must .*, got 'NA'"),
        ("1,2,0\n\n1,nan,0\n", "line 3, column 2: .*, got 'nan'"),
        ("1,2,0\n1,-inf,0\n", "line 2, column 2: .*, got '-inf'"),
        ("1,2,0\n1,1e999,0\n", "line 2, column 2: .*, got 'inf'"),
        ("1,2,0\n1,2\n", "line 2 must have 3 cells like the first, got 2"),
        ("1,2,0\n1,2,3,4\n", "line 2 must have 3 cells like the first, got 4"),
        ("1,2,0\n1,2,\n", "line 2: the target must not be missing"),
        ("1,2,a\n1,2,\n", "line 2: the target must not be missing"),
        (
            "1,2,a\n1,2,3\n",
            "line 1: .* number in every line or in none, got 'a' .* '3'",
        ),
        ("1,2,0\n1,2,nan\n", "line 2: the target must be finite, got 'nan'"),
        ("1,x,0\n3,4,1\n", "line 1 must be names or numbers, got both: .*header="),
        ("a,b,y\n", "must hold rows of data, got a header alone"),
        ("", "must hold a table, got an empty file"),
        ("\n\n", "must hold a table, got an empty file"),
        ("1;2;0\n", "at least 2 columns, separated by ',', got '1;2;0'"),
        ('1,2,"0\n', "line 1 must be CSV: unexpected end of data"),
        ('1,2,0\n1,"2"x,0\n', "line 2 must be CSV: ',' expected"),
        (b"1,2,\xff\n", "must be text in UTF-8: 'utf-8' codec"),
        ("1,2,0\n" * 9000 + "1,2,\N{SNOWMAN}\n", "9001: .*in none, got '\N{SNOWMAN}'"),
    ],
)
def test_a_broken_csv_file_is_refused_with_its_place(write, text, message):
    with pytest.raises(ArgumentError, match=rf"data\.csv: .*{message}"):
        read(write(text))


def test_lines_are_counted_through_quoted_line_ends(write):
    with pytest.raises(ArgumentError, match="line 4, column 1"):
        read(write('"a\nb",y\n1,0\nx,0\n'))


def test_the_column_after_the_target_is_counted_right(write):
    with pytest.raises(ArgumentError, match=r"line 2, column 3 \(b\).*'x'"):
        read_csv(write("a,y,b\n1,0,x\n"), target="y")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "z"}, ArgumentError, "one column, got 'z'; the names are a, b, y"),
        ({"target": 3}, ArgumentError, "one of 3 columns, from 0, got 3"),
        ({"target": -4}, ArgumentError, "one of 3 columns, from 0, got -4"),
        ({"target": None}, ArgumentTypeError, "target must be .*, got None"),
        ({"target": True}, ArgumentTypeError, "target must be .*, got True"),
        ({"target": "y", "header": False}, ArgumentError, "without a header, got 'y'"),
        (
            {"header": "yes"},
            ArgumentTypeError,
            "header must be True or False, got 'yes'",
        ),
        (
            {"delimiter": ", "},
            ArgumentError,
            "delimiter must be one character, got ', '",
        ),
    ],
)
def test_a_wrong_option_of_csv_is_refused(write, options, error, message):
    with pytest.raises(error, match=message):
        read_csv(write("a,b,y\n1,2,0\n"), **options)


def test_a_name_that_two_columns_have_is_refused(write):
    with pytest.raises(ArgumentError, match="must be the name of one column, got 'a'"):
        read_csv(write("a,a,y\n1,2,0\n"), target="a")
