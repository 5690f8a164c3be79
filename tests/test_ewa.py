"""Exponentially weighted averages against worked figures and pandas."""

import numpy as np
import pytest

import gdopt

SERIES = np.random.default_rng(0).standard_normal(5000).cumsum()


def recurrence(series, beta, start=0.0):
    """Average in plain Python floats, by the definition."""
    values, v = [], start
    for x in series:
        v = beta * v + (1 - beta) * x
        values.append(v)
    return np.array(values)


def test_the_figures_of_the_course():
    plain = gdopt.EWA(0.98, bias_correction=False)
    assert [plain.update(x) for x in (40.0, 50.0)] == pytest.approx([0.8, 1.784])
    fair = gdopt.EWA(0.98)
    expected = [40.0, (0.0196 * 40 + 0.02 * 50) / 0.0396]
    assert [fair.update(x) for x in (40.0, 50.0)] == pytest.approx(expected)
    assert gdopt.ewa_weights(0.9, 4) == pytest.approx([0.1, 0.09, 0.081, 0.0729])
    assert gdopt.ewa_window(0.98) == pytest.approx(50)
    assert 0.9 ** gdopt.ewa_window(0.9) == pytest.approx(1 / np.e, rel=0.06)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.98, 0.9999])
@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, 5000])
def test_a_series_follows_the_recurrence(beta, count):
    series = SERIES[:count]
    plain = recurrence(series, beta)
    actual = gdopt.ewa(series, beta, bias_correction=False)
    assert actual == pytest.approx(plain, rel=1e-12, abs=1e-13)
    corrected = plain / (1 - beta ** np.arange(1.0, count + 1))
    assert gdopt.ewa(series, beta) == pytest.approx(corrected, rel=1e-12, abs=1e-13)
    first = recurrence(series, beta, start=series[0] if count else 0)
    actual = gdopt.ewa(series, beta, initial="first")
    assert actual == pytest.approx(first, rel=1e-12, abs=1e-13)
    from_seven = gdopt.ewa(series, beta, initial=7.0)
    assert from_seven == pytest.approx(recurrence(series, beta, 7.0), rel=1e-12)


@pytest.mark.peers("pandas")
def test_a_series_equals_pandas():
    import pandas as pd

    frame = pd.Series(SERIES)
    for beta in (0.5, 0.9, 0.98):
        adjusted = frame.ewm(alpha=1 - beta, adjust=True).mean().to_numpy()
        assert np.abs(gdopt.ewa(SERIES, beta) - adjusted).max() < 1e-12 * 100
        plain = frame.ewm(alpha=1 - beta, adjust=False).mean().to_numpy()
        actual = gdopt.ewa(SERIES, beta, initial="first")
        assert np.abs(actual - plain).max() < 1e-12 * 100  # values reach 100


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_series_runs_along_any_axis_and_leaves_its_input_alone(axis):
    series = np.random.default_rng(1).standard_normal((6, 7, 2000))
    before = series.copy()
    actual = gdopt.ewa(series, 0.9, axis=axis)
    moved = np.moveaxis(series, axis, 0)
    expected = np.stack(
        [gdopt.ewa(np.array(column), 0.9) for column in moved.reshape(len(moved), -1).T]
    )
    shaped = np.moveaxis(expected.T.reshape(moved.shape), 0, axis)
    assert actual == pytest.approx(shaped, rel=1e-12, abs=1e-14)
    assert np.array_equal(before, series)


def test_streaming_arrays_gives_the_series():
    rows = np.random.default_rng(2).standard_normal((50, 4)).astype(np.float32)
    stream = gdopt.EWA(0.9)
    streamed = np.stack([stream.update(row) for row in rows])
    assert streamed == pytest.approx(gdopt.ewa(rows, 0.9), rel=1e-5, abs=1e-7)
    assert streamed.dtype == np.float32
    assert stream.t == 50


@pytest.mark.parametrize("initial", ["first", 3.0, np.array([3.0, 4.0])])
def test_streaming_starts_as_it_is_asked(initial):
    x = np.array([10.0, 20.0])
    start = x if isinstance(initial, str) else initial
    mean = gdopt.EWA(0.75, initial=initial)
    assert mean.update(x) == pytest.approx(0.75 * start + 0.25 * x)
    assert mean.update(0 * x) == pytest.approx(0.75 * (0.75 * start + 0.25 * x))


def test_an_average_is_the_callers_own_and_values_are_copied():
    mean, x = gdopt.EWA(0.5, initial="first"), np.array([1.0])
    value = mean.update(x)
    x[0] = value[0] = 99.0
    assert mean.value.tolist() == [1.0]
    assert gdopt.EWA(0.5).value is None


