"""Sizes beyond 2^31 elements are counted right; stand-ins play the large arrays."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.arrays import Layout
from gdopt.arrays.arena import PADDING
from gdopt.arrays.backend import byte_bounds, get_backend
from gdopt.kernels.cpu.blocks import Blocks
from gdopt.kernels.cpu.pool import POOL
from gdopt.kernels.packing import split

DESCENT = gdopt.rules.sgd.kernel.program()
LARGE = 3 * 2**30 + 1  # one more than whole blocks, whatever their size
ROWS = 65 * 23_077 + 1  # of 2,000: one more than whole pieces of 65
FLOAT = np.dtype("float32")


class Span:
    """A flat array of any length that knows its place and holds nothing."""

    dtype, ndim = FLOAT, 1

    def __init__(self, start, stop):
        self.start, self.stop = start, stop
        self.size = stop - start
        self.shape = (self.size,)

    def __getitem__(self, cut):
        start, stop, _ = cut.indices(self.size)
        return Span(self.start + start, self.start + stop)


class Rows:
    """A matrix like that, of which rows are taken."""

    dtype, ndim = FLOAT, 2

    def __init__(self, first, count, width):
        self.first, self.shape, self.size = first, (count, width), count * width

    def __getitem__(self, cut):
        if isinstance(cut, slice):
            start, stop, _ = cut.indices(self.shape[0])
            return Rows(self.first + start, stop - start, self.shape[1])
        start = (self.first + cut) * self.shape[1]
        return Span(start, start + self.shape[1])


def assert_whole(spans, size):
    """Every element is in one span, from the first to the last."""
    spans = sorted(spans)
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(one[1] == two[0] for one, two in itertools.pairwise(spans))


def test_a_layout_places_arrays_behind_the_2_to_the_31st_element():
    arrays = {
        "W": SimpleNamespace(shape=(50_000, 60_000), dtype=FLOAT),
        "b": SimpleNamespace(shape=(5,), dtype=FLOAT),
        "U": SimpleNamespace(shape=(2**33 + 1,), dtype=FLOAT),
    }
    layout = Layout.of(arrays)
    found = {name: (slot.start, slot.stop) for name, slot in layout.slots.items()}
    behind_b = 3_000_000_000 + PADDING
    assert found == {
        "W": (0, 3_000_000_000),
        "b": (3_000_000_000, 3_000_000_005),
        "U": (behind_b, behind_b + 2**33 + 1),
    }
    assert layout.sizes == {"float32": behind_b + 2**33 + PADDING}


@pytest.mark.parametrize("shape", [LARGE, (LARGE,), (3, 1_000_000_001)])
def test_zeros_asks_for_all_bytes_of_a_large_array(shape, monkeypatch):
    asked = []

    def refuse(count, dtype):
        asked.append(count * np.dtype(dtype).itemsize)
        raise MemoryError

    monkeypatch.setattr(np, "zeros", refuse)
    with pytest.raises(MemoryError):
        get_backend("numpy").zeros(shape, FLOAT)
    assert asked[0] >= 4 * int(np.prod(shape, dtype=object))


def test_the_bytes_of_a_large_array_are_bounded_right():
    array = SimpleNamespace(
        size=LARGE * 2, shape=(2, LARGE), strides=(-4 * LARGE, 4), dtype=FLOAT
    )
    place = SimpleNamespace(address=lambda _: 10**12)
    low, high = byte_bounds(place, array)
    assert (low, high) == (10**12 - 4 * LARGE, 10**12 + 4 * LARGE)


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_blocks_and_threads_cut_a_large_array_whole(cores, monkeypatch):
    engine = Blocks(DESCENT, FLOAT)
    spans = []

    def record(first, second, *_):
        assert (first.start, first.stop) == (second.start, second.stop)
        assert first.size <= engine.size * 4
        spans.append((first.start, first.stop))

    monkeypatch.setattr(POOL, "size", cores)
    monkeypatch.setattr(engine, "_block", record)
    engine.run([Span(0, LARGE), Span(0, LARGE)], engine.cast([0.1]))
    assert_whole(spans, LARGE)


@pytest.mark.parametrize("size", [1 << 17, 2**32])
def test_packing_cuts_a_long_array_whole(size):
    array = Span(0, LARGE)
    spans = [(piece.start, piece.stop) for (piece,) in split([array], size)]
    assert_whole(spans, LARGE)
    assert max(stop - start for start, stop in spans) <= size


def test_packing_cuts_a_large_matrix_into_rows():
    rows = [piece for (piece,) in split([Rows(0, ROWS, 2_000)], 1 << 17)]
    spans = [(piece.first, piece.first + piece.shape[0]) for piece in rows]
    assert_whole(spans, ROWS)
    assert max(piece.size for piece in rows) <= 1 << 17


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_the_compiled_loop_shares_a_large_array_whole(cores, monkeypatch):
    pytest.importorskip("numba")
    loops = pytest.importorskip("gdopt.kernels.cpu.loops")
    engine, spans = loops.Loop(DESCENT, FLOAT), []

    def serial(first, second, _):
        assert (first.start, first.stop) == (second.start, second.stop)
        spans.append((first.start, first.stop))

    monkeypatch.setattr(POOL, "size", cores)
    monkeypatch.setattr(engine, "_serial", serial)
    engine.run([Span(0, LARGE), Span(0, LARGE)], engine.cast([0.1]))
    assert_whole(spans, LARGE)
    assert len(spans) == 1 if cores == 1 else len(spans) > cores


@pytest.mark.slow
def test_the_compiled_loop_counts_in_64_bits():
    pytest.importorskip("numba")
    loops = pytest.importorskip("gdopt.kernels.cpu.loops")
    text = loops.print_loop(DESCENT, flush=False)
    scope = {}
    exec(text, scope)  # noqa: S102 - gdopt's own text
    function = scope["serial"]
    function(np.zeros(3, FLOAT), np.ones(3, FLOAT), np.ones(1, FLOAT))
    (compiled,) = function.overloads.values()
    assert str(compiled.type_annotation.typemap["i"]) == "int64"
