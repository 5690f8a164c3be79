import numpy as np
import pytest

from gdopt.data import Normalizer
from gdopt.errors import ArgumentError, ArgumentTypeError, StateError


def normal(count=50, width=4, dtype=np.float64):
    X = np.random.default_rng(0).normal(size=(count, width)) * [1, 10, 0.1, 3] + 5
    return X.astype(dtype)


def test_worked_figures():
    # mean 4, squared deviations 4, 0, 4: the divisor is sqrt(8/3), not 8/3.
    normalizer = Normalizer.fit(np.array([[2.0], [4.0], [6.0]]))
    assert normalizer.mean == 4
    assert normalizer.scale == pytest.approx(np.sqrt(8 / 3))
    z = normalizer.transform(np.array([[10.0]]))
    assert z[0, 0] == pytest.approx(6 / np.sqrt(8 / 3))


def test_it_agrees_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X, other = normal(), normal(10) + 1
    normalizer, oracle = Normalizer.fit(X), preprocessing.StandardScaler().fit(X)
    np.testing.assert_allclose(normalizer.mean, oracle.mean_, rtol=1e-13)
    np.testing.assert_allclose(normalizer.scale, oracle.scale_, rtol=1e-13)
    np.testing.assert_allclose(normalizer.transform(other), oracle.transform(other))


def test_the_training_part_gets_mean_0_and_deviation_1():
    z = Normalizer.fit(normal()).transform(normal())
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-14)


def test_columns_are_examples_with_axis_1():
    X = normal()
    rows, columns = Normalizer.fit(X), Normalizer.fit(X.T.copy(), axis=1)
    # NumPy adds in another order where the layout differs.
    np.testing.assert_allclose(columns.mean, rows.mean, rtol=1e-14)
    z = columns.transform(X.T)
    np.testing.assert_allclose(z.T, rows.transform(X), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(columns.inverse(z), X.T, rtol=1e-14)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 2, 3), (20, 0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_examples_may_have_any_shape(shape, axis):
    X = np.random.default_rng(0).normal(size=shape)
    normalizer = Normalizer.fit(X if len(shape) == 1 else X.swapaxes(0, axis), axis)
    assert normalizer.mean.shape == shape[1:]
    expected = (X - X.mean(axis=0)) / X.std(axis=0)
    z = normalizer.transform(X if len(shape) == 1 else X.swapaxes(0, axis))
    z = z if len(shape) == 1 else z.swapaxes(0, axis)
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-12)


def test_inverse_undoes_transform():
    X = normal()
    normalizer = Normalizer.fit(X)
    np.testing.assert_allclose(normalizer.inverse(normalizer.transform(X)), X)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, -7e-320])
