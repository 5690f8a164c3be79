"""Parameters stay the caller's own: any container, any strides, updated in place."""

import numpy as np
import pytest
from oracles import CASES

import gdopt

GENERATOR = np.random.default_rng(3)
ADAM = CASES["adamw corrected"]
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def gradients(shape, dtype, steps=4):
    return [whole(shape, dtype) for _ in range(steps)]


def contiguous_result(array, rows):
    """What an ordinary array of the same values becomes."""
    p = np.array(array, order="C")
    optimizer = ADAM.make(p)
    for row in rows:
        optimizer.step(np.array(row, order="C"))
    return p


def whole(shape, dtype):
    return np.array(GENERATOR.standard_normal(shape), dtype)


VIEWS = {
    "contiguous": lambda d: whole((4, 6), d),
    "strided": lambda d: whole((8, 12), d)[::2, ::2],
    "columns": lambda d: whole((4, 12), d)[:, ::2],
    "negatively strided": lambda d: whole(24, d)[::-1],
    "negatively strided in both": lambda d: whole((4, 6), d)[::-1, ::-2],
    "Fortran-ordered": lambda d: np.asfortranarray(whole((4, 6), d)),
    "transposed": lambda d: whole((2, 3, 4), d).transpose(2, 0, 1),
    "a slice": lambda d: whole(30, d)[3:27],
    "0-d": lambda d: whole((), d),
    "0-d of a larger one": lambda d: whole(5, d)[3, ...],
    "one element": lambda d: whole((1, 1), d),
    "zero-size": lambda d: whole((3, 0, 2), d),
    "longer than a block": lambda d: whole((3, 160_000), d)[::-1, ::2],
    "rows longer than a block": lambda d: whole((2, 300_001), d)[:, 1:],
}


@DTYPES
@pytest.mark.parametrize("view", VIEWS)
def test_views_are_updated_in_place_with_the_bits_of_ordinary_arrays(
    view, dtype, engine
):
    p = VIEWS[view](dtype)
    rows = gradients(p.shape, dtype)
    expected = contiguous_result(p, rows)
    place = p.__array_interface__["data"], p.strides
    optimizer = ADAM.make(p)
    for row in rows:
        assert optimizer.step(row)
    assert (p.__array_interface__["data"], p.strides) == place
    assert optimizer.params["0"] is p
    np.testing.assert_array_equal(p, expected, strict=True)


def test_what_lies_between_strided_elements_stays(engine):
    base = whole(20, "float64")
    before = base.copy()
    optimizer = ADAM.make(base[4:16:3])
    optimizer.step(np.ones(4))
    changed = base != before
    assert np.flatnonzero(changed).tolist() == [4, 7, 10, 13]


@pytest.mark.parametrize("view", VIEWS)
def test_gradients_may_be_any_views(view, engine):
    row = VIEWS[view]("float64")
    p = np.ones(row.shape)
    expected = contiguous_result(p, [row])
    ADAM.make(p).step(row)
    np.testing.assert_array_equal(p, expected, strict=True)


def test_a_gradient_is_only_read(engine):
    for row in (whole((4, 6), "float64"), whole((8, 12), "float64")[::2, ::2]):
        row.flags.writeable = False
        before = row.copy()
        ADAM.make(np.ones(row.shape)).step(row)
        np.testing.assert_array_equal(row, before)


def containers():
    first, second = whole((2, 3), "float64"), whole(4, "float64")
    yield "mapping", {"W": first.copy(), "b": second.copy()}, ["W", "b"]
    yield "list", [first.copy(), second.copy()], ["0", "1"]
    yield "tuple", (first.copy(), second.copy()), ["0", "1"]
    yield "arena", gdopt.Arena.of({"W": first, "b": second}), ["W", "b"]


