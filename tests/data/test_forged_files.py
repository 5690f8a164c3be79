"""Files of others: what their format can tell is checked before it is believed."""

import gzip
import hashlib
import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from data.idx_files import idx

import gdopt
from gdopt.data import read, read_csv, read_idx, read_npz
from gdopt.data.idx import read_images
from gdopt.errors import ArgumentError, DataWarning

X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
MOST = 3 << 20  # bytes, for files that claim more


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claiming(shape, content=b""):
    """The header of an array of any shape, over bytes of any number."""
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)


def refused(call, path, match):
    """Expect a refusal that names the file, and a little memory only."""
    tracemalloc.start()
    try:
        with pytest.raises(ArgumentError, match=match) as caught:
            call(path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (claiming((10**15,)), "must be 8000000000000000 bytes, got 0"),
        (claiming((6, 2), bytes(8)), "must be 96 bytes, got 8"),
        (claiming((3, 2), bytes(96)), "must be 48 bytes, got 96"),  # NumPy reads 3 rows
        (claiming((-6, -2), bytes(96)), r"of shape \(-6, -2\)"),
        (claiming((0, 1 << 62, 1 << 62)), "whole .npz file of numbers"),
        (npy(X)[:7], "whole .npz file of numbers"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 99999, "whole .npz file of numbers"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "whole .npz file of numbers"),
        (b"\x93NUMPY\x03\x00" + npy(X)[8:], r"npy 1.0 or 2.0, got \(3, 0\)"),
        (b"text", "whole .npz file of numbers"),
    ],
)
def test_an_array_of_another_size_than_it_claims_is_refused(
    tmp_path, content, message, compression
):
    path = tmp_path / "d.npz"
    archive(path, [("X.npy", content), ("y.npy", npy(Y))], compression)
    refused(read, path, message)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("X.npy", npy(X)), ("y.npy", npy(Y)), ("X", npy(X))], "got duplicates"),
        ([("X.npy", npy(X)), ("y.npy", npy(Y)), ("../y.npy", b"")], "out of a folder"),
        ([("X.npy", npy(X)), ("y.npy", npy(Y)), ("/etc/y", b"")], "out of a folder"),
        ([("X.npy", npy(X)), ("y.npy", npy(Y)), (r"a\..\y", b"")], "out of a folder"),
    ],
)
def test_names_that_are_traps_are_refused(tmp_path, members, message):
    archive(tmp_path / "d.npz", members)
    refused(read, tmp_path / "d.npz", message)


@pytest.mark.parametrize(
    ("field", "place", "message"),
    [
        ("stored_size", 24, "cannot unpack to 2130706432 bytes"),
        ("packed_size", 20, "claim more bytes than it holds"),
        ("both", None, "claim more bytes than it holds"),
    ],
)
def test_a_directory_that_claims_more_than_the_file_holds_is_refused(
    tmp_path, field, place, message
):
    path = tmp_path / "d.npz"
    archive(path, [("X.npy", npy(X)), ("y.npy", npy(Y))])
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    for offset in (20, 24) if place is None else (place,):
        struct.pack_into("<I", content, entry + offset, 0x7F000000)
    path.write_bytes(content)
    refused(read, path, message)


def test_what_is_packed_by_other_means_is_refused(tmp_path):
    archive(tmp_path / "d.npz", [("X.npy", npy(X))], zipfile.ZIP_BZIP2)
    refused(read, tmp_path / "d.npz", "X cannot unpack to")


@pytest.mark.parametrize(
    ("save", "rows"), [(np.savez, 6), (np.savez_compressed, 6), (np.savez, 0)]
)
def test_every_flipped_bit_is_refused_or_without_effect(tmp_path, save, rows):
    """What is empty has a checksum, too, which NumPy does not compare."""
    path = tmp_path / "d.npz"
    save(path, X=X[:rows], y=Y[:rows])
    content, harmless = path.read_bytes(), 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = read_npz(path)
        except ArgumentError:
            continue
        harmless += 1
        np.testing.assert_array_equal(found.X, X[:rows], strict=True)
        np.testing.assert_array_equal(found.y, Y[:rows], strict=True)
    assert harmless < len(content) / 2  # dates, say, and what nobody reads


