import itertools
import warnings

import numpy as np
import pytest
from data.examples import data

from gdopt.data import Split, split
from gdopt.errors import ArgumentError, DataWarning


@pytest.mark.parametrize(
    ("count", "expected"),
    [(100, (60, 20, 20)), (10, (6, 2, 2)), (7, (5, 1, 1)), (3, (1, 1, 1))],
)
def test_the_default_is_60_20_20(count, expected):
    assert tuple(map(len, split(np.arange(count), seed=0))) == expected


def test_without_dev_the_default_is_70_30():
    train, dev, test = split(np.arange(100), dev=None, seed=0)
    assert (len(train), dev, len(test)) == (70, None, 30)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"train": 0.98, "dev": 0.01, "test": 0.01}, (980, 10, 10)),
        ({"train": 900, "dev": 60, "test": 40}, (900, 60, 40)),
        ({"train": 5, "dev": 6, "test": 7}, (5, 6, 7)),
        ({"train": np.float32(0.5), "dev": 0.25, "test": 0.25}, (500, 250, 250)),
        ({"train": np.int64(10), "dev": 1, "test": 1}, (10, 1, 1)),
    ],
)
def test_parts_are_fractions_or_counts(shares, expected):
    parts = split(np.arange(1000.0), seed=0, **shares)
    assert tuple(map(len, parts)) == expected


def test_without_dev_fractions_may_be_given():
    train, dev, test = split(np.arange(10), train=0.9, dev=None, test=0.1, seed=0)
    assert (len(train), dev, len(test)) == (9, None, 1)


def test_every_example_is_in_one_part_with_all_its_arrays():
    X, k = data(101)
    parts = split(X, k, seed=0)
    for x, index in parts:
        np.testing.assert_array_equal(X[index.astype(int)], x)
    assert sorted(np.concatenate([part[1] for part in parts])) == k.tolist()


def test_the_result_has_names_and_one_array_comes_bare():
    X, k = data(20)
    one, several = split(X, seed=0), split(X, k, seed=0)
    assert isinstance(one, Split)
    assert isinstance(one.dev, np.ndarray)
    assert isinstance(several.test, tuple)
    np.testing.assert_array_equal(one.train, several.train[0])


def test_the_seed_is_0_by_default_and_checked_after_the_data():
    X = np.arange(40)
    assert np.array_equal(split(X).test, split(X, seed=0).test)
    with pytest.raises(ArgumentError, match="array 0 holds 40, array 1 holds 39"):
        split(X, X[1:], seed=-1)


def test_the_seed_decides_the_parts():
    X, _ = data(50)
    parts = [split(X, seed=seed).test[:, 0].tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1]
    assert parts[0] != parts[2]


def test_parts_are_copies():
    X, _ = data(50)
    for shuffle in (True, False):
        parts = split(X, seed=0, shuffle=shuffle)
        assert not any(np.shares_memory(X, part) for part in parts)


@pytest.mark.parametrize("stratify", [None, np.zeros(10, int)])
def test_without_shuffling_the_order_stays(stratify):
    train, dev, test = split(np.arange(10.0), shuffle=False, stratify=stratify)
    assert np.concatenate([train, dev, test]).tolist() == list(range(10))


def test_columns_are_examples_with_axis_1():
    X, k = data(50)
    rows = split(X, k, seed=0)
    columns = split(X.T, k, k[None], seed=0, axis=1)
    for (x, index), (x_t, index_t, index_row) in zip(rows, columns, strict=True):
        np.testing.assert_array_equal(x.T, x_t)
        np.testing.assert_array_equal(index, index_t)
        np.testing.assert_array_equal(index[None], index_row)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_part_gets_its_share_of_every_class(text, shuffle):
    random = np.random.default_rng(0)
    sizes_tried = 0
    for counts in itertools.product([5, 7, 50, 133], repeat=3):
        y = random.permutation(np.repeat(np.arange(3), counts))
        labels = np.array(["a", "b", "c"])[y] if text else y
        with warnings.catch_warnings():
            if not shuffle:
                warnings.simplefilter("ignore", DataWarning)
            parts = split(y, seed=0, stratify=labels, shuffle=shuffle)
        m = sum(counts)
        assert len(parts.dev) == len(parts.test) == round(0.2 * m)
        for part in parts:
            got, share = (
                np.bincount(part, minlength=3),
                len(part) * np.array(counts) / m,
            )
            assert (abs(got - share) < 1.1).all()  # as measured; 2 is what is promised
        sizes_tried += 1
    assert sizes_tried == 64


def test_shares_that_are_whole_come_out_exactly():
    y = np.repeat(np.arange(4), [5, 10, 20, 100])
    for part, share in zip(split(y, seed=3, stratify=y), (3, 1, 1), strict=True):
        assert np.bincount(part).tolist() == [share, 2 * share, 4 * share, 20 * share]


def test_counts_are_stratified_too():
    y = np.repeat(np.arange(2), [300, 700])
    train, dev, test = split(y, train=100, dev=20, test=10, seed=0, stratify=y)
    assert [np.bincount(part).tolist() for part in (train, dev, test)] == [
        [30, 70],
        [6, 14],
        [3, 7],
    ]


def test_stratified_parts_stay_in_random_order():
    y = np.repeat([0, 1], 50)
    train = split(y, seed=0, stratify=y).train
    assert np.count_nonzero(np.diff(train)) > 10


