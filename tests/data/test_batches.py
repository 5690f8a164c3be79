import numpy as np
import pytest
from data.examples import indices, rows

from gdopt.data import minibatches


@pytest.mark.parametrize("size", [1, 3, 4, 10])
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_visits_every_example_once(size, drop_last):
    batches = minibatches(rows(10), batch_size=size, seed=1, drop_last=drop_last)
    sizes = [len(batch) for batch in batches]
    full, ragged = divmod(10, size)
    expected = [size] * full + ([ragged] if ragged and not drop_last else [])
    assert expected == sizes
    assert len(expected) == len(batches)
    visited = indices(batches)
    assert sum(expected) == len(set(visited)) == len(visited)


def test_size_m_is_batch_gradient_descent():
    (batch,) = minibatches(rows(10), batch_size=10, seed=0)
    assert list(range(10)) == sorted(batch[:, 0])


def test_the_order_is_numpys_permutation_from_seed_and_epoch():
    batches = minibatches(rows(50), batch_size=7, seed=3)
    for epoch in range(3):
        entropy = np.random.SeedSequence(3, spawn_key=(epoch,))
        expected = np.random.default_rng(entropy).permutation(50).tolist()
        assert expected == indices(batches)


def test_epochs_and_seeds_differ_and_repeat():
    first = minibatches(rows(50), batch_size=7, seed=3)
    orders = [tuple(indices(first)) for _ in range(3)]
    again = minibatches(rows(50), batch_size=7, seed=3)
    assert orders == [tuple(indices(again)) for _ in range(3)]
    other = tuple(indices(minibatches(rows(50), batch_size=7, seed=4)))
    assert len({*orders, other}) == 4


def test_large_seeds_do_not_meet_other_epochs():
    # As words, (1, 1) and 1 + 2**32 in epoch 0 are the same entropy.
    small = minibatches(rows(50), batch_size=50, seed=1)
    large = minibatches(rows(50), batch_size=50, seed=1 + 2**32)
    assert indices(large) not in [indices(small) for _ in range(2)]


def test_several_arrays_are_gathered_alike():
    X, y = rows(11), np.arange(11)
    for x, labels in minibatches(X, y, batch_size=4, seed=0):
        np.testing.assert_array_equal(labels, x[:, 0])
        assert (np.float32, np.int64) == (x.dtype, labels.dtype)


def test_one_array_comes_bare_and_several_as_a_tuple():
    assert isinstance(
        next(iter(minibatches(rows(4), batch_size=2, seed=0))), np.ndarray
    )
    assert isinstance(
        next(iter(minibatches(rows(4), rows(4), batch_size=2, seed=0))), tuple
    )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_columns_are_examples_with_axis_1(order, shuffle):
    X = np.array(rows(11).T, order=order)
    Y, y = X[:1] * 2, np.arange(11)
    batches = minibatches(X, Y, y, batch_size=4, seed=0, axis=1, shuffle=shuffle)
    seen = []
    for x, doubled, labels in batches:
        assert (3, len(labels)) == x.shape
        assert (1, len(labels)) == doubled.shape
        np.testing.assert_array_equal(x, np.tile(labels, (3, 1)))
        np.testing.assert_array_equal(doubled[0], 2 * labels)
        seen.extend(labels.tolist())
    assert list(range(11)) == sorted(seen)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(object),
        lambda a: a.astype(str),
        lambda a: a[:, :0],
        lambda a: np.broadcast_to(a, a.shape),
        lambda a: np.stack([a, a], axis=2),
        lambda a: np.stack([a, a], axis=2).transpose(0, 2, 1),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_any_layout_and_dtype_gives_the_same_batches(arrange, axis):
    X = arrange(rows(10))
    X = X if axis == 0 else X.swapaxes(0, 1)
    order = np.arange(10)
    for x, k in minibatches(X, order, batch_size=3, seed=0, axis=axis):
        np.testing.assert_array_equal(x, np.take(X, k, axis=axis))
        assert X.dtype == x.dtype


def test_a_fortran_array_is_not_copied_for_every_batch(monkeypatch):
    sources = []
    take = np.take

    def spy(array, indices, axis=None, out=None, mode="raise"):
        sources.append((array.flags.c_contiguous, out is not None, mode))
        return take(array, indices, axis, out, mode)

    monkeypatch.setattr(np, "take", spy)
    list(minibatches(np.asfortranarray(rows(8)), batch_size=4, seed=0))
    assert sources == [(True, True, "clip")] * 2


def test_without_shuffling_batches_are_views_in_order():
    X = rows(10)
    batches = list(minibatches(X, batch_size=4, shuffle=False))
    assert list(range(10)) == indices(batches)
    assert all(np.shares_memory(X, batch) for batch in batches)