def test_idx_claims_no_more_than_the_file_can_hold(tmp_path, write):
    head = b"\0\0\x08\x03" + b"\xff" * 12
    refused(read_idx, write(head, "some"), "must be .* bytes long .*, got 16 bytes")
    packed = write(gzip.compress(head), "some.gz")
    refused(read_idx, packed, "which .* bytes cannot unpack to")
    bomb = gzip.compress(idx(np.zeros(9, np.uint8)) + bytes(100 << 20))
    refused(read_idx, write(bomb, "bomb.gz"), "must be 17 bytes long .*, got more")
    short = gzip.compress(idx(np.zeros(9, np.uint8))[:-2])
    refused(read_idx, write(short, "short.gz"), "must be 17 bytes .*, got 15 bytes")
    nothing = b"\0\0\x0e\x03" + struct.pack(">3I", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    refused(read_idx, write(nothing, "none"), "must be a whole IDX file")


def test_signed_bytes_are_signed_and_reported_as_pixels(write):
    pixels = np.array([[[0, 127], [-128, -1]]], np.int8)
    path = write(idx(pixels), "train-images-idx3-byte")
    write(idx(np.array([3], np.uint8)), "train-labels-idx1-byte")
    assert read_idx(path).dtype == np.int8
    message = r"images-idx3-byte: holds signed bytes \(type 0x09\), -128 to 127"
    with pytest.warns(DataWarning, match=message):
        found = read(path)
    assert found.X.tolist() == [[0, 127, -128, -1]]


def test_allocations_that_fail_are_refusals_that_name_the_file(write, monkeypatch):
    path = write(idx(np.zeros(9, np.uint8)), "some")

    def full(*_, **__):
        raise MemoryError(8, "PiB")

    monkeypatch.setattr(np, "empty", full)
    refused(read_idx, path, "PiB")


FILES = {
    "npz": ("d.npz", None, (read, read_npz)),
    "csv": ("d.csv", b"1,a\n2,b\n3,a\n", (read, read_csv)),
    "packed csv": ("d.csv.gz", gzip.compress(b"1,a\n2,b\n3,a\n"), (read, read_csv)),
    "idx": ("a-images-idx3-ubyte", idx(np.zeros((2, 1, 1), np.uint8)), (
        read, read_idx, read_images,
    )),
    "checkpoint": ("own.npz", None, (gdopt.load,)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_sha256_from_elsewhere_is_checked(kind, tmp_path, write):
    name, content, loaders = FILES[kind]
    path = tmp_path / name
    if content is not None:
        write(content, name)
        write(idx(np.zeros(2, np.uint8)), "a-labels-idx1-ubyte")
    elif kind == "npz":
        np.savez(path, X=X, y=Y)
    else:
        gdopt.save(path, {"W": X})
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    other = "1" * 64
    for load in loaders:
        load(path, sha256=right)
        load(path, sha256=right.upper())
        message = f"{name}: its SHA-256 must be 1{{64}}, got {right}"
        with pytest.raises(ArgumentError, match=message):
            load(path, sha256=other)
        for wrong in ("abc", 7, right[:-1], right + "0", b"0" * 64):
            with pytest.raises(ArgumentError, match="sha256 must be 64 hexadecimal"):
                load(path, sha256=wrong)


def test_damaged_gzip_of_text_is_refused(write):
    content = gzip.compress(b"1,a\n2,b\n3,a\n" * 9)
    crc = content[:-8] + struct.pack("<I", zlib.crc32(b"") + 1) + content[-4:]
    for damaged in (content[:-3], crc, content + b"more", content[:12] + b"\xff" * 20):
        with pytest.raises(ArgumentError, match=r"d\.csv\.gz: must be a whole gzip"):
            read(write(damaged, "d.csv.gz"))
