"""Averages and variances after gaps and at unequal times, against pandas."""

import datetime as dt
from fractions import Fraction

import numpy as np
import pytest

import gdopt

BETAS = [0.0, 0.5, 0.98]
# About the ends of the parts that are averaged side by side.
COUNTS = [0, 1, 2, 16, 255, 3001]
FORMS = {"zero": True, "first": False}  # initial: pandas' adjust
HOUR = np.timedelta64(1, "h")


def some_series(kind, count):
    """Return values of which a fifth are missing, and some more by their kind."""
    rng = np.random.default_rng(count)
    series = rng.standard_normal(count)
    series[rng.random(count) < 0.2] = np.nan
    if kind == "a gap at first, and a longer one":
        series[: count // 4] = series[count // 2 : count // 2 + 8] = np.nan
    elif kind == "nothing but gaps":
        series[:] = np.nan
    elif kind == "constant":
        series = np.where(np.isnan(series), np.nan, 0.1)
    elif kind == "infinities":
        series[::7] = np.inf
        series[3::9] = -np.inf
    return series


KINDS = [
    "a gap at first, and a longer one",
    "nothing but gaps",
    "constant",
    "infinities",
]


def pandas_ewm(series, beta, initial, **options):
    """Return pandas' window of a series.

    At alpha = 1/2 without adjustment pandas 3 takes the mean after a gap for one at
    unequal times (its issue 66523): the next number is as good as 1/2.
    """
    import pandas as pd

    if beta is not None:
        options["alpha"] = np.nextafter(0.5, 1) if beta == 0.5 else 1 - beta
    return pd.Series(series).ewm(adjust=FORMS[initial], **options)


def assert_equal(actual, expected):
    """Assert that NaNs are in the same places, and all else within 1e-12."""
    expected = expected.to_numpy()
    assert (actual.dtype, actual.shape) == (np.float64, expected.shape)
    scale = np.nanmax(np.abs(expected), initial=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("initial", FORMS)
@pytest.mark.parametrize("ignore_na", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.peers("pandas")
def test_means_and_variances_with_gaps_equal_pandas(kind, ignore_na, initial):
    options = {"initial": initial, "ignore_na": ignore_na}
    for count in COUNTS:
        series = some_series(kind, count)
        for beta in BETAS:
            ewm = pandas_ewm(series, beta, **options)
            assert_equal(gdopt.ewa(series, beta, **options), ewm.mean())
            for bias in (False, True):
                actual = gdopt.ewa_var(series, beta, bias=bias, **options)
                assert_equal(actual, ewm.var(bias=bias))
                actual = gdopt.ewa_std(series, beta, bias=bias, **options)
                assert_equal(actual, ewm.std(bias=bias))


@pytest.mark.parametrize("initial", FORMS)
@pytest.mark.parametrize("ignore_na", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.peers("pandas")
def test_means_at_unequal_times_equal_pandas(kind, ignore_na, initial):
    options = {"initial": initial, "ignore_na": ignore_na}
    for count in COUNTS:
        series = some_series(kind, count)
        hours = np.random.default_rng(1).integers(0, 5, count).cumsum()  # some equal
        times = hours.astype("M8[h]")
        given = options | {"times": times.astype("M8[ns]"), "halflife": "7h"}
        expected = pandas_ewm(series, None, **given).mean()
        assert_equal(gdopt.ewa(series, times=hours, halflife=7, **options), expected)
        dated = gdopt.ewa(series, times=times, halflife=7 * HOUR, **options)
        assert_equal(dated, expected)
        if initial == "zero":  # weights fall by beta in a half-life, as in pandas
            actual = gdopt.ewa(series, 0.9, times=hours, halflife=7, **options)
            assert_equal(actual, pandas_ewm(series, 0.9, **given).mean())


@pytest.mark.peers("pandas")
def test_dates_of_every_form_are_times():
    import pandas as pd

    dates = pd.to_datetime(["2020-01-01T00", "2020-01-01T12", "2020-03-01T00"])
    series, half = [1.0, 2.0, 4.0], dt.timedelta(days=1)
    expected = pd.Series(series).ewm(halflife="1D", times=dates).mean()
    for times in (
        dates,
        pd.Series(dates, index=[7, 8, 9]),
        dates.tz_localize("Asia/Seoul"),
        list(dates.to_pydatetime()),
        dates.to_numpy().astype("M8[h]"),
        dates.to_numpy().astype("M8[ns]"),
    ):
        assert_equal(gdopt.ewa(series, times=times, halflife=half), expected)
    years, days = [2019, 2020], dt.timedelta(days=365)
    by_year = gdopt.ewa([1.0, 2.0], times=np.array(years) - 1970, halflife=1)
    dated = np.array(years, "str").astype("M8[Y]")
    assert (
        gdopt.ewa([1.0, 2.0], times=dated, halflife=days).tolist() == by_year.tolist()
    )
    days = [0, 0.5, 60]
    assert_equal(gdopt.ewa(series, times=days, halflife=1), expected)
    halflife = pd.Timedelta("1D")
    assert_equal(gdopt.ewa(series, times=dates, halflife=halflife), expected)


def test_values_with_one_weight_in_common_have_known_moments():
    """Of 1, a gap and 3 with beta 1/2, by hand: see the weights."""
    series = [1, np.nan, 3]
    for ignore_na, old in ((False, 1 / 4), (True, 1 / 2)):  # the weight of 1, to 1 of 3
        mean = (old * 1 + 3) / (old + 1)
        spread = (old * (1 - mean) ** 2 + (3 - mean) ** 2) / (old + 1)
        squares = (old**2 + 1) / (old + 1) ** 2
        found = gdopt.ewa(series, 0.5, ignore_na=ignore_na)
        assert found == pytest.approx([1, 1, mean], rel=1e-15)
        options = {"window": 2, "ignore_na": ignore_na}
        biased = gdopt.ewa_var(series, bias=True, **options)
        assert biased == pytest.approx([0, 0, spread], rel=1e-15)
        unbiased = gdopt.ewa_var(series, **options)
        expected = [np.nan, np.nan, spread / (1 - squares)]
        assert unbiased == pytest.approx(expected, rel=1e-15, nan_ok=True)
    first = gdopt.ewa(series, 0.5, initial="first", ignore_na=False)
    assert first[2] == pytest.approx((1 / 4 * 1 + 1 / 2 * 3) / (1 / 4 + 1 / 2))


def test_a_variance_after_a_long_gap_is_exact_to_rounding():
    """After 40 gaps pandas keeps four digits of it."""
    series = np.random.default_rng(0).standard_normal(60) + 1000
    series[10:50] = np.nan
    seen = [k for k in range(60) if k not in range(10, 50)]
    weights = [Fraction(1, 2) ** (59 - k) for k in seen]
    values = [Fraction(series[k]) for k in seen]
    total = sum(weights)
    mean = sum(w * x for w, x in zip(weights, values, strict=True)) / total
    spread = sum(w * (x - mean) ** 2 for w, x in zip(weights, values, strict=True))
    exact = spread / total / (1 - sum(w * w for w in weights) / total**2)
    actual = gdopt.ewa_var(series, 0.5, ignore_na=False)[-1]
    assert actual == pytest.approx(float(exact), rel=1e-14)
    assert gdopt.ewa_std(series, 0.5, ignore_na=False)[-1] == np.sqrt(actual)


def test_the_variance_of_a_constant_is_zero():
    series = np.full(1000, 0.1)
    assert not gdopt.ewa_var(series, 0.9, bias=True).any()
    assert not gdopt.ewa_std(series, 0.9)[1:].any()


def test_gaps_of_columns_are_their_own_along_any_axis():
    table = some_series("a gap at first, and a longer one", 3 * 400 * 2)
    table = table.reshape(3, 400, 2)
    before = table.copy()
    for function in (gdopt.ewa, gdopt.ewa_var):
        actual = function(table, 0.9, axis=1, ignore_na=False)
        for j, k in np.ndindex(3, 2):
            alone = function(table[j, :, k].copy(), 0.9, ignore_na=False)
            assert np.array_equal(alone, actual[j, :, k], equal_nan=True)
    wide = np.tile(table[0, :, :1], (1, 1500))  # averaged a row at a time
    actual = gdopt.ewa(wide, 0.9, ignore_na=True)
    alone = gdopt.ewa(wide[:, 0], 0.9, ignore_na=True)
    np.testing.assert_allclose(actual[:, -1], alone, rtol=1e-13)
    assert np.array_equal(before, table, equal_nan=True)
    assert gdopt.ewa(np.ones((5, 0)), 0.9, ignore_na=True).shape == (5, 0)
    assert gdopt.ewa(np.ones((20, 0)), 0.9, ignore_na=True).shape == (20, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_without_ignore_na_what_is_not_finite_stays(bad):
    series = np.arange(400.0)
    series[300] = bad
    for actual in (
        gdopt.ewa(series, times=np.arange(400), halflife=2),
        gdopt.ewa_var(series, 0.9),
    ):
        assert np.isfinite(actual[1:300]).all()
        assert not np.isfinite(actual[300:]).any()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_floats_are_averaged_in_float64(dtype):
    series = some_series("a gap at first, and a longer one", 3001).astype(dtype)
    exact = gdopt.ewa_var(series.astype(np.float64), 0.98, ignore_na=False)
    actual = gdopt.ewa_var(series, 0.98, ignore_na=False)
    assert actual.dtype == dtype
    assert np.array_equal(exact.astype(dtype), actual, equal_nan=True)


@pytest.mark.gpu
def test_a_gpu_gives_the_same(cp):
    series = some_series("a gap at first, and a longer one", 120).reshape(60, 2)
    hours = np.random.default_rng(1).integers(0, 5, 60).cumsum()
    for times in (hours, cp.asarray(hours)):
        options = {"times": times, "halflife": 7, "ignore_na": False}
        actual = gdopt.ewa(cp.asarray(series), **options)
        expected = gdopt.ewa(series, times=hours, halflife=7, ignore_na=False)
        np.testing.assert_allclose(actual.get(), expected, rtol=1e-13)
    for function in (gdopt.ewa, gdopt.ewa_var, gdopt.ewa_std):
        for initial in FORMS:
            options = {"window": 5, "initial": initial, "ignore_na": True}
            actual = function(cp.asarray(series), **options)
            expected = function(series, **options)
            np.testing.assert_allclose(actual.get(), expected, rtol=1e-12)
    across = gdopt.ewa(cp.asarray(series.T), window=5, axis=1, ignore_na=True)
    expected = gdopt.ewa(series, window=5, ignore_na=True)
    np.testing.assert_allclose(across.T.get(), expected, rtol=1e-12)
    counts = cp.arange(5)
    assert (
        gdopt.ewa(counts, 0.5).get().tolist() == gdopt.ewa(list(range(5)), 0.5).tolist()
    )


T = np.arange(3)
DATES = T.astype("M8[D]")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"times": T[:2], "halflife": 1}, ValueError, r"times must have shape \(3,\)"),
        ({"times": T[::-1], "halflife": 1}, ValueError, "times must .* not decrease"),
        ({"times": [0, np.nan, 1], "halflife": 1}, ValueError, "times must be finite"),
        ({"times": [0, 1, np.inf], "halflife": 1}, ValueError, "times must be finite"),
        (
            {"times": np.array([0, 1, "NaT"], "M8[D]"), "halflife": 24 * HOUR},
            ValueError,
            "times must be finite",
        ),
        ({"times": T}, TypeError, "halflife must be a number"),
        ({"times": T, "halflife": 0}, ValueError, r"halflife must be in \(0, inf\)"),
        ({"times": T, "halflife": HOUR}, TypeError, "halflife must be a number"),
        ({"times": ["a", "b", "c"], "halflife": 1}, TypeError, "times must be numbers"),
        ({"times": [T, 1, 2], "halflife": 1}, TypeError, "times must be numbers"),
        ({"times": DATES, "halflife": 1}, TypeError, "a timedelta as halflife"),
        ({"times": DATES, "halflife": "1D"}, TypeError, "a timedelta as halflife"),
        ({"times": DATES, "halflife": 0 * HOUR}, ValueError, "halflife must be in"),
        ({"halflife": 3}, ValueError, "halflife needs times"),
        (
            {"beta": 0.9, "halflife": 3},
            ValueError,
            r"halflife needs times; without them, beta is 0.5 \*\* \(1 / halflife\)",
        ),
        (
            {"beta": 0.9, "times": T, "halflife": 3, "initial": "first"},
            ValueError,
            "halflife alone, no beta",
        ),
        (
            {"times": T, "halflife": 3, "bias_correction": False},
            ValueError,
            "need bias_correction=True or initial='first'",
        ),
        (
            {"beta": 0.9, "ignore_na": True, "initial": 0.0},
            ValueError,
            "need bias_correction=True or initial='first'.* got .*initial=0.0",
        ),
        ({"beta": 0.9, "ignore_na": 1}, TypeError, "ignore_na must be True or False"),
        ({"beta": 0.9, "window": 10}, ValueError, "either beta or window"),
        ({}, ValueError, "either beta or window, got beta=None, window=None"),
        ({"window": 0.5}, ValueError, r"window must be in \[1, inf\)"),
        ({"window": 1e17}, ValueError, r"beta must be in \[0, 1\)"),
        ({"window": True}, TypeError, "window must be a number"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(gdopt.GdoptError, match=message) as caught:
        gdopt.ewa([1.0, 2.0, 3.0], **options)
    assert isinstance(caught.value, error)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bias": 1}, TypeError, "bias must be True or False"),
        ({"initial": 2.0}, ValueError, "need .* initial='first', got .*initial=2.0"),
        ({"initial": "last"}, ValueError, "initial must be 'zero', 'first'"),
        ({"window": 3}, ValueError, "either beta or window"),
    ],
)
@pytest.mark.parametrize("function", [gdopt.ewa_var, gdopt.ewa_std])
def test_options_of_variances_are_checked(function, options, error, message):
    with pytest.raises(gdopt.GdoptError, match=message) as caught:
        function([1.0, 2.0], 0.9, **options)
    assert isinstance(caught.value, error)
