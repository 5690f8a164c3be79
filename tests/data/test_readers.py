import gzip
import struct
import subprocess
import sys

import numpy as np
import pytest

from gdopt.data import read, read_csv, read_idx, read_npz
from gdopt.errors import ArgumentError, ArgumentTypeError

CODES = {
    "uint8": 0x08,
    "int8": 0x09,
    "int16": 0x0B,
    "int32": 0x0C,
    "float32": 0x0D,
    "float64": 0x0E,
}


def idx(array):
    """The bytes of an IDX file, by the letter of its description."""
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim])
    header += struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def write(tmp_path):
    """Write bytes or text to a file of a name, and give its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 3), (2, 1, 2, 1)])
def test_idx_holds_every_dtype_and_shape(write, dtype, shape):
    expected = (np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    found = read_idx(write(idx(expected), "some"))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    assert found.flags.writeable


def test_idx_of_known_bytes(write):
    # Big-endian 16-bit numbers 258 and -2, written by hand.
    content = bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFE])
    assert read_idx(write(content, "some")).tolist() == [258, -2]


def test_idx_may_be_compressed(write):
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    path = write(gzip.compress(idx(array)), "some-idx2-int.gz")
    np.testing.assert_array_equal(read_idx(path), array)


CONTENT = idx(np.arange(6, dtype=np.int16).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            CONTENT[:-1],
            r"must be 24 bytes long to hold int16 of shape \(2, 3\), got 23",
        ),
        (CONTENT + b"\0", "must be 24 bytes long .*, got 25 bytes"),
        (CONTENT[:9], "must hold 1 to 64 dimensions, .*, got 2 in 9 bytes"),
        (b"\0\0\x08\0\x01", "must hold 1 to 64 dimensions, .*, got 0 in 5 bytes"),
        (b"\0\0\x08\x41" + bytes(300), "must hold 1 to 64 .*, got 65 in 304"),
        (
            b"\0\0\x0a\x01\0\0\0\0",
            "must begin with .* known dtype, .*, got 00 00 0a 01",
        ),
        (b"\x89PNG", "must begin with two zero bytes .*, got 89 50 4e 47"),
        (b"\0\0\x08", "must begin with .*, got 00 00 08"),
        (b"\0\1" + CONTENT[2:], "must begin with two zero bytes .*, got 00 01 0b 02"),
        (b"", "must begin with .*, got an empty file"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "must be 18446744065119617037 bytes"),
    ],
)
def test_a_damaged_idx_file_is_refused(write, content, message):
    with pytest.raises(ArgumentError, match=f"some: {message}"):
        read_idx(write(content, "some"))


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CONTENT)[:-9],
        b"no gzip",
        gzip.compress(CONTENT)[:14] + b"\xff" * 9,
    ],
)
def test_a_damaged_gzip_file_is_refused(write, content):
    with pytest.raises(ArgumentError, match=r"some\.gz: must be a whole gzip file"):
        read_idx(write(content, "some.gz"))


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("packed_images", [False, True])
@pytest.mark.parametrize("packed_labels", [False, True])
def test_mnists_images_find_their_labels(write, dot, packed_images, packed_labels):
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)

    def save(array, name, packed):
        content = gzip.compress(idx(array)) if packed else idx(array)
        return write(content, name + ".gz" * packed)

    path = save(images, f"t10k-images{dot}idx3-ubyte", packed_images)
    save(labels, f"t10k-labels{dot}idx1-ubyte", packed_labels)
    data = read(path)
    np.testing.assert_array_equal(data.X, images.reshape(5, 6))
    assert (data.X.dtype, data.y.dtype) == (np.uint8, np.int64)
    assert data.y.tolist() == labels.tolist()
    assert data.source == str(path)


def test_images_without_labels_are_refused(write):
    path = write(idx(np.zeros((5, 2, 3), np.uint8)), "train-images-idx3-ubyte.gz")
    message = r"its labels must lie beside it as train-labels-idx1-ubyte or .*ubyte\.gz"
    with pytest.raises(ArgumentError, match=message):
        read(path)


def test_labels_instead_of_images_are_refused(write):
    path = write(idx(np.zeros(5, np.uint8)), "train-labels-idx1-ubyte")
    with pytest.raises(ArgumentError, match="must be a file of images"):
        read(path)


def test_images_and_labels_of_different_lengths_are_refused(write):
    path = write(idx(np.zeros((5, 2, 3), np.uint8)), "train-images-idx3-ubyte")
    write(idx(np.zeros(4, np.uint8)), "train-labels-idx1-ubyte")
    with pytest.raises(ArgumentError, match="equally many examples, got 5 and 4"):
        read(path)


@pytest.mark.parametrize(
    "names",
    [("X", "y"), ("x", "y"), ("X_train", "y_train"), ("x_train", "y_train")],
)
def test_npz_arrays_are_found_by_their_usual_names(tmp_path, names):
    X, y = np.arange(6.0).reshape(3, 2), np.array([1, 0, 1], np.uint8)
    path = tmp_path / "data.npz"
    np.savez(path, other=1, **dict(zip(names, (X, y), strict=True)))
    data = read(path)
    np.testing.assert_array_equal(data.X, X)
    assert data.y.tolist() == [1, 0, 1]
    assert data.y.dtype == np.int64
    assert (data.source, data.classes, data.feature_names) == (str(path), None, None)


def test_npz_arrays_may_be_named(tmp_path):
    X = np.zeros((3, 2, 2), np.float32)
    np.savez_compressed(
        tmp_path / "d.npz",
        x_train=X,
        y_train=np.ones(3),
        x_test=X + 1,
        y_test=[2, 3, 4],
    )
    data = read_npz(tmp_path / "d.npz", features="x_test", targets="y_test")
    np.testing.assert_array_equal(data.X, np.ones((3, 4)))
    assert data.X.dtype == np.float32
    assert data.y.tolist() == [2, 3, 4]


def test_npz_text_targets_become_class_numbers(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.zeros((3, 1)), y=["dog", "cat", "dog"])
    data = read(tmp_path / "d.npz")
    assert data.y.tolist() == [1, 0, 1]
    assert data.classes == ("cat", "dog")


def test_npz_arrays_come_in_the_machines_byte_order(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.ones((2, 2), ">f4"), y=np.array([1, 2], ">f8"))
    data = read(tmp_path / "d.npz")
    assert (data.X.dtype, data.y.dtype) == (np.float32, np.float64)
    assert data.X.dtype.isnative
    assert data.X.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("y", "shape"), [(np.zeros((3, 1)), (3,)), (np.zeros((3, 4)), (3, 4))]
)
def test_targets_in_a_column_become_a_vector(tmp_path, y, shape):
    np.savez(tmp_path / "d.npz", X=np.zeros((3, 2)), y=y)
    assert read(tmp_path / "d.npz").y.shape == shape


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": 1, "b": 2}, "must hold arrays named X, y; x, y; .*; got a, b"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(4)}, "examples, got 3 and 4"),
        (
            {"X": np.zeros(3), "y": np.zeros(3)},
            r"rows of real .*float64 of shape \(3,\)",
        ),
        ({"X": np.zeros((3, 2), complex), "y": np.zeros(3)}, "got complex128"),
        (
            {"X": np.zeros((3, 2)), "y": np.zeros(3, complex)},
            "targets .*got complex128",
        ),
        ({"X": np.zeros((3, 2)), "y": np.zeros((3, 2, 2))}, "targets must be numbers"),
        (
            {"X": np.array([[{}]]), "y": np.zeros(1)},
            "whole .npz file of numbers: Object",
        ),
    ],
)
def test_npz_without_examples_and_targets_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(ArgumentError, match=message):
        read(tmp_path / "d.npz")


@pytest.mark.parametrize("options", [{"features": "X"}, {"targets": "y"}])
def test_npz_names_are_given_both_or_neither(tmp_path, options):
    np.savez(tmp_path / "d.npz", X=np.zeros((3, 2)), y=np.zeros(3))
    with pytest.raises(ArgumentError, match="must be named both or neither"):
        read_npz(tmp_path / "d.npz", **options)


def test_a_damaged_npz_file_is_refused(tmp_path, write):
    np.savez_compressed(
        tmp_path / "d.npz", X=np.arange(60.0).reshape(30, 2), y=[0] * 30
    )
    content = (tmp_path / "d.npz").read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0x55
    for damaged in (content[:-30], bytes(flipped), b"", b"text", content[:100]):
        with pytest.raises(ArgumentError, match=r"e\.npz: must be a whole \.npz file"):
            read(write(damaged, "e.npz"))


def test_a_single_array_is_no_archive(tmp_path):
    with (tmp_path / "d.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ArgumentError, match=r"whole \.npz file, got no ZIP archive"):
        read(tmp_path / "d.npz")


IRIS = "width,length,kind\n3.5,5.1,setosa\n3.2,7.0,versicolor\n3.0,4.9,setosa\n"


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
def test_a_header_is_told_by_its_features(write, text, names):
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
        ("1;2;0\n", "at least 2 columns, set apart by ',', got '1;2;0'"),
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


@pytest.mark.parametrize("name", ["data.txt", "data", "idx3-ubyte", "data.csv.gz"])
def test_an_unknown_format_is_refused(write, name):
    message = r"the name must end in \.npz, \.csv or -images-idx3-ubyte"
    with pytest.raises(ArgumentError, match=message):
        read(write("1,2\n", name))


@pytest.mark.parametrize("reader", [read, read_csv, read_idx, read_npz])
def test_a_file_that_is_not_there_is_refused(tmp_path, reader):
    with pytest.raises(ArgumentError, match=r"got nothing at '.*missing\.csv'"):
        reader(tmp_path / "missing.csv")
    with pytest.raises(ArgumentError, match="got a folder at"):
        reader(tmp_path)


def test_upper_case_names_and_text_paths_are_read(write):
    assert read(str(write(IRIS, "IRIS.CSV"))).X.shape == (3, 2)


def test_what_was_read_may_be_written_to(write):
    data = read(write(IRIS))
    data.X[0, 0] = 7
    data.y[0] = 7
    assert (data.X[0, 0], data.y[0]) == (7, 7)


def test_readers_are_imported_where_first_used():
    code = (
        "import sys, gdopt.data; "
        "assert 'gdopt.data.readers' not in sys.modules; "
        "assert gdopt.data.read.__module__ == 'gdopt.data.readers'; "
        "assert not hasattr(gdopt.data, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