def test_a_constant_feature_becomes_0(value):
    X = np.full((1001, 1), value)
    normalizer = Normalizer.fit(X)
    assert normalizer.scale == 1
    assert not normalizer.transform(X).any()
    assert (normalizer.inverse(normalizer.transform(X)) == X).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    X = normal(dtype=dtype)
    normalizer = Normalizer.fit(X)
    z = normalizer.transform(X)
    assert (z.dtype, normalizer.inverse(z).dtype) == (dtype, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_whole_numbers_become_float32(dtype):
    X = np.random.default_rng(0).integers(0, 2 if dtype is bool else 200, (30, 2))
    X = X.astype(dtype)
    normalizer = Normalizer.fit(X)
    z = normalizer.transform(X)
    assert z.dtype == np.float32
    # One rounding to float32.
    expected = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(z, expected, rtol=6e-8, atol=1e-7)
    np.testing.assert_allclose(normalizer.inverse(z), X, rtol=1e-6, atol=1e-5)


def test_float32_is_summed_and_centred_in_float64():
    # Summed in float32 the mean would be off by about 1, and 1e6 + 1/3 rounds to 1/16.
    X = (1e6 + np.random.default_rng(0).integers(-8, 9, 100_000) / 8).astype(np.float32)
    z = Normalizer.fit(X).transform(X)
    wide = X.astype(np.float64)
    expected = (wide - wide.mean()) / wide.std()
    np.testing.assert_allclose(z, expected, atol=1e-6)


def test_blocks_do_not_change_the_result(monkeypatch):
    X = normal()
    expected = Normalizer.fit(X)
    monkeypatch.setattr("gdopt.data.gather.BLOCK", 12)
    normalizer = Normalizer.fit(X)
    np.testing.assert_allclose(normalizer.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(normalizer.scale, expected.scale, rtol=1e-14)
    np.testing.assert_allclose(
        normalizer.transform(X), expected.transform(X), rtol=1e-12, atol=1e-13
    )


def test_the_data_are_left_alone():
    X = normal()
    normalizer = Normalizer.fit(X)
    z = normalizer.transform(X)
    before = z.copy()
    normalizer.inverse(z)
    np.testing.assert_array_equal(X, normal())
    np.testing.assert_array_equal(z, before)


def test_a_device_gives_the_same_numbers(device):
    X = normal()
    here, there = Normalizer.fit(X), Normalizer.fit(device.put(X))
    assert type(there.mean) is np.ndarray
    # The order of a sum differs between devices.
    np.testing.assert_allclose(there.scale, here.scale, rtol=1e-14)
    z = there.transform(device.put(X))
    np.testing.assert_allclose(device.get(z), here.transform(X), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(device.get(there.inverse(z)), X, rtol=1e-13)


def test_what_was_fitted_on_a_device_serves_the_host(device):
    X = normal()
    z = Normalizer.fit(device.put(X)).transform(X)
    np.testing.assert_allclose(
        z, Normalizer.fit(X).transform(X), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, ">f8"])
def test_a_state_survives_in_npz(tmp_path, dtype):
    X = normal(dtype=dtype)
    normalizer = Normalizer.fit(X, axis=1)
    np.savez(tmp_path / "state.npz", **normalizer.state_dict())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        loaded = Normalizer.from_state_dict(state)
    np.testing.assert_array_equal(loaded.transform(X), normalizer.transform(X))
    assert (loaded.axis, loaded.dtype) == (1, np.dtype(dtype))


def test_a_state_changed_by_its_caller_has_no_effect():
    normalizer = Normalizer.fit(normal())
    state = normalizer.state_dict()
    loaded = Normalizer.from_state_dict(state)
    state["mean"][:] = 0
    state["scale"][:] = 7
    np.testing.assert_array_equal(loaded.mean, normalizer.mean)
    np.testing.assert_array_equal(loaded.scale, Normalizer.fit(normal()).scale)
    np.testing.assert_array_equal(normalizer.scale, Normalizer.fit(normal()).scale)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": np.zeros(3)}, r"got shapes \(3,\) and \(4,\)"),
        ({"scale": np.zeros(4)}, "scale positive"),
        ({"scale": np.full(4, np.inf)}, "must be finite"),
        ({"mean": np.full(4, np.nan)}, "must be finite"),
        ({"axis": np.array(2)}, "state is damaged: axis must be 0"),
        ({"dtype": np.array("float33")}, "state is damaged: .*float33"),
        ({"mean": "text"}, "finite numbers"),
        ({"more": 1}, "state must have the expected keys: unknown 'more'$"),
    ],
)
def test_a_damaged_state_is_refused(change, message):
    state = Normalizer.fit(normal()).state_dict()
    with pytest.raises(StateError, match=message):
        Normalizer.from_state_dict(state | change)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[1.0]], ArgumentTypeError, "X must be a NumPy or CuPy array, got list"),
        (np.array(1.0), ArgumentError, "X must have one dimension or more"),
        (np.zeros((0, 2)), ArgumentError, r"at least one example, got shape \(0, 2\)"),
        (np.zeros(3, complex), ArgumentTypeError, "real numbers.*, got complex128"),
        (np.array(["a"]), ArgumentTypeError, "real numbers.*, got <U1"),
        (
            np.array([[1, np.nan]]),
            ArgumentError,
            r"NaN, got 1.*\[0, 1\]",
        ),
        (np.array([1, np.inf]), ArgumentError, "X must be finite, .* got up to inf"),
        (
            np.array([-1.7e308, 1.7e308]),
            ArgumentError,
            r"be finite, .* got up to 1\.7e\+308",
        ),
    ],
)
def test_wrong_training_data_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        Normalizer.fit(X)


