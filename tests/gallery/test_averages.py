import numpy as np
import pytest

from gdopt import gallery
from gdopt.gallery.averages import DAYS, season, temperatures

BETAS = [0.5, 0.9, 0.98]


def test_the_larger_beta_the_smoother_and_the_later(numbers):
    case = numbers(gallery.averages)
    rough = [case["roughness"][beta] for beta in BETAS]
    assert rough[0] > 10 * rough[1] > 100 * rough[2]
    assert [case["lag"][beta] for beta in BETAS] == [1, 9, 40]


@pytest.mark.parametrize("beta", BETAS)
def test_the_lag_is_that_of_the_filters_phase(numbers, beta):
    """The response (1 - beta) / (1 - beta e^-iw) turns a wave back by its angle."""
    w = 2 * np.pi / DAYS
    expected = np.arctan2(beta * np.sin(w), 1 - beta * np.cos(w)) / w
    # The peak is a whole day, and what the average started from pulls it a little.
    assert numbers(gallery.averages)["lag"][beta] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("beta", BETAS)
def test_the_averages_are_those_of_the_formula(numbers, beta):
    v, expected = 0.0, []
    for t, x in enumerate(temperatures(), 1):
        v = beta * v + (1 - beta) * x
        expected.append(v / (1 - beta**t))
    found = numbers(gallery.averages)["averages"][beta]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_year_of_temperatures_has_a_cold_winter_and_the_noise_that_it_says():
    values = temperatures()
    assert values.shape == (365,)
    assert (season().argmin(), season().argmax()) == (20, 202)
    assert (values - season()).std() == pytest.approx(5, rel=0.1)


def test_without_correction_an_average_starts_too_low_and_later_both_agree(numbers):
    case = numbers(gallery.correction)
    first = case["values"][0]
    assert case["corrected"][0] == pytest.approx(first)
    assert case["uncorrected"][0] == pytest.approx(0.02 * first)
    shares = case["uncorrected"] / case["corrected"]
    np.testing.assert_allclose(shares, 1 - 0.98 ** np.arange(1, 241), rtol=1e-12)
    assert shares[:10].max() < 0.2
    assert shares[-1] > 0.99


def test_the_weights_fall_to_1_over_e_at_about_the_window(numbers):
    case = numbers(gallery.weights)
    for beta, window in {0.5: 2, 0.9: 10, 0.98: 50}.items():
        weights = case["weights"][beta]
        below = int(np.argmax(weights < weights[0] / np.e))
        assert below == window
    assert case["sums"] == {
        0.5: pytest.approx(0.75),
        0.9: pytest.approx(1 - 0.9**10),
        0.98: pytest.approx(1 - 0.98**50),
    }
    assert case["weights"][0.98][:2] == pytest.approx([0.02, 0.0196])  # the course's
