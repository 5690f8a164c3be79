import numpy as np
import pytest

from gdopt.data import compare_distributions
from gdopt.errors import ArgumentError, ArgumentTypeError


def test_the_score_of_a_feature_is_a_worked_figure():
    # Differences 3, 1, 2, 2: their sum 8, the root of the sum of squares sqrt(18).
    dev = np.array([[4.0, 0], [2.0, 0], [3.0, 0], [3.0, 0], [9.0, 9]])
    test = np.ones((4, 2)) * [1, 0]
    (found,) = compare_distributions(dev, test, false_alarm=0.9)
    assert found.score == pytest.approx(8 / np.sqrt(18))
    assert found.limit == pytest.approx(np.sqrt(2 * np.log(4 / 0.9)))
    assert (found.array, found.what, found.dev, found.test) == (0, "feature 0", 3, 1)


def test_the_score_of_a_class_is_that_of_its_indicator():
    random = np.random.default_rng(0)
    dev, test = random.integers(0, 3, 90), random.integers(0, 4, 80)
    found = compare_distributions(dev, test, false_alarm=0.999)
    numbers = [
        compare_distributions(
            (dev == k).astype(float), (test == k).astype(float), false_alarm=0.999
        )
        for k in range(4)
    ]
    expected = {f"class {k}": n[0] for k, n in enumerate(numbers) if n}
    assert "class 3" in expected
    for difference in found:
        other = expected[difference.what]
        assert difference.score == pytest.approx(other.score)
        assert (difference.dev, difference.test) == (other.dev, other.test)


@pytest.mark.parametrize("sizes", [(40, 40), (200, 12)])
@pytest.mark.parametrize("kind", ["normal", "cauchy", "rare", "classes"])
def test_false_alarms_are_no_more_than_promised(kind, sizes):
    # A rate of .2 is promised; 400 random splits of one pool would show .28 for certain
    # (4 standard deviations), and the bound leaves room.
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
        alarms += bool(compare_distributions(dev, test, false_alarm=0.2))
    assert alarms <= 0.28 * 400


def test_a_shift_of_half_a_deviation_is_found():
    random = np.random.default_rng(0)
    dev, test = random.normal(size=(2, 500, 100))
    test[:, 42] += 0.5
    (found,) = compare_distributions(dev, test)
    assert found.what == "feature 42"


def test_the_largest_score_comes_first_and_arrays_are_counted():
    dev = (np.zeros((100, 2)), np.arange(100.0), np.repeat(["x", "y"], 50))
    test = (np.zeros((100, 2)), np.arange(100.0) + 50, np.repeat(["y"], 100))
    test[0][:, 1] = 1
    found = compare_distributions(dev, test)
    assert [(d.array, d.what) for d in found] == [
        (0, "feature 1"),
        (1, "the value"),
        (2, "class x"),
        (2, "class y"),
    ]


def test_the_limit_grows_with_the_number_of_features():
    limits = []
    for width in (1, 1000):
        dev, test = np.zeros((2, 100, width))
        test[:, 0] = 1
        limits.append(compare_distributions(dev, test)[0].limit)
    assert limits == pytest.approx([3.899, 5.387], abs=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_blocks_do_not_change_the_result(monkeypatch, axis):
    random = np.random.default_rng(0)
    dev, test = random.normal(size=(2, 50, 2, 3)) + np.arange(2)[:, None, None, None]
    expected = compare_distributions(dev, test)
    monkeypatch.setattr("gdopt.data.checks.BLOCK", 25)
    found = compare_distributions(
        dev.swapaxes(0, axis), test.swapaxes(0, axis), axis=axis
    )
    assert [d.what for d in found] == [d.what for d in expected]
    assert found[0].what.startswith("feature (")
    assert [d.score for d in found] == pytest.approx([d.score for d in expected])


def test_pairs_with_missing_values_are_left_out():
    dev, test = np.zeros((2, 50))
    test[:] = 1
    test[3], dev[4], dev[5], test[5] = np.nan, np.inf, np.inf, np.inf
    (found,) = compare_distributions(dev, test)
    assert found.score == pytest.approx(np.sqrt(47))
    assert (found.dev, found.test) == (0, 1)


def test_values_whose_squares_overflow_raise_no_alarm():
    dev, test = np.zeros((2, 50))
    test[0] = 1e300
    assert compare_distributions(dev, test) == ()


def test_small_differences_of_unsigned_numbers_do_not_wrap_around():
    dev, test = np.random.default_rng(0).integers(0, 2, (2, 200, 3)).astype(np.uint8)
    assert compare_distributions(dev, test) == ()


def test_what_is_no_real_number_is_not_compared():
    dev, test = np.zeros((2, 50), complex)
    assert compare_distributions(dev, test + 1) == ()
    assert (
        compare_distributions(
            np.array([{}] * 9), np.array([[]] * 9, object)[:, :0].sum(1)
        )
        == ()
    )


def test_many_distinct_whole_numbers_are_quantities():
    dev, test = np.arange(3000).reshape(2, 1500)
    assert compare_distributions(dev, test)[0].what == "the value"


def test_a_device_gives_the_same_differences(device):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(200, 3)), np.repeat([0, 1], 100)
    X[100:, 1] += 2
    here = compare_distributions((X[:100], y[:100]), (X[100:], y[100:]))
    there = compare_distributions(
        (device.put(X[:100]), device.put(y[:100])),
        (device.put(X[100:]), device.put(y[100:])),
    )
    assert [d.what for d in here] == ["class 0", "class 1", "feature 1"]
    assert [d.what for d in there] == [d.what for d in here]
    assert [d.score for d in there] == pytest.approx([d.score for d in here])


@pytest.mark.parametrize(
    ("dev", "test", "message"),
    [
        (
            (np.zeros(5), np.zeros(5)),
            (np.zeros(5),),
            "equally many arrays, got 2 and 1",
        ),
        (np.zeros((5, 2)), np.zeros((5, 3)), r"same arrays, .*\(5, 2\) and .*\(5, 3\)"),
        (np.zeros(5), np.zeros(5, int), "same arrays, got float64 .* and int64 .*"),
        (np.zeros(5), np.zeros((5, 1)), "same arrays"),
        (np.array(1.0), np.zeros(5), "array 0 of dev must have one dimension or more"),
    ],
)
def test_parts_of_different_arrays_are_refused(dev, test, message):
    with pytest.raises(ArgumentError, match=message):
        compare_distributions(dev, test)


@pytest.mark.parametrize("rate", [0, 1, float("nan")])
def test_a_false_alarm_rate_out_of_range_is_refused(rate):
    with pytest.raises(ArgumentError, match=r"false_alarm must be in \(0, 1\)"):
        compare_distributions(np.zeros(5), np.zeros(5), false_alarm=rate)


def test_a_list_is_refused():
    with pytest.raises(ArgumentTypeError, match="array 0 of test must be a NumPy"):
        compare_distributions(np.zeros(5), [0.0] * 5)
