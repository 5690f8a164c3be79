import numpy as np
import pytest

from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import dropout


def drop(a, keep, seed=0):
    return dropout(a, keep_prob=keep, generator=np.random.default_rng(seed))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_units_are_kept_with_that_probability_and_the_mean_stays(keep):
    output, _ = drop(np.ones((400, 500)), keep)
    assert set(np.unique(output)) == {0.0, 1 / keep}
    # 200,000 draws: five standard deviations of the share are under .006.
    assert (output > 0).mean() == pytest.approx(keep, abs=0.006)
    assert output.mean() == pytest.approx(1, abs=0.006 / keep)


def test_the_gradient_passes_where_the_units_were_kept():
    a = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    output, backprop = drop(a, 0.6)
    expected = np.where(output != 0, np.float32(2 / 0.6), 0)
    np.testing.assert_allclose(backprop(np.full_like(a, 2)), expected, rtol=1e-6)
    assert backprop(a).dtype == output.dtype == np.float32


def test_one_seed_drops_the_same_units_and_another_other_ones():
    a = np.ones(100)
    np.testing.assert_array_equal(drop(a, 0.5)[0], drop(a, 0.5)[0])
    assert (drop(a, 0.5)[0] != drop(a, 0.5, seed=1)[0]).any()


def test_keeping_all_changes_nothing_and_the_input_is_left_alone():
    a = np.arange(6.0)
    np.testing.assert_array_equal(drop(a, 1)[0], a)
    drop(a, 0.5)
    assert a.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.gpu
def test_the_same_units_are_dropped_on_the_gpu():
    cupy = pytest.importorskip("cupy")
    expected, _ = drop(np.ones((8, 9), np.float32), 0.5)
    actual, _ = drop(cupy.ones((8, 9), np.float32), 0.5)
    np.testing.assert_array_equal(expected, actual.get())


@pytest.mark.parametrize(
    ("keep", "error"),
    [
        (0, ArgumentError),
        (-0.5, ArgumentError),
        (1.001, ArgumentError),
        (float("nan"), ArgumentError),
        (float("inf"), ArgumentError),
        (True, ArgumentTypeError),
        ("0.5", ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_a_keep_that_is_no_probability_is_refused_and_draws_nothing(keep, error):
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    with pytest.raises(
        error, match=r"keep_prob must be (in \(0, 1\] and finite|a number)"
    ):
        dropout(np.ones(3), keep_prob=keep, generator=generator)
    assert generator.bit_generator.state == before


def test_a_seed_in_place_of_a_generator_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"must be a numpy\.random\.Generator"):
        dropout(np.ones(3), keep_prob=0.5, generator=0)


def test_a_gradient_of_another_shape_is_refused():
    _, backprop = drop(np.ones((2, 3)), 0.5)
    with pytest.raises(ArgumentError, match="d_output"):
        backprop(np.ones((3, 2)))
