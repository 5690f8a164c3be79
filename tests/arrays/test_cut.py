"""An arena is cut into slices of its buffers; an arena lies over memory that exists."""

import copy
import itertools
import pickle

import ml_dtypes
import numpy as np
import pytest
from cuts import arrays, over, slices

import gdopt
from gdopt import Arena
from gdopt.arrays import Layout

DTYPES = ("float32", "float64", "float16", ml_dtypes.bfloat16)
PARTS = (1, 2, 3, 7, 40)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("dtypes", [DTYPES[:1], DTYPES])
def test_pieces_are_all_elements_in_their_order(dtypes, parts):
    arena = Arena.of(arrays(*dtypes))
    cuts = arena.layout.cut(parts)
    assert len(cuts) == parts
    for name, array in arena.items():
        pieces = [
            (part.layout.slots[name].first, part[name])
            for part in over(arena, parts)
            if name in part
        ]
        firsts = [0, *itertools.accumulate(piece.size for _, piece in pieces)]
        assert [first for first, _ in pieces] == firsts[:-1]
        found = np.concatenate([piece for _, piece in pieces])
        np.testing.assert_array_equal(found, array.reshape(-1), strict=True)


@pytest.mark.parametrize("parts", PARTS)
def test_slices_are_nearly_equal_and_begin_at_blocks_of_64(parts):
    layout = Arena.of(arrays(*DTYPES)).layout
    cuts = layout.cut(parts)
    for group, size in layout.sizes.items():
        starts = [cut.origin[group] for cut in cuts]
        lengths = np.diff([*starts, size])
        assert starts[0] == 0
        assert not np.any(np.array(starts) % 64)
        assert np.ptp(lengths) <= 64
        owned = [cut.sizes.get(group, 0) for cut in cuts]
        assert owned == lengths.tolist()


def test_arrays_without_elements_are_in_the_first_part():
    layout = Arena.of({"a": np.ones(300), "none": np.ones((0, 3)), "b": np.ones(1)})
    first, *others = layout.layout.cut(3)
    assert list(first.slots) == ["a", "none"]
    assert first.slots["none"].stop == first.slots["none"].start == 128
    assert not any("none" in cut.slots for cut in others)
    assert [cut.slots for cut in Layout.of({"a": np.ones(0)}).cut(2)][1] == {}


def test_arrays_and_dtypes_of_which_a_part_has_nothing_are_not_in_it():
    arena = Arena.of({"a": np.ones(64), "b": np.ones(64), "c": np.ones(3, "f")})
    one, other = arena.layout.cut(2)
    assert (list(one.slots), list(one.sizes)) == (["a"], ["float64"])
    assert (list(other.slots), list(other.sizes)) == (
        ["b", "c"],
        ["float64", "float32"],
    )
    assert list(one.origin) == ["float64", "float32"]


def test_a_part_is_cut_as_the_whole_is():
    whole = Arena.of(arrays(*DTYPES)).layout
    for part in whole.cut(2):
        for cut in part.cut(2):
            for name, slot in cut.slots.items():
                home = whole.slots[name].start + slot.first
                place = cut.origin[slot.group] + slot.start
                assert place == home or slot.start == slot.stop
            assert cut.whole is whole


@pytest.mark.parametrize(
    ("parts", "error"),
    [(0, gdopt.ArgumentError), (2.0, gdopt.ArgumentTypeError), (True, TypeError)],
)
def test_what_is_not_a_number_of_parts_is_refused(parts, error):
    with pytest.raises(error, match="parts must be a whole number of at least 1, got"):
        Arena.of(np.ones(3)).layout.cut(parts)


def test_complex_arrays_are_not_cut():
    with pytest.raises(gdopt.ArgumentTypeError, match="but 'z' is complex128"):
        Arena.of({"a": np.ones(3), "z": np.ones(3, complex)}).layout.cut(2)


def test_an_arena_over_buffers_is_a_view_of_them():
    arena = Arena.of(arrays("float32", "float64"))
    other = Arena.over(arena.layout, arena.buffers)
    for name, view in other.items():
        np.testing.assert_array_equal(view, arena[name], strict=True)
        assert view.size == 0 or np.shares_memory(view, arena[name])
    other["b float32"] = np.full(11, 7, "f")
    assert (arena["b float32"] == 7).all()


def buffers(**changed):
    return {"float64": np.zeros(128), "float32": np.zeros(64, "f"), **changed}


