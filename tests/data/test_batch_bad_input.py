import numpy as np
import pytest
from data.examples import indices, rows

from gdopt.data import minibatches
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError


def test_a_batch_larger_than_the_data_is_refused():
    message = "batch_size must be at most the number of examples, 10, got 11"
    with pytest.raises(ArgumentError, match=message):
        minibatches(rows(10), batch_size=11, seed=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"batch_size": 0},
            ArgumentError,
            "batch_size must be a whole number of at least 1, got 0",
        ),
        ({"batch_size": -4}, ArgumentError, "batch_size .* at least 1, got -4"),
        (
            {"batch_size": 2.5},
            ArgumentTypeError,
            "batch_size must be a whole number.*, got 2.5",
        ),
        (
            {"batch_size": True},
            ArgumentTypeError,
            "batch_size must be a whole number.*, got True",
        ),
        (
            {"batch_size": "4"},
            ArgumentTypeError,
            "batch_size must be a whole number.*, got '4'",
        ),
        ({"seed": None}, ArgumentTypeError, "seed must be a whole number.*, got None"),
        ({"seed": -1}, ArgumentError, "seed must be .* at least 0, got -1"),
        ({"seed": 0.5}, ArgumentTypeError, "seed must be .*, got 0.5"),
        ({"seed": True}, ArgumentTypeError, "seed must be .*, got True"),
        ({"axis": 2}, ArgumentError, "axis must be 0 .* or 1 .*, got 2"),
        ({"axis": True}, ArgumentError, "axis must be 0 .* or 1 .*, got True"),
        ({"shuffle": 1}, ArgumentTypeError, "shuffle must be True or False, got 1"),
        ({"drop_last": None}, ArgumentTypeError, "drop_last must be True or False"),
        ({"allow_nan": "no"}, ArgumentTypeError, "allow_nan must be True or False"),
    ],
)
def test_a_wrong_argument_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        minibatches(rows(10), **({"batch_size": 4, "seed": 0} | options))


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert len(minibatches(rows(10), batch_size=np.int32(4), seed=np.uint8(1))) == 3


def test_the_seed_is_0_by_default():
    own, given = (minibatches(rows(10), batch_size=4, **s) for s in ({}, {"seed": 0}))
    for batch, same in zip(own, given, strict=True):
        assert np.array_equal(batch, same)


def test_the_seed_is_checked_after_the_data():
    with pytest.raises(ArgumentError, match="array 0 holds 10, array 1 holds 9"):
        minibatches(rows(10), rows(9), batch_size=4, seed=-1)


@pytest.mark.parametrize(
    ("arrays", "axis", "error", "message"),
    [
        ((), 0, ArgumentError, "at least one array must be given, got none"),
        ((rows(10), rows(9)), 0, ArgumentError, "array 0 holds 10, array 1 holds 9"),
        ((rows(10).T, rows(10)), 1, ArgumentError, "0 holds 10, array 1 holds 3"),
        ((np.array(1.0),), 0, ArgumentError, r"array 0 must have .* got shape \(\)"),
        (([1, 2, 3],), 0, ArgumentTypeError, "array 0 must be a NumPy or CuPy array"),
        ((rows(0),), 0, ArgumentError, "number of examples, 0, got 1"),
    ],
)
def test_wrong_arrays_are_refused(arrays, axis, error, message):
    with pytest.raises(error, match=message):
        minibatches(*arrays, batch_size=1, seed=0, axis=axis)


def test_arrays_on_two_devices_are_refused(device):
    with pytest.raises(BackendError, match=r"array 0 is on .*, array 1 is on cpu"):
        minibatches(device.put(rows(4)), rows(4), batch_size=2, seed=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_nan_is_refused_with_its_place(dtype):
    X = rows(10).astype(dtype)
    X[5, 2] = X[7, 0] = np.nan
    message = r"array 1 must not contain NaN, got 2, the first at \[5, 2\]; allow_nan"
    with pytest.raises(ArgumentError, match=message):
        minibatches(rows(10), X, batch_size=4, seed=0)
    assert len(minibatches(rows(10), X, batch_size=4, seed=0, allow_nan=True)) == 3


def test_nan_in_a_late_block_of_columns_is_found(monkeypatch):
    monkeypatch.setattr("gdopt.data.gather.BLOCK", 6)
    X = rows(10).T.copy()
    X[1, 9] = np.nan
    with pytest.raises(ArgumentError, match=r"got 1, the first at \[1, 9\]"):
        minibatches(X, batch_size=4, seed=0, axis=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_data_are_looked_through_once_and_not_every_epoch(monkeypatch, shuffle):
    batches = minibatches(rows(10), batch_size=4, seed=0, shuffle=shuffle)
    monkeypatch.setattr(np, "isnan", None)
    assert list(range(10)) == sorted(indices(batches))
