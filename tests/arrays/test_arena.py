"""An arena's arrays are aligned views of one buffer, zero between them."""

from collections.abc import Mapping

import numpy as np
import pytest

import gdopt
from gdopt import Arena
from gdopt.arrays import Layout

GENERATOR = np.random.default_rng(23)
SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "none": (0, 3), "U": (64,), "c": (1,)}
DTYPES = ("float16", "float32", "float64")


def values(*dtypes):
    return {
        f"{name} {dtype}": np.array(GENERATOR.standard_normal(shape), dtype)
        for dtype in dtypes
        for name, shape in SHAPES.items()
    }


def address(array):
    return array.__array_interface__["data"][0]


def padding(arena):
    """Return the elements of all buffers that are in no view."""
    found = []
    for group, buffer in arena.buffers.items():
        inside = np.zeros(buffer.size, bool)
        for slot in arena.layout.slots.values():
            if slot.group == group:
                inside[slot.start : slot.stop] = True
        found += buffer[~inside].tolist()
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_view_starts_on_64_bytes(dtype):
    for arena in (Arena.of(values(dtype)), Arena.of(values(dtype)).like()):
        assert [address(view) % 64 for view in arena.values()] == [0] * len(SHAPES)
        assert address(arena.flat) % 64 == 0


def test_values_names_shapes_and_dtypes_are_kept():
    arrays = values(*DTYPES)
    arena = Arena.of(arrays)
    assert list(arena) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(arena[name], array, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_are_of_one_buffer_and_do_not_overlap(dtype):
    arena = Arena.of(values(dtype))
    for k, view in enumerate(arena.values()):
        view[...] = k
        assert view.size == 0 or np.shares_memory(view, arena.flat)
    for k, view in enumerate(arena.values()):
        np.testing.assert_array_equal(view, k)


def test_the_padding_is_zero_and_stays_so_when_views_are_written():
    arena = Arena.of(values(*DTYPES))
    for view in arena.values():
        view[...] = 7
    assert len(padding(arena)) > 3 * 64
    assert set(padding(arena)) == {0}


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128])
def test_a_buffer_is_a_multiple_of_64_elements(size):
    arena = Arena.of({"a": np.ones(size), "b": np.ones(1)})
    assert arena.flat.size == -(-size // 64) * 64 + 64
    assert arena.nbytes == 8 * arena.flat.size


def test_what_an_arena_is_made_of_is_copied():
    W = np.ones(3)
    arena = Arena.of({"W": W})
    arena["W"][...] = 5
    assert W.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(GENERATOR.standard_normal((3, 4))),
        GENERATOR.standard_normal((6, 8))[::-2, ::2],
        np.broadcast_to(np.ones(4), (3, 4)),
    ],
    ids=["Fortran-ordered", "strided", "broadcast"],
)
def test_arrays_of_any_strides_become_contiguous_views(array):
    arena = Arena.of([array])
    np.testing.assert_array_equal(arena["0"], array)
    assert arena["0"].flags.c_contiguous
    assert arena["0"].flags.writeable


def test_like_gives_zeros_in_the_same_places():
    arena = Arena.of(values(*DTYPES))
    other = arena.like()
    assert other.layout == arena.layout
    for name, view in arena.items():
        np.testing.assert_array_equal(other[name], np.zeros_like(view), strict=True)
        assert not np.shares_memory(other[name], view)


def test_assigning_copies_into_the_view():
    arena, array = Arena.of({"W": np.zeros((2, 3))}), np.ones((2, 3))
    view = arena["W"]
    arena["W"] = array
    array[...] = 9
    assert arena["W"] is view
    assert view.tolist() == [[1] * 3] * 2


