from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.data import distribution


def compared(dev, test, axis=0):
    """Find the classes of both parts together, as a split does."""
    backend = gdopt.backend_of(dev)
    both = backend.xp.concatenate([dev, test], axis)
    found = distribution.classes_of(backend, both, axis)
    if found is None:
        return dev, test, None
    return *np.split(found[1], [dev.shape[axis]]), found[0]


def differences(dev, test, axis=0):
    """Return what differs between two arrays, or two tuples of arrays."""
    dev = dev if isinstance(dev, tuple) else (dev,)
    test = test if isinstance(test, tuple) else (test,)
    pairs = [compared(*pair, axis) for pair in zip(dev, test, strict=True)]
    return distribution.differences(gdopt.backend_of(dev[0]), pairs, axis)


def scores(dev, test, axis=0):
    """Return names, means in dev and in test, and scores; empty where none are."""
    backend = gdopt.backend_of(dev)
    rows = distribution.scores(backend, *compared(dev, test, axis), axis)
    names, _, *numbers = zip(*rows, strict=True) if rows else [()] * 5
    dev, test, score = map(np.array, numbers)
    return SimpleNamespace(names=list(names), dev=dev, test=test, score=score)


def test_the_score_of_a_feature_is_a_worked_figure(monkeypatch):
    # Differences 3, 1, 2, 2: their sum 8, the root of the sum of squares sqrt(18).
    dev = np.array([[4.0, 0], [2.0, 0], [3.0, 0], [3.0, 0], [9.0, 9]])
    test = np.ones((4, 2)) * [1, 0]
    found = scores(dev, test)
    assert found.score == pytest.approx([8 / np.sqrt(18), 0])
    assert (found.dev.tolist(), found.test.tolist()) == ([3, 0], [1, 0])
    monkeypatch.setattr(distribution, "FALSE_ALARM", 0.9)
    # The limit is sqrt(2 ln(4 / .9)).
    assert differences(dev, test) == [
        "feature 0 of array 0 (mean 3 in dev, 1 in test; score 1.9, limit 1.7)"
    ]


def test_the_score_of_a_class_is_that_of_its_indicator():
    random = np.random.default_rng(0)
    dev, test = random.integers(0, 3, 90), random.integers(0, 4, 80)
    found = scores(dev, test)
    assert found.names == ["class 0", "class 1", "class 2", "class 3"]
    for k in range(4):
        other = scores((dev == k).astype(float), (test == k).astype(float))
        assert found.score[k] == pytest.approx(other.score[0])
        assert (found.dev[k], found.test[k]) == (other.dev[0], other.test[0])


@pytest.mark.parametrize("sizes", [(40, 40), (200, 12)])
@pytest.mark.parametrize("kind", ["normal", "cauchy", "rare", "classes"])
def test_false_alarms_are_no_more_than_promised(kind, sizes, monkeypatch):
    # A rate of .2 is promised; 400 random splits of one pool would show .28 for certain
    # (4 standard deviations), and the bound leaves room.
    monkeypatch.setattr(distribution, "FALSE_ALARM", 0.2)
    random = np.random.default_rng(0)
    pool = {
        "normal": lambda: random.normal(size=(sum(sizes), 5)),
        "cauchy": lambda: random.standard_cauchy((sum(sizes), 5)),
        "rare": lambda: (random.random((sum(sizes), 5)) < 0.05).astype(float),
        "classes": lambda: random.integers(0, 6, sum(sizes)),
    }[kind]()
    alarms = 0
    for _ in range(400):
        order = random.permutation(len(pool))
        dev, test = pool[order[: sizes[0]]], pool[order[sizes[0] :]]
        alarms += bool(differences(dev, test))
    assert alarms <= 0.28 * 400


def test_a_shift_of_half_a_deviation_is_found():
    random = np.random.default_rng(0)
    dev, test = random.normal(size=(2, 500, 100))
    test[:, 42] += 0.5
    (found,) = differences(dev, test)
    assert found.startswith("feature 42 of array 0 (mean ")


def test_the_largest_score_comes_first_and_arrays_are_counted():
    dev = (np.zeros((100, 2)), np.arange(100.0), np.repeat(["x", "y"], 50))
    test = (np.zeros((100, 2)), np.arange(100.0) + 50, np.repeat(["y"], 100))
    test[0][:, 1] = 1
    found = differences(dev, test)
    assert [text.split(" (")[0] for text in found] == [
        "feature 1 of array 0",
        "the value of array 1",
        "class x of array 2",
        "class y of array 2",
    ]


def test_the_limit_grows_with_the_number_of_features():
    for width, limit in ((1, "3.9"), (1000, "5.4")):
        dev, test = np.zeros((2, 100, width))
        test[:, 0] = 1
        assert f"limit {limit})" in differences(dev, test)[0]


@pytest.mark.parametrize("axis", [0, 1])
def test_blocks_do_not_change_the_result(monkeypatch, axis):
    random = np.random.default_rng(0)
    dev, test = random.normal(size=(2, 50, 2, 3)) + np.arange(2)[:, None, None, None]
    expected = scores(dev, test)
    monkeypatch.setattr("gdopt.data.gather.BLOCK", 25)
    found = scores(dev.swapaxes(0, axis), test.swapaxes(0, axis), axis)
    assert found.names == expected.names
    assert found.names[4] == "feature (1, 1)"
    assert found.score == pytest.approx(expected.score)


def test_pairs_with_missing_values_are_left_out():
    dev, test = np.zeros((2, 50))
    test[:] = 1
    test[3], dev[4], dev[5], test[5] = np.nan, np.inf, np.inf, np.inf
    found = scores(dev, test)
    assert found.score == pytest.approx(np.sqrt(47))
    assert (found.dev, found.test) == (0, 1)


def test_values_whose_squares_overflow_raise_no_alarm():
    dev, test = np.zeros((2, 50))
    test[0] = 1e300
    assert differences(dev, test) == []


def test_small_differences_of_unsigned_numbers_do_not_wrap_around():
    dev, test = np.random.default_rng(0).integers(0, 2, (2, 200, 3)).astype(np.uint8)
    assert differences(dev, test) == []


def test_what_is_no_real_number_is_not_compared():
    dev, test = np.zeros((2, 50), complex)
    assert scores(dev, test + 1).names == []
    assert scores(np.array([{}] * 9), np.zeros(9, object)).names == []
    assert differences(dev, test + 1) == []


def test_many_distinct_whole_numbers_are_quantities():
    dev, test = np.arange(3000).reshape(2, 1500)
    assert differences(dev, test)[0].startswith("the value of array 0 ")


def test_a_device_gives_the_same_differences(device):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(200, 3)), np.repeat([0, 1], 100)
    X[100:, 1] += 2
    here = differences((X[:100], y[:100]), (X[100:], y[100:]))
    there = differences(
        (device.put(X[:100]), device.put(y[:100])),
        (device.put(X[100:]), device.put(y[100:])),
    )
    names = [text.split(" of ")[0] for text in here]
    assert names == ["class 0", "class 1", "feature 1"]
    assert there == here