def test_stratified_choice_within_a_class_depends_on_the_seed():
    y = np.repeat([0, 1], 50)
    k = np.arange(100.0)
    tests = [split(k, seed=seed, stratify=y).test.tolist() for seed in (0, 1)]
    assert sorted(tests[0]) != sorted(tests[1])


LABELS = {
    "whole floats": lambda y: y.astype(float),
    "truth values": lambda y: y > 0,
    "objects": lambda y: np.array(["b", "a"], dtype=object)[y],
    "StringDType": lambda y: np.array(["a", "ö"])[y].astype(np.dtypes.StringDType()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_stratify_as_numbers_do(kind):
    if not hasattr(np.dtypes, "StringDType") and kind == "StringDType":
        pytest.skip("NumPy 2 brings it")
    y = np.repeat([0, 1], [20, 30])
    train, _, _ = split(y, seed=0, stratify=LABELS[kind](y))
    assert np.bincount(train).tolist() == [12, 18]


def test_more_than_a_thousand_classes_stratify():
    y = np.repeat(np.arange(3000), 5)
    for part, share in zip(split(y, seed=0, stratify=y), (3, 1, 1), strict=True):
        assert (np.bincount(part, minlength=3000) == share).all()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dev", [0.2, None])
@pytest.mark.filterwarnings("ignore::gdopt.errors.DataWarning")
def test_a_group_is_in_one_part(shuffle, dev):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), rng.integers(1, 15, 40))
    names = np.char.mod("patient %d", groups)
    if shuffle:
        groups = rng.permutation(groups)
        names = np.char.mod("patient %d", groups)
    k = np.arange(len(groups))
    parts = split(k, seed=0, dev=dev, groups=names, shuffle=shuffle)
    given = [part for part in parts if part is not None]
    found = [set(groups[part]) for part in given]
    assert sorted(np.concatenate(given)) == k.tolist()
    assert sum(map(len, found)) == 40
    shares = (0.6, 0.2, 0.2) if dev else (0.7, 0.3)
    for part, share in zip(given, shares, strict=True):
        assert abs(len(part) - share * len(k)) <= 14
        assert shuffle or (np.diff(part) > 0).all()


def test_the_seed_draws_the_groups():
    groups = np.repeat(np.arange(20), 5)
    k = np.arange(100)
    tests = [split(k, seed=seed, groups=groups).test.tolist() for seed in (0, 0, 1)]
    assert tests[0] == tests[1]
    assert set(tests[0]) != set(tests[2])


@pytest.mark.parametrize("shape", [(1, 50), (50, 1)])
def test_classes_may_lie_in_a_row_or_column(shape):
    y = np.repeat([0, 1], 25)
    expected = split(y, seed=0, stratify=y)
    parts = split(y, seed=0, stratify=y.reshape(shape))
    for one, other in zip(expected, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sorted_data_in_order_are_warned_of():
    X, _ = data(1000)
    y = np.repeat([0, 1, 2, 3, 4], 200)
    with pytest.warns(DataWarning) as caught:
        split(X[:, 1:], y, shuffle=False)
    texts = [str(warning.message) for warning in caught]
    assert texts[0].startswith("train has no example of class 3 of array 1 and 1 more,")
    assert texts[1].startswith(
        "dev and test differ in distribution: class 3 of array 1 (share 1 in dev, 0 in "
        "test; score 14.1, limit 4.2) and 1 more;"
    )
    assert [warning.filename for warning in caught] == [__file__, __file__]


def test_a_shifted_feature_is_named():
    X, _ = data(1000)
    X[:, 0] = 0
    X[800:, 2] += 1
    with pytest.warns(
        DataWarning, match=r"feature 2 of array 0 \(mean -?0\.0.* in dev"
    ):
        split(X, shuffle=False)


def test_random_splits_raise_no_false_alarm():
    # At most one in 1000 is promised; all of these, and their seeds, are fixed.
    random = np.random.default_rng(1)
    y = random.integers(0, 10, 400)
    rare = (random.random((400, 30)) < 0.01).astype(np.uint8)
    heavy = random.standard_cauchy((400, 30))
    for seed in range(200):
        split(rare, heavy, y, seed=seed)
        split(rare, heavy, y, train=80, dev=300, test=20, seed=seed)


def test_a_class_that_training_never_sees_is_warned_of():
    y = np.array([0, 1] * 9 + [7, 0])
    with pytest.warns(DataWarning, match="train has no example of class 7 of array 0,"):
        split(y, shuffle=False)


def test_whole_numbers_hardly_met_twice_are_no_classes():
    split(np.arange(20) ** 2, seed=0)


def test_whether_whole_numbers_are_classes_depends_on_the_whole_array():
    # Dev and test hold 800 distinct ones, each of them once.
    with pytest.warns(DataWarning, match="the value of array 0 "):
        split(np.arange(2000), shuffle=False)


def test_one_seed_gives_the_same_parts_on_a_device(device):
    X, k = data(60)
    y = (k.astype(int) % 3).astype(np.int32)
    for stratify in (False, True):
        here = split(X, y, seed=2, stratify=y if stratify else None)
        there = split(
            device.put(X),
            device.put(y),
            seed=2,
            stratify=device.put(y) if stratify else None,
        )
        for one, other in zip(here, there, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, device.get(b))


def test_warnings_come_from_a_device_too(device):
    y = device.put(np.repeat([0, 1, 2, 3, 4], 200))
    with pytest.warns(DataWarning) as caught:
        split(y, shuffle=False)
    assert len(caught) == 2
