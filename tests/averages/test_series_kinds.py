"""What `ewa` takes as a series, and the form in which averages come back."""

import sys

import numpy as np
import pytest

import gdopt

DAYS = [40, 49, 45, 45]
EXPECTED = gdopt.ewa(np.array(DAYS, np.float64), 0.9)


@pytest.mark.parametrize(
    "series",
    [DAYS, tuple(DAYS), [float(day) for day in DAYS]]
    + [np.array(DAYS, dtype) for dtype in ("i1", "u2", "i4", "u8")],
    ids=str,
)
def test_lists_and_integers_are_averaged_as_float64(series):
    actual = gdopt.ewa(series, 0.9)
    assert type(actual) is np.ndarray
    assert actual.dtype == np.float64
    assert actual.tobytes() == EXPECTED.tobytes()
    assert gdopt.ewa([], 0.9).shape == (0,)
    assert gdopt.ewa([DAYS, DAYS], 0.9, axis=1).tolist() == [EXPECTED.tolist()] * 2


@pytest.mark.peers("pandas")
def test_a_series_or_table_of_pandas_keeps_its_labels():
    import pandas as pd

    index = pd.date_range("2020-01-01", periods=4)
    series = pd.Series(DAYS, index=index, name="degrees")
    for function, name in (
        (gdopt.ewa, "mean"),
        (gdopt.ewa_var, "var"),
        (gdopt.ewa_std, "std"),
    ):
        expected = getattr(series.ewm(alpha=1 - 0.9), name)()
        pd.testing.assert_series_equal(function(series, 0.9), expected, rtol=1e-12)
        table = pd.DataFrame({"name": series, "index": series[::-1].to_numpy()})
        expected = getattr(table.ewm(alpha=1 - 0.9), name)()
        pd.testing.assert_frame_equal(function(table, 0.9), expected, rtol=1e-12)
    assert series.tolist() == DAYS


@pytest.mark.peers("pandas")
def test_pandas_missing_integers_are_gaps():
    import pandas as pd

    series = pd.Series([40, None, 50], dtype="Int64")
    actual = gdopt.ewa(series, window=50, ignore_na=True)
    assert actual.round(2).tolist() == [40, 40, 45.05]


def test_lists_need_no_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert gdopt.ewa(DAYS, 0.9).tolist() == EXPECTED.tolist()


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({1.0}, "series must be a NumPy or CuPy array, got set"),
        ([[1.0], [1.0, 2.0]], "series must be a list of numbers"),
        (["1", "2"], "series must be .* got <U1"),
        ([True, False], "series must be .* got bool"),
        ([1.0, None], "series must be .* got object"),
        ([1j], "series must be .* got complex128"),
    ],
    ids=str,
)
def test_what_is_not_of_real_numbers_is_refused(series, message):
    for function in (gdopt.ewa, gdopt.ewa_var):
        with pytest.raises(gdopt.ArgumentTypeError, match=message):
            function(series, 0.9)


def test_a_window_stands_for_beta():
    assert gdopt.EWA(window=50).beta == 0.98
    assert gdopt.EWA(window=1).beta == 0.0
    with pytest.raises(gdopt.ArgumentError, match="either beta or window"):
        gdopt.EWA(0.98, window=50)
    by_window = gdopt.ewa(DAYS, window=10, initial="first")
    assert by_window.tobytes() == gdopt.ewa(DAYS, 0.9, initial="first").tobytes()
    assert gdopt.ewa_window(gdopt.EWA(window=7).beta) == pytest.approx(7, rel=1e-15)
