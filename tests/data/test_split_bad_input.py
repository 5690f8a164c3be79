import numpy as np
import pytest
from data.examples import data

from gdopt.data import split
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"train": 0.8}, ArgumentError, r"must add up to 1, got train=0.8 \+ dev=0.2"),
        ({"dev": 0.0}, ArgumentError, r"dev must be a fraction in \(0, 1\), got 0.0"),
        ({"test": float("nan")}, ArgumentError, "test must be a fraction.*, got nan"),
        ({"train": 50}, ArgumentError, "all fractions or all whole numbers.*train=50"),
        ({"train": 50, "dev": 0, "test": 5}, ArgumentError, "dev must .* 1, got 0"),
        ({"train": 50, "dev": 40, "test": 20}, ArgumentError, "at most 100 examples"),
        ({"train": True}, ArgumentTypeError, "train must be .*, got True"),
        ({"dev": "20%"}, ArgumentTypeError, "dev must be .*, got '20%'"),
        ({"seed": None}, ArgumentTypeError, "seed must be .*, got None"),
        ({"seed": 1.0}, ArgumentTypeError, "seed must be .*, got 1.0"),
        ({"axis": 2}, ArgumentError, "axis must be 0 .*, got 2"),
        ({"shuffle": 0}, ArgumentTypeError, "shuffle must be True or False, got 0"),
        ({"stratify": True}, ArgumentTypeError, "must be a NumPy or CuPy array"),
        (
            {"stratify": np.zeros(99, int)},
            ArgumentError,
            r"100 examples, got .*\(99,\)",
        ),
        (
            {"stratify": np.full(100, 0.5)},
            ArgumentError,
            "stratify must .*, got float64",
        ),
        ({"stratify": np.full(100, np.nan)}, ArgumentError, "stratify must .*float64"),
        ({"stratify": np.full(100, np.inf)}, ArgumentError, "stratify must .*float64"),
        ({"stratify": np.full(100, None)}, ArgumentError, "stratify must .*, got obj"),
        ({"groups": np.zeros(99, int)}, ArgumentError, "groups must hold one label .*"),
        ({"groups": np.full(100, 0.5)}, ArgumentError, "groups must .*, got float64"),
        ({"groups": np.zeros(100)}, ArgumentError, "got 1, the largest of 100 exampl"),
        (
            {"groups": np.arange(100), "stratify": np.arange(100)},
            ArgumentError,
            "stratify must be None where groups are given",
        ),
    ],
)
def test_a_wrong_argument_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        split(np.arange(100.0), **({"seed": 0} | options))


def test_an_empty_part_is_refused():
    with pytest.raises(ArgumentError, match="dev must get at least one example"):
        split(np.arange(2.0), seed=0)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ArgumentError, match=r"array 0 holds 10, array 1 holds 9"):
        split(np.zeros(10), np.zeros(9), seed=0)


def test_arrays_on_two_devices_are_refused(device):
    with pytest.raises(BackendError, match="arrays must be on one device"):
        split(device.put(np.zeros(10)), np.zeros(10), seed=0)


def test_missing_values_may_be_split():
    X, _ = data(50)
    X[3, 1], X[4, 2] = np.nan, np.inf
    assert np.isnan(np.concatenate(split(X, seed=0))).sum() == 1