def test_augmented_assignment_works_in_place():
    arena = Arena.of({"W": np.ones(3)})
    view = arena["W"]
    arena["W"] -= 0.25
    assert arena["W"] is view
    assert view.tolist() == [0.75] * 3


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ones(3), gdopt.ArgumentError, r"W must have shape \(2, 3\), got \(3,\)"),
        (np.ones((3, 2)), gdopt.ArgumentError, r"\(2, 3\), got \(3, 2\)"),
        (np.ones(()), gdopt.ArgumentError, r"\(2, 3\), got \(\)"),
        (np.ones((2, 3), "f"), gdopt.ArgumentTypeError, "W must be float64, got fl"),
        (np.ones((2, 3), int), gdopt.ArgumentTypeError, "W must be float64, got int64"),
        (
            1.0,
            gdopt.ArgumentTypeError,
            r"W must be a numpy array, got float; .*\[...\]",
        ),
        ([[1.0] * 3] * 2, gdopt.ArgumentTypeError, "W must be a numpy array, got list"),
        (None, gdopt.ArgumentTypeError, "W must be a numpy array, got NoneType"),
    ],
)
def test_assigning_what_does_not_fit_is_refused(value, error, message):
    arena = Arena.of({"W": np.zeros((2, 3))})
    with pytest.raises(error, match=message):
        arena["W"] = value
    assert not arena.flat.any()


def test_assigning_to_an_unknown_name_is_refused():
    arena = Arena.of({"W": np.zeros(3), "b": np.zeros(1)})
    with pytest.raises(gdopt.ArgumentError, match="one of W, b, got 'w'"):
        arena["w"] = np.zeros(3)
    assert list(arena) == ["W", "b"]


def test_assigning_from_the_gpu_is_refused(stand_in_cupy):
    arena = Arena.of({"W": np.zeros(3)})
    with pytest.raises(
        gdopt.ArgumentTypeError, match="must be a numpy array, got Stand"
    ):
        arena["W"] = stand_in_cupy.ndarray(np.ones(3))


def test_there_is_a_buffer_for_each_dtype_and_no_flat_one():
    arena = Arena.of({"a": np.ones(3), "b": np.ones(2, "f"), "c": np.ones(4)})
    assert {group: buffer.dtype.name for group, buffer in arena.buffers.items()} == {
        "float64": "float64",
        "float32": "float32",
    }
    assert np.shares_memory(arena["c"], arena.buffers["float64"])
    with pytest.raises(gdopt.ArgumentError, match="the arena has float64, float32"):
        _ = arena.flat


def test_an_arena_is_a_mapping_of_a_fixed_set_of_names():
    arena = Arena.of([np.ones(3), np.ones(2)])
    assert isinstance(arena, Mapping)
    assert len(arena) == 2
    assert [*arena.keys()] == ["0", "1"]
    with pytest.raises(KeyError):
        arena["2"]


def test_an_arena_is_made_of_an_array_a_sequence_a_mapping_or_an_arena():
    array = np.arange(3.0)
    for arrays in (array, [array], (array,), {"0": array}, Arena.of(array)):
        arena = Arena.of(arrays)
        assert arena["0"].tolist() == [0, 1, 2]
        assert not np.shares_memory(arena["0"], array)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ([], gdopt.ArgumentError, "arrays must hold at least one array"),
        ({1, 2}, gdopt.ArgumentTypeError, "arrays must be .* unordered set"),
        (
            {None: np.ones(2)},
            gdopt.ArgumentTypeError,
            "names in arrays must be strings",
        ),
        (
            [np.ones(2, int)],
            gdopt.ArgumentTypeError,
            r"arrays\[0\] must be float16, .* got int64",
        ),
        ([np.ones(2, ">f8")], gdopt.ArgumentTypeError, "byte order, got '>f8'"),
        (
            [[1.0]],
            gdopt.ArgumentTypeError,
            r"'0\.0' must be a NumPy or CuPy array, got float: write np.array\(1.0, ",
        ),
    ],
)
def test_what_cannot_be_an_arena_is_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        Arena.of(arrays)


def test_its_text_tells_names_shapes_dtypes_and_device():
    arena = Arena.of({"W": np.ones((2, 3)), "b": np.ones(3, np.float32)})
    assert repr(arena) == "Arena(W(2, 3), b(3,); float64, float32 on cpu)"


def test_layouts_of_equal_arrays_are_equal():
    one, other = values("float32", "float64"), values("float32", "float64")
    assert Layout.of(one) == Layout.of(other)
    assert Layout.of(one) != Layout.of(dict(list(other.items())[1:]))
