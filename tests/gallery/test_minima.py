import math

import numpy as np
import pytest

from gdopt import gallery
from gdopt.gallery.optimization.minima import MATRICES


def test_the_share_of_minima_falls_with_dimension_and_faster_than_coins(numbers):
    case = numbers(gallery.share_of_minima)
    shares, coins = list(case["shares"].values()), list(case["coins"].values())
    assert list(case["shares"]) == [1, 2, 3, 4, 5]
    assert all(np.diff(shares) < 0)
    assert coins == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]
    ratios = np.array(shares[1:]) / coins[1:]
    assert (ratios < 0.7).all()
    assert all(np.diff(ratios) < 0)
    assert 0 < shares[-1] < 1e-3


def test_what_is_neither_minimum_nor_as_rare_a_maximum_is_a_saddle(numbers):
    case = numbers(gallery.share_of_minima)
    saddles = list(case["saddles"].values())
    assert saddles[0] == 0
    assert all(np.diff(saddles) > 0)
    assert saddles[-1] > 0.999
    expected = [1 - 2 * share for share in case["shares"].values()]
    assert saddles == pytest.approx(expected, abs=0.006)  # 4 deviations of the count


def test_the_shares_are_the_exact_ones_where_these_are_known(numbers):
    """For n = 2: a normal vector (trace/2, difference/2, off) in a cone of 45 degrees.

    The cone's share of all directions is (1 - cos 45) / 2; that of n = 3 is taken from
    sums over the ensemble's density: (pi - 2 sqrt 2) / (4 pi).
    """
    case = numbers(gallery.share_of_minima)
    exact = [1 / 2, (1 - math.cos(math.pi / 4)) / 2, 0.0249209]
    assert list(case["known"].values()) == pytest.approx(exact, rel=1e-4)
    for size, share in case["known"].items():
        error = math.sqrt(share * (1 - share) / MATRICES)
        assert case["shares"][size] == pytest.approx(share, abs=4 * error)


def test_the_known_share_of_three_dimensions_is_that_of_another_count():
    """By Sylvester's criterion, with the elements drawn one by one."""
    count = 200_000
    rng = np.random.default_rng(1)
    a, b, c = math.sqrt(2) * rng.standard_normal((3, count))
    d, e, f = rng.standard_normal((3, count))  # above the diagonal
    second = a * b - d * d
    third = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    share = ((a > 0) & (second > 0) & (third > 0)).mean()
    known = (math.pi - 2 * math.sqrt(2)) / (4 * math.pi)
    assert share == pytest.approx(known, abs=4 * math.sqrt(known / count))
