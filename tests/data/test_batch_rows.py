"""Batches of rows that are not held: a number of examples in place of arrays."""

import itertools

import numpy as np
import pytest

import gdopt
from gdopt.data import minibatches
from gdopt.errors import ArgumentError, ArgumentTypeError, StateError


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("count", [23, np.int32(23)])
def test_rows_come_in_the_order_of_arrays(count, shuffle, drop_last):
    how = {"batch_size": 5, "seed": 7, "shuffle": shuffle, "drop_last": drop_last}
    rows, arrays = minibatches(count, **how), minibatches(np.arange(23), **how)
    assert (len(rows), rows.arrays) == (len(arrays), ())
    for _ in range(3):
        for own, other in itertools.zip_longest(rows, arrays):
            assert isinstance(own, np.ndarray)
            assert own.dtype == np.int64
            np.testing.assert_array_equal(own, other)
    assert rows.state_dict() == arrays.state_dict()
    assert rows.order(2).tolist() == arrays.order(2).tolist()


def test_a_state_continues_with_arrays_and_with_rows():
    how = {"batch_size": 4, "seed": 1}
    rows = minibatches(10, **how)
    next(iter(rows))
    for other in (minibatches(10, **how), minibatches(np.arange(10), **how)):
        other.load_state_dict(rows.state_dict())
        np.testing.assert_array_equal(np.concatenate(list(other)), rows.order(0)[4:])
    with pytest.raises(StateError, match="count"):
        minibatches(11, **how).load_state_dict(rows.state_dict())


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((10,), {"axis": 1}, "axis must be 0 for a number of examples"),
        ((10,), {"allow_nan": True}, "allow_nan must be False for a number"),
        ((10,), {"batch_size": 11}, "at most the number of examples, 10, got 11"),
        ((0,), {}, "number of examples must be a whole number of at least 1"),
        ((-3,), {}, "number of examples must be a whole number of at least 1"),
    ],
)
def test_what_has_no_meaning_for_rows_is_refused(arrays, options, message):
    with pytest.raises(ArgumentError, match=message):
        minibatches(*arrays, **{"batch_size": 2} | options)


@pytest.mark.parametrize("arrays", [(10.0,), (True,), ("10",), (10, 10)])
def test_what_is_not_a_whole_number_is_refused(arrays):
    with pytest.raises((ArgumentTypeError, ArgumentError)):
        minibatches(*arrays, batch_size=2)


def test_a_run_reads_the_rows_itself():
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((40, 3)), np.array([1.0, -2.0, 3.0])

    def run(data, read):
        def loss(p, *batch):
            x = read(*batch)
            error = x @ p - x @ w
            return float(error @ error) / len(x), 2 * x.T @ error / len(x)

        p = np.zeros(3)
        return gdopt.minimize(loss, p, data=data, method="adam", lr=0.1, epochs=20)

    by_rows = run(minibatches(40, batch_size=8), lambda rows: X[rows])
    by_arrays = run(minibatches(X, batch_size=8), lambda x: x)
    assert by_rows.x.tobytes() == by_arrays.x.tobytes()


def test_a_network_needs_the_examples():
    network = gdopt.nn.Network((3, 2), backend="numpy")
    optimizer = gdopt.SGD(network.params)
    with pytest.raises(ArgumentError, match="of 2 arrays, examples and labels, got 0"):
        gdopt.fit(network, optimizer, minibatches(40, batch_size=8), epochs=1)
