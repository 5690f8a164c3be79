import gzip

import numpy as np
import pytest
from data.idx_files import CODES, idx

from gdopt.data import read, read_idx
from gdopt.errors import ArgumentError


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
    message = r"its labels must be next to it as train-labels-idx1-ubyte or .*ubyte\.gz"
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
