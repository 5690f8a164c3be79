import numpy as np
import pytest

averages = pytest.importorskip("gdopt.guide.pictures.averages")
BETAS = [0.5, 0.9, 0.98]


@pytest.fixture
def lines(run_script):
    """Return ``lines(name)``: the values of a picture's lines, the days' first."""
    figures = run_script(averages).figures
    return lambda name: [line.get_ydata() for line in figures[name].axes[0].get_lines()]


def test_the_larger_beta_the_smoother_and_the_later(lines):
    _, *found = lines("averages.png")
    rough = [np.mean(np.diff(average, n=2) ** 2) for average in found]
    assert rough[0] > 10 * rough[1] > 100 * rough[2]
    assert [averages.lag(beta) for beta in BETAS] == [1, 9, 40]


@pytest.mark.parametrize("beta", BETAS)
def test_the_lag_is_that_of_the_filters_phase(beta):
    """The response (1 - beta) / (1 - beta e^-iw) turns a wave back by its angle."""
    w = 2 * np.pi / averages.DAYS
    expected = np.arctan2(beta * np.sin(w), 1 - beta * np.cos(w)) / w
    # The peak is a whole day, and what the average started from pulls it a little.
    assert averages.lag(beta) == pytest.approx(expected, abs=1)


def test_the_averages_are_those_of_the_formula(lines):
    days, *found = lines("averages.png")
    np.testing.assert_array_equal(days, averages.temperatures())
    for beta, average in zip(BETAS, found, strict=True):
        v, expected = 0.0, []
        for t, x in enumerate(days, 1):
            v = beta * v + (1 - beta) * x
            expected.append(v / (1 - beta**t))
        np.testing.assert_allclose(average, expected, rtol=1e-12)


def test_the_legend_says_how_late_each_is(run_script):
    legend = run_script(averages).figures["averages.png"].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "a day",
        "beta 0.5, about 2 days: 1 day late",
        "beta 0.9, about 10 days: 9 days late",
        "beta 0.98, about 50 days: 40 days late",
    ]


def test_a_year_of_temperatures_has_a_cold_winter_and_the_noise_that_it_says():
    values, season = averages.temperatures(), averages.season()
    assert values.shape == (365,)
    assert (season.argmin(), season.argmax()) == (20, 202)
    assert (values - season).std() == pytest.approx(5, rel=0.1)


def test_without_correction_an_average_starts_too_low_and_later_both_agree(lines):
    days, corrected, uncorrected = lines("correction.png")
    assert corrected[0] == pytest.approx(days[0])
    assert uncorrected[0] == pytest.approx(0.02 * days[0])
    shares = uncorrected / corrected
    np.testing.assert_allclose(shares, 1 - 0.98 ** np.arange(1, 241), rtol=1e-12)
    assert shares[:10].max() < 0.2
    assert shares[-1] > 0.99


def test_the_weights_fall_to_1_over_e_at_about_the_window(run_script):
    axes = run_script(averages).figures["weights.png"].axes
    windows = {0.5: 2, 0.9: 10, 0.98: 50}
    for axis, (beta, window) in zip(axes, windows.items(), strict=True):
        bars = sorted(axis.patches, key=lambda bar: bar.get_x())
        weights = np.array([bar.get_height() for bar in bars])
        assert weights[:2] == pytest.approx([1 - beta, (1 - beta) * beta])
        assert int(np.argmax(weights < weights[0] / np.e)) == window
        inside = [bar.get_facecolor() == bars[0].get_facecolor() for bar in bars]
        assert inside == [True] * window + [False] * (len(bars) - window)
        share = 1 - beta**window
        title = f"beta {beta}: {share:.0%} on the last {window} days"
        assert axis.get_title("left") == title