@pytest.mark.parametrize(
    ("params", "names"), [case[1:] for case in containers()], ids=lambda _: ""
)
def test_containers_give_the_same_update_under_their_own_names(
    params, names, numpy_engine
):
    optimizer = ADAM.make(params)
    arrays = [optimizer.params[name] for name in names]
    rows = [np.full((2, 3), 0.5), np.full(4, -0.5)]
    expected = [
        contiguous_result(p, [row]) for p, row in zip(arrays, rows, strict=True)
    ]
    assert list(optimizer.params) == names
    optimizer.step(dict(zip(names, rows, strict=True)))
    for array, wanted in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize(
    "form", [list, tuple, lambda rows: {"1": rows[1], "0": rows[0]}]
)
def test_gradients_need_not_be_in_the_parameters_container(form, numpy_engine):
    params = [np.zeros(2), np.zeros(3)]
    rows = [np.full(2, 1.0), np.full(3, 2.0)]
    gdopt.SGD(params, lr=1.0).step(form(rows))
    assert [p.tolist() for p in params] == [[-1, -1], [-2, -2, -2]]


def test_one_array_takes_its_gradient_as_an_array_or_a_list_of_one(numpy_engine):
    p = np.zeros(2)
    optimizer = gdopt.SGD(p, lr=1.0)
    optimizer.step(np.ones(2))
    optimizer.step([np.ones(2)])
    optimizer.step({"0": np.ones(2)})
    assert p.tolist() == [-3, -3]


def test_interleaved_views_of_one_buffer_do_not_overlap(engine):
    base = np.zeros(6)
    optimizer = gdopt.SGD([base[::2], base[1::2]], lr=1.0)
    optimizer.step([np.full(3, 1.0), np.full(3, 2.0)])
    assert base.tolist() == [-1, -2, -1, -2, -1, -2]


def test_dtypes_may_be_mixed_and_each_computes_in_its_own(engine):
    params = {dtype: whole(7, dtype) for dtype in ("float64", "float32")}
    rows = {dtype: gradients(7, dtype) for dtype in params}
    expected = {
        dtype: contiguous_result(params[dtype], rows[dtype]) for dtype in params
    }
    optimizer = ADAM.make(params)
    for k in range(4):
        optimizer.step({dtype: row[k] for dtype, row in rows.items()})
    for dtype, p in params.items():
        np.testing.assert_array_equal(p, expected[dtype], strict=True)
        assert {array.dtype.name for array in optimizer.state[dtype].values()} == {
            dtype
        }


def test_float16_is_stored_while_arithmetic_and_state_are_float32(engine):
    p = whole(40, "float16")
    rows = gradients(40, "float16")
    rounded = p.astype(np.float32)
    other = ADAM.make(rounded)
    optimizer = ADAM.make(p)
    for row in rows:
        optimizer.step(row)
        other.step(row.astype(np.float32))
        rounded[...] = rounded.astype(np.float16)  # only what is kept is rounded
    assert p.dtype == np.float16
    np.testing.assert_array_equal(p, rounded.astype(np.float16), strict=True)
    for name, array in optimizer.state["0"].items():
        np.testing.assert_array_equal(array, other.state["0"][name], strict=True)


def test_small_steps_add_up_in_the_float32_state_of_float16_parameters(engine):
    # In float16, .999 v + .001 g^2 with g = 1e-3 would stay at 0.
    optimizer = gdopt.Adam(np.ones(3, np.float16))
    optimizer.step(np.full(3, 1e-3, np.float16))
    v = optimizer.state["0"]["v"]
    assert v.dtype == np.float32
    np.testing.assert_allclose(v, 1e-9, rtol=1e-3)


def test_memory_mapped_parameters_are_updated_in_their_file(tmp_path, engine):
    path = tmp_path / "p.bin"
    p = np.memmap(path, dtype=np.float64, mode="w+", shape=(5,))
    gdopt.SGD(p, lr=1.0).step(np.ones(5))
    p.flush()
    assert np.fromfile(path).tolist() == [-1] * 5