def test_a_wrong_axis_is_refused():
    with pytest.raises(ArgumentError, match=r"axis must be 0 .* or 1 .*, got -1"):
        Normalizer.fit(normal(), axis=-1)


@pytest.mark.parametrize("method", ["transform", "inverse"])
def test_other_features_or_dtypes_are_refused(method):
    apply = getattr(Normalizer.fit(normal()), method)
    with pytest.raises(ArgumentError, match=r"shape \(4,\) along .*\(50, 3\)"):
        apply(normal()[:, :3])
    with pytest.raises(ArgumentTypeError, match="X must be float64, got float32"):
        apply(normal(dtype=np.float32))
    with pytest.raises(ArgumentTypeError, match="X must be a NumPy or CuPy array"):
        apply(normal().tolist())


def test_nan_in_another_part_is_refused():
    X = normal()
    normalizer = Normalizer.fit(X)
    X[7, 2] = np.nan
    with pytest.raises(ArgumentError, match=r"NaN, got 1, the first at \[7, 2\]$"):
        normalizer.transform(X)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e155, 1e300])
def test_features_of_any_magnitude_get_their_own_deviation(scale):
    X = np.array([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]]) * [scale, 1.0]
    with np.errstate(all="raise"):
        normalizer = Normalizer.fit(X)
    expected = [np.sqrt(8 / 3) * scale, 1.0]
    np.testing.assert_allclose(normalizer.scale, expected, rtol=1e-12)
    np.testing.assert_allclose(normalizer.mean, [3 * scale, 7.0], rtol=1e-12)


def test_gaps_are_left_out_as_scikit_learn_and_pandas_do():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((50, 4)) * [1, 1e200, 1e-200, 5] + [0, 0, 0, 3]
    X[generator.random(X.shape) < 0.3] = np.nan
    X[0], X[:, 3] = np.nan, np.where(np.isnan(X[:, 3]), np.nan, 3.0)
    normalizer = Normalizer.fit(X, skipna=True)
    own = [
        column[~np.isnan(column)] / unit
        for column, unit in zip(X.T, UNITS, strict=True)
    ]
    means = [column.mean() * unit for column, unit in zip(own, UNITS, strict=True)]
    np.testing.assert_allclose(normalizer.mean, means, rtol=1e-12)
    stds = [column.std() * unit for column, unit in zip(own, UNITS, strict=True)]
    np.testing.assert_allclose(normalizer.scale, [*stds[:3], 1.0], rtol=1e-12)
    kept = normalizer.transform(X)
    np.testing.assert_array_equal(np.isnan(kept), np.isnan(X))
    again = Normalizer.from_state_dict(normalizer.state_dict())
    np.testing.assert_array_equal(again.transform(X), kept)
    turned = Normalizer.fit(X.T.copy(), axis=1, skipna=True)
    np.testing.assert_allclose(turned.scale, normalizer.scale, rtol=1e-15)  # sums


UNITS = 1, 1e200, 1e-200, 1


def test_gaps_are_refused_by_default_and_where_nothing_else_is_there():
    X = np.array([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(ArgumentError, match=r"must not contain NaN.*skipna=True"):
        Normalizer.fit(X)
    with pytest.raises(ArgumentError, match="with a number in each feature"):
        Normalizer.fit(X, skipna=True)
    plain = Normalizer.fit(np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="must not contain NaN"):
        plain.transform(X)
    with pytest.raises(ArgumentTypeError, match="skipna must be True or False"):
        Normalizer.fit(X, skipna="yes")
    X[0, 1] = np.inf
    with pytest.raises(ArgumentError, match="finite"):
        Normalizer.fit(X, skipna=True)