@pytest.mark.parametrize("kind", [{}, {"bias_correction": False}, {"initial": "first"}])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.usefixtures("engine")
def test_out_is_written_and_returned_with_the_bits_of_a_new_array(dtype, kind):
    rows = np.random.default_rng(2).standard_normal((20, 1003)).astype(dtype)
    fresh, given = gdopt.EWA(0.9, **kind), gdopt.EWA(0.9, **kind)
    out = np.empty(1003, dtype)
    for k, row in enumerate(rows):
        into = (out, np.empty((1003, 2), dtype)[:, 1], row.copy())[k % 3]
        x = into if k % 3 == 2 else row
        expected = fresh.update(row)
        assert given.update(x, out=into) is into
        assert expected.tobytes() == into.tobytes()
        assert expected.tobytes() == given.value.tobytes()
        into[...] = 99.0  # is the caller's own


@pytest.mark.gpu
def test_out_may_be_on_a_gpu(cp):
    rows = np.random.default_rng(2).standard_normal((5, 70_000)).astype(np.float32)
    host, device, out = gdopt.EWA(0.9), gdopt.EWA(0.9), cp.empty(70_000, np.float32)
    for row in rows:
        assert device.update(cp.asarray(row), out=out) is out
        assert host.update(row).tobytes() == out.get().tobytes()
    with pytest.raises(gdopt.BackendError, match="out"):
        device.update(cp.asarray(rows[0]), out=np.empty_like(rows[0]))
    assert device.t == 5


READ_ONLY = np.broadcast_to(np.float64(0), 3)
X = np.arange(4.0)


@pytest.mark.parametrize("seen", [0, 2])
@pytest.mark.parametrize(
    ("x", "out", "error", "message"),
    [
        (X[:3], np.empty(2), gdopt.ArgumentError, r"out must have the shape .*\(2,\)"),
        (
            X[:3],
            np.empty(3, "f4"),
            gdopt.ArgumentTypeError,
            "out must be of .* float32",
        ),
        (X[:3], READ_ONLY, gdopt.ArgumentTypeError, "out must be writeable"),
        (X[:3], [0.0] * 3, gdopt.ArgumentTypeError, "NumPy or CuPy array, got list"),
        (X[:3], X[1:], gdopt.ArgumentError, "out must be x itself or share no memory"),
        (
            1.0,
            np.empty(3),
            gdopt.ArgumentTypeError,
            "x must be an array|out must be None",
        ),
    ],
)
def test_a_refused_out_changes_nothing(x, out, error, message, seen):
    mean = gdopt.EWA(0.9)
    for _ in range(seen):
        mean.update(X[:3])
    before, inputs = mean.state_dict(), X.copy()
    with pytest.raises(error, match=message):
        mean.update(x, out=out)
    after = mean.state_dict()
    assert before["t"] == after["t"] == seen
    assert np.array_equal(before["value"], after["value"])
    assert np.array_equal(inputs, X)
    assert mean.update(X[:3]).shape == (3,)  # and what comes next is not tied


def test_long_streams_end_the_correction_without_losing_the_average():
    mean = gdopt.EWA(0.5)
    for _ in range(2000):  # beta**t underflows to 0
        mean.update(3.0)
    assert mean.value == pytest.approx(3.0)


def test_a_large_average_takes_in_a_small_value():
    mean = gdopt.EWA(0.0, initial=1e8)
    assert mean.update(1.2345) == 1.2345


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gdopt.EWA(1.0), gdopt.ArgumentError, r"beta must be in \[0, 1\)"),
        (lambda: gdopt.EWA(True), gdopt.ArgumentTypeError, "beta must be a number"),
        (lambda: gdopt.EWA(0.9, initial="last"), gdopt.ArgumentError, "'last'"),
        (lambda: gdopt.EWA(0.9).update("x"), gdopt.ArgumentTypeError, "x must be"),
        (lambda: gdopt.EWA(0.9).update(np.arange(3)), gdopt.ArgumentTypeError, "int64"),
        (lambda: gdopt.ewa({1.0}, 0.9), gdopt.ArgumentTypeError, "NumPy or CuPy"),
        (lambda: gdopt.ewa(SERIES, 0.9, axis=1), gdopt.ArgumentError, "axis must be"),
        (lambda: gdopt.ewa(SERIES, -0.1), gdopt.ArgumentError, "beta must be"),
        (
            lambda: gdopt.ewa(np.ones((4, 2)), 0.9, initial=np.ones(3)),
            gdopt.ArgumentError,
            r"initial must have shape \(2,\), got \(3,\)",
        ),
        (lambda: gdopt.ewa_weights(0.9, 0), gdopt.ArgumentError, "count must be"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_stream_keeps_its_shape_and_kind():
    mean = gdopt.EWA(0.9)
    mean.update(np.ones(3))
    with pytest.raises(gdopt.ArgumentError, match=r"\(3,\), got \(2,\)|shape"):
        mean.update(np.ones(2))
    with pytest.raises(gdopt.ArgumentTypeError, match="array, as in earlier updates"):
        mean.update(1.0)
    assert mean.t == 1
    assert mean.value.tolist() == pytest.approx([1.0] * 3)
