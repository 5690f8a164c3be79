"""Global batches are those of one process, cut into parts of nearly equal size."""

import numpy as np
import pytest
from parallel.threads import on_ranks

import gdopt
from gdopt.parallel.tree import nodes_of, share_of

X = np.arange(60.0).reshape(30, 2)
Y = np.arange(30)


def epochs(ranks, count=2, **options):
    """Return this rank's parts of each batch of some epochs."""
    batches = ranks.minibatches(X, Y, seed=3, **options)
    return [parts for _ in range(count) for parts in batches]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("batch_size", [4, 7, 30])  # fewer, and more than replicas
def test_parts_are_the_batches_of_one_process(size, batch_size):
    found = on_ranks(size, lambda ranks: epochs(ranks, batch_size=batch_size))
    plain = gdopt.minibatches(X, Y, batch_size=batch_size, seed=3)
    expected = [batch for _ in range(2) for batch in plain]
    assert [len(batches) for batches in found] == [len(expected)] * size
    for number, (x, y) in enumerate(expected):
        parts = [part for batches in found for part in batches[number]]
        assert [part.replica for part in parts] == [*range(8)]
        assert np.array_equal(np.concatenate([part.arrays[0] for part in parts]), x)
        assert np.array_equal(np.concatenate([part.arrays[1] for part in parts]), y)
        assert np.array_equal(np.concatenate([part.rows for part in parts]), y)
        assert sum(part.weight for part in parts) == pytest.approx(1)
        assert [p.weight for p in parts] == [len(p.rows) / len(y) for p in parts]
        firsts = np.cumsum([0, *(len(part.rows) for part in parts[:-1])])
        assert [part.first for part in parts] == firsts.tolist()
        assert {part.batch for part in parts} == {number}
        assert max(len(p.rows) for p in parts) - min(len(p.rows) for p in parts) <= 1


def test_batches_continue_on_another_number_of_ranks():
    def begins(ranks):
        batches = ranks.minibatches(X, Y, batch_size=7, seed=3)
        loop = iter(batches)
        next(loop), next(loop)
        return batches.state_dict()

    saved, other = on_ranks(2, begins)
    assert saved == other

    def continues(ranks):
        batches = ranks.minibatches(X, Y, batch_size=7, seed=3)
        batches.load_state_dict(saved)
        assert batches.first == 2
        return [(part.batch, part.rows.tolist()) for parts in batches for part in parts]

    found = [one for parts in on_ranks(4, continues) for one in parts]
    order = gdopt.minibatches(X, Y, batch_size=7, seed=3).order(0)
    assert sorted(row for _, rows in found for row in rows) == sorted(order[14:])
    assert {number for number, _ in found} == {2, 3, 4}


def test_rows_alone_where_examples_are_not_held():
    def rows(ranks):
        batches = ranks.minibatches(30, batch_size=7, seed=3)
        return [part for parts in batches for part in parts]

    parts = [part for found in on_ranks(2, rows) for part in found]
    assert sorted(row for part in parts for row in part.rows) == [*range(30)]
    assert {part.arrays for part in parts} == {()}


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("seed", {"seed": 4}),
        ("batch_size", {"batch_size": 8}),
        ("replicas", {"replicas": 4}),
        ("shuffle", {"shuffle": False}),
    ],
)
def test_ranks_with_other_batches_are_refused(what, change):
    def run(ranks):
        given = {"batch_size": 7, "seed": 3} | (change if ranks.rank else {})
        with pytest.raises(gdopt.ParallelError, match=f"{what}.*rank 0.*rank 1"):
            ranks.minibatches(X, Y, **given)

    on_ranks(2, run)


def test_ranks_with_other_numbers_of_examples_are_refused():
    def run(ranks):
        with pytest.raises(gdopt.ParallelError, match=r"count.*30.*rank 0.*29.*rank 1"):
            ranks.minibatches(X[: 30 - ranks.rank], batch_size=7)

    on_ranks(2, run)


@pytest.mark.parametrize("size", range(1, 9))
def test_ranks_have_neighbouring_replicas_and_few_nodes(size):
    owned = [share_of(rank, size, 8) for rank in range(size)]
    assert [k for own in owned for k in own] == [*range(8)]
    for own in owned:
        nodes = nodes_of(own)
        assert [first + k for first, width in nodes for k in range(width)] == [*own]
        assert all(first % width == 0 for first, width in nodes)
        assert len(nodes) <= 2 * 3