BASE = np.zeros(256)
WRONG = [
    ({"float64": np.zeros(128)}, gdopt.ArgumentError, "layout: missing 'float32'"),
    (buffers(half=np.zeros(3)), gdopt.ArgumentError, "unknown 'half'"),
    (buffers(float64=np.zeros(64)), gdopt.ArgumentError, r"shape \(128,\), got \(64,"),
    (buffers(float64=np.zeros((2, 64))), gdopt.ArgumentError, r"got \(2, 64\)"),
    (buffers(float32=np.zeros(64)), gdopt.ArgumentTypeError, "float32, got float64"),
    (buffers(float64=np.zeros(128, ">f8")), gdopt.ArgumentTypeError, "got >f8"),
    (buffers(float64=BASE[::2]), gdopt.ArgumentError, r"contiguous, got .*\(16,\)"),
    (buffers(float64=[0.0] * 128), gdopt.ArgumentTypeError, r"\['float64'\] .* list"),
    (
        buffers(float32=BASE.view("f")[:64], float64=BASE[:128]),
        gdopt.ArgumentError,
        "must not share memory",
    ),
    ([np.zeros(128)], gdopt.ArgumentTypeError, "buffers must be a mapping"),
]


@pytest.mark.parametrize(("given", "error", "message"), WRONG)
def test_memory_that_does_not_fit_is_refused(given, error, message):
    layout = Layout.of({"a": np.ones(65), "b": np.ones(2, "f")})
    with pytest.raises(error, match=message):
        Arena.over(layout, given)


def test_a_layout_that_is_not_one_and_an_empty_one_are_refused():
    with pytest.raises(gdopt.ArgumentTypeError, match="layout must be a gdopt"):
        Arena.over({"a": (3,)}, {})
    with pytest.raises(gdopt.ArgumentError, match="arrays must not be empty"):
        Arena.over(Layout.of({"a": np.ones(3)}).cut(2)[0], {})


@pytest.mark.gpu
def test_an_arena_over_memory_of_a_gpu(cp):
    arena = Arena.of({"a": cp.arange(300.0), "b": cp.ones(3)})
    _, cut = arena.layout.cut(2)
    part = Arena.over(cut, slices(cut, arena))
    part["a"] = cp.zeros(cut.slots["a"].stop)
    assert arena["a"].sum() == sum(range(cut.slots["a"].first))
    assert part.device == arena.device
    with pytest.raises(gdopt.ArgumentError, match="at a multiple of 64 bytes, got"):
        Arena.over(cut, {"float64": cp.zeros(400)[1:][: cut.sizes["float64"]]})
    mixed = {"float64": cp.zeros(64), "float32": np.zeros(64, "f")}
    layout = Layout.of({"a": np.ones(1), "b": np.ones(1, "f")})
    with pytest.raises(gdopt.BackendError, match="on one device"):
        Arena.over(layout, mixed)


@pytest.mark.parametrize("dtype", ["float32", np.float64, ml_dtypes.bfloat16])
def test_sums_of_another_dtype_lie_in_the_same_places(dtype):
    arena = Arena.of(arrays("float32", ml_dtypes.bfloat16))
    sums = arena.like(dtype)
    assert sums.layout is arena.layout
    assert {buffer.dtype for buffer in sums.buffers.values()} == {np.dtype(dtype)}
    assert not any(buffer.any() for buffer in sums.buffers.values())
    assert sums.like().buffers["float32"].dtype == dtype
    assert f"; {np.dtype(dtype).name} on cpu" in repr(sums)


@pytest.mark.parametrize("dtype", ["int64", ">f8", int, "complex64", 3])
def test_a_dtype_that_sums_cannot_have_is_refused(dtype):
    with pytest.raises(gdopt.ArgumentTypeError, match="dtype must be float16 or bfl"):
        Arena.of(np.ones(3)).like(dtype)


def test_an_arena_of_another_dtype_is_not_taken_for_parameters_or_gradients():
    params = Arena.of({"W": np.ones(3, "f")})
    with pytest.raises(gdopt.ArgumentTypeError, match="'W' must be float32, as in the"):
        gdopt.SGD(params.like("float64"))
    with pytest.raises(gdopt.ArgumentTypeError, match="be float32, got float64"):
        gdopt.SGD(params).step(params.like("float64"))


def unpickled(arena):
    return pickle.loads(pickle.dumps(arena))  # noqa: S301 - its own


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled])
def test_copies_keep_layout_dtypes_and_padding_in_memory_of_their_own(copied):
    whole = Arena.of(arrays("float32", ml_dtypes.bfloat16))
    whole.buffers["float32"][:] = np.arange(whole.buffers["float32"].size)
    for arena in (whole, whole.like("float64"), *over(whole, 3)):
        other = copied(arena)
        assert other.layout == arena.layout
        for group, buffer in arena.buffers.items():
            np.testing.assert_array_equal(other.buffers[group], buffer, strict=True)
            assert not np.shares_memory(other.buffers[group], buffer)
            assert other.backend.address(other.buffers[group]) % 64 == 0
        other[next(iter(other))][...] = 3
        assert (arena[next(iter(arena))] != 3).any()
