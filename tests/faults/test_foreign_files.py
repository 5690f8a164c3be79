"""What readers of other libraries raise about a file's content names the file."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

import gdopt

TABLE = "width;kind;n\n3,5;setosä;1\n3,2;versicolör;2\n3,1;setosä;3\n"
LABELS = np.array([b"no", b"yes"] * 2)


def npy(header):
    """Return an .npy file of zeros with a header of that text."""
    text = header.encode("latin-1").ljust(118) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(96)


def npz(**members):
    """Return an archive of such files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def described(shape, descr="'<f4'"):
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


TABLES = {
    **{code: TABLE.encode(code) for code in ("utf-16", "utf-16-le", "utf-32", "cp850")},
    "latin": TABLE.encode("latin-1"),
    "zeros": bytes(50),
    "nothing": b"",
    "quote": b'a,b\n"1,2\n',
}
HEADERS = {
    "brackets": described("[" * 5000),
    "nested": described("(" * 90 + ")" * 90),
    "a call": described("f(1)"),
    "truth": described("(True, 2)"),
    "huge": described("(999999999999, 2)"),
    "too huge": described("(18446744073709551616,)"),
    "digits": described("(" + "9" * 6000 + ",)"),
    "negative": described("(-1, 2)"),
    "objects": described("(12, 2)", "'|O'"),
    "a wrong dtype": described("(12, 2)", "'<q9'"),
    "no text": described("(6,)", "'<U2'").replace(bytes(96), b"\xff" * 96),
    "cut": described("(12, 2)")[:60],
    "nothing": b"",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_in_another_encoding_is_refused(name, packed, tmp_path):
    path = tmp_path / ("table.csv.gz" if packed else "table.csv")
    path.write_bytes(gzip.compress(TABLES[name]) if packed else TABLES[name])
    with pytest.raises(gdopt.ArgumentError, match=r"table\.csv"):
        gdopt.data.read_csv(path, target="kind")


def test_a_table_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8-sig")
    assert gdopt.data.read_csv(path, target="kind").classes == ("setosä", "versicolör")


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("read", [gdopt.data.read_npz, gdopt.load, gdopt.Model.load])
def test_an_array_that_cannot_be_is_refused(name, read, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(npz(X=HEADERS[name], y=HEADERS[name]))
    with pytest.raises(gdopt.GdoptError, match=r"model\.npz"):
        read(tmp_path if read == gdopt.Model.load else path)


@pytest.mark.parametrize("label", ["é", "no"])
def test_text_in_bytes_is_utf_8(label, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.zeros((2, 1)), y=[label.encode(), b"yes"])
    assert set(gdopt.data.read_npz(path).classes) == {label, "yes"}
    if label == "é":
        np.savez(path, X=np.zeros((2, 1)), y=[label.encode("latin-1"), b"yes"])
        with pytest.raises(gdopt.GdoptError, match=r"data\.npz: targets .*UTF-8"):
            gdopt.data.read_npz(path)


def test_labels_in_bytes_are_compared_as_text():
    network = gdopt.nn.Network((1, 2), backend="numpy")
    X = np.zeros((4, 1), np.float32)
    model = gdopt.Model(network, gdopt.Normalizer.fit(X), classes=("no", "yes"))
    assert model.evaluate(X, LABELS).truth.tolist() == ["no", "yes"] * 2
    with pytest.raises(gdopt.ArgumentTypeError, match=r"y must .*UTF-8"):
        model.evaluate(X, np.array([b"\xe9"] * 4))
    with pytest.raises(gdopt.ArgumentTypeError, match=r"y must .*mask"):
        model.evaluate(X, np.ma.masked_equal(np.arange(4), 2))


def test_a_name_that_no_file_can_have_is_refused():
    for use in (gdopt.load, gdopt.data.read_csv, lambda path: gdopt.save(path, {})):
        with pytest.raises(gdopt.ArgumentError, match="path must be a path that can"):
            use("x" * 5000)


def test_labels_beyond_int64_are_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.zeros((2, 1)), y=np.array([1, 2**63], np.uint64))
    with pytest.raises(gdopt.ArgumentError, match=r"data\.npz: targets must fit int64"):
        gdopt.data.read_npz(path)
