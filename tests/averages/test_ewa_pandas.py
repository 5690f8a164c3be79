"""Averages of whole series against pandas and SciPy, who compute step by step."""

import numpy as np
import pytest

import gdopt

BETAS = [0.0, 0.5, 0.9, 0.98, 0.9999]
# About the ends of parts and of the chunks that are averaged together.
COUNTS = [1, 2, 3, 30, 31, 32, 961, 1000, 131_068, 131_069, 300_000]
SERIES = 10 + np.random.default_rng(0).standard_normal(max(COUNTS)).cumsum()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.peers("pandas")
def test_a_series_equals_pandas(beta, count):
    import pandas as pd

    series = SERIES[:count].copy()
    frame = pd.Series(series)
    adjusted = frame.ewm(alpha=1 - beta, adjust=True).mean().to_numpy()
    scale = 1e-12 * np.abs(series).max()
    assert np.abs(gdopt.ewa(series, beta) - adjusted).max() < scale
    plain = frame.ewm(alpha=1 - beta, adjust=False).mean().to_numpy()
    assert np.abs(gdopt.ewa(series, beta, initial="first") - plain).max() < scale


@pytest.mark.peers("pandas")
def test_a_table_equals_pandas_along_both_axes():
    import pandas as pd

    table = SERIES[:24_000].reshape(4000, 6)
    expected = pd.DataFrame(table).ewm(alpha=0.02).mean().to_numpy()
    assert gdopt.ewa(table, 0.98) == pytest.approx(expected, rel=1e-12)
    across = gdopt.ewa(table.T.copy(), 0.98, axis=1)
    assert across.T == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("count", COUNTS)
def test_without_correction_a_series_equals_scipys_filter(beta, count):
    signal = pytest.importorskip("scipy.signal")
    series = SERIES[:count]
    weights = [1 - beta], [1, -beta]
    plain = signal.lfilter(*weights, series)
    scale = 1e-12 * np.abs(series).max()
    actual = gdopt.ewa(series, beta, bias_correction=False)
    assert np.abs(actual - plain).max() < scale
    from_seven, _ = signal.lfilter(*weights, series, zi=[7 * beta])
    assert np.abs(gdopt.ewa(series, beta, initial=7.0) - from_seven).max() < scale


def test_the_figures_of_the_course_start_from_zero():
    days = np.array([40.0, 50.0])
    plain = gdopt.ewa(days, 0.98, bias_correction=False)
    assert plain == pytest.approx([0.8, 1.784], rel=1e-15)
    fair = [40.0, (0.0196 * 40 + 0.02 * 50) / 0.0396]
    assert gdopt.ewa(days, 0.98) == pytest.approx(fair, rel=1e-15)


@pytest.mark.parametrize("beta", [0.1, 0.9, 0.9999])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 40, 140_000])
def test_what_is_not_finite_stays_in_the_average_and_reaches_nothing_before(
    beta, bad, place
):
    series = SERIES.astype(np.float32)
    expected = gdopt.ewa(series, beta)
    series[place] = bad
    actual = gdopt.ewa(series, beta)
    assert actual[:place].tolist() == expected[:place].tolist()
    assert not np.isfinite(actual[place:]).any()


@pytest.mark.parametrize("width", [1, 1500])
def test_half_precision_is_averaged_in_float32(width):
    noise = np.random.default_rng(1).standard_normal((1000, width)) + 3
    series = noise.astype(np.float16)
    exact = gdopt.ewa(series.astype(np.float64), 0.999)
    actual = gdopt.ewa(series, 0.999)
    assert actual.dtype == np.float16
    error = np.abs(actual.astype(np.float64) / exact - 1)
    assert error.max() < 2e-3  # rounded twice to 11 bits


def test_single_precision_does_not_slow_down_over_denormal_numbers():
    series = np.zeros(5000, np.float32)
    series[0] = 1
    found = gdopt.ewa(series, 0.9, bias_correction=False)
    tiny = np.finfo(np.float32).tiny
    assert found[800] > 0.5 * 0.1 * 0.9**800
    assert not ((found > 0) & (found < tiny)).any()
