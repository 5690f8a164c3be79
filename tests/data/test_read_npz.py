import numpy as np
import pytest

from gdopt.data import read, read_npz
from gdopt.errors import ArgumentError


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
