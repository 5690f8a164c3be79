"""Engines: layouts, storage types, threads, forks, and the folder of compiled loops."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from rules import bits, special_arrays

import gdopt
from gdopt.kernels.cpu import flush
from gdopt.kernels.cpu.blocks import Blocks, cache_bytes
from gdopt.kernels.kernel import cpu_engine
from gdopt.kernels.packing import split

ENGINES = ("numpy", "numba")


def axpy(y, x, *, a):
    return y + a * x


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    if request.param == "numba":
        pytest.importorskip("numba")
    monkeypatch.setenv("GDOPT_CPU_ENGINE", request.param)
    return request.param


LAYOUTS = {
    "reversed": lambda a: a[::-1],
    "every second": lambda a: a[::2],
    "columns": lambda a: a[:, :3],
    "Fortran order": np.asfortranarray,
    "transposed": lambda a: a.T,
    "0-d": lambda a: a[0, 0, ...],
    "empty": lambda a: a[:0],
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_any_strides_are_updated_in_place(layout):
    whole = np.arange(600.0).reshape(100, 6)
    y = LAYOUTS[layout](whole)
    x = np.ones(y.shape)
    expected = y + 2.0
    address = y.ctypes.data
    gdopt.Kernel(axpy)(y, x, a=2.0)
    assert expected.tolist() == y.tolist()
    assert address == y.ctypes.data


@pytest.mark.usefixtures("engine")
def test_strided_arrays_larger_than_a_block_are_right():
    y = np.zeros((3, 200_001), np.float32)[:, ::2]
    x = np.arange(y.size, dtype=np.float32).reshape(y.shape)
    gdopt.Kernel(axpy)(y, x, a=1.0)
    assert np.array_equal(x, y)


def test_split_covers_every_element_once():
    array = np.arange(7 * 5 * 11).reshape(7, 5, 11)
    for size in (1, 4, 11, 55, 60, 1000):
        pieces = [piece for (piece,) in split([array], size)]
        assert max(piece.size for piece in pieces) <= size
        assert sorted(v for p in pieces for v in p.ravel()) == list(range(array.size))


@pytest.mark.usefixtures("engine")
def test_float16_is_stored_in_float16_and_computed_in_float32():
    y = np.full(5, 1.0, np.float16)
    x = np.full(5, 2.0**-12, np.float16)
    gdopt.Kernel(axpy)(y, x, a=1.5)  # 1 + 1.5 ulp/4: rounds to 1 in float16
    assert y.tolist() == [1.0] * 5
    gdopt.Kernel(axpy)(y, x, a=8.0)
    assert y.tolist() == [1.0 + 2.0**-9] * 5


@pytest.mark.usefixtures("engine")
def test_float32_denormals_flush_and_float64_ones_stay():
    if not flush.can_flush():
        pytest.skip("this machine's floating-point mode cannot be set")
    for dtype, expected in ((np.float32, 0.0), (np.float64, 1e-40)):
        y = np.zeros(3, dtype)
        gdopt.Kernel(axpy)(y, np.full(3, 1e-40, dtype), a=1.0)
        assert np.allclose(y, expected, rtol=1e-6, atol=0)
    # The mode ends with the pass.
    assert np.float32(1e-40) * np.float32(1) > 0


def test_the_mode_is_restored_when_a_pass_fails():
    with pytest.raises(ZeroDivisionError), flush.FlushToZero():
        raise ZeroDivisionError
    assert np.float32(1e-40) * np.float32(1) > 0


@pytest.mark.usefixtures("engine")
def test_no_floating_point_warning_escapes():
    y = np.array([3e38, np.inf, 0.0], np.float32)
    gdopt.Kernel(lambda y, x: y * x / x)(y, np.array([10, -np.inf, 0], np.float32))
    assert y[0] == np.inf
    assert np.isnan(y[2])


def test_scalars_beyond_float32_become_infinite_without_a_warning():
    y = np.zeros(2, np.float32)
    gdopt.Kernel(axpy)(y, np.ones(2, np.float32), a=1e300)
    assert y.tolist() == [np.inf, np.inf]


def test_blocks_fit_twice_the_cache():
    program = gdopt.Kernel(axpy).program()
    engine = Blocks(program, "float32")
    assert engine.size & (engine.size - 1) == 0
    live = 3 * 4 * engine.size  # y, x and one scratch array
    assert live <= max(2 * cache_bytes(), 3 * 4 * 4096)


def test_the_engine_is_chosen_by_a_variable(monkeypatch):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    assert cpu_engine() == "numpy"
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "fortran")
    with pytest.raises(
        gdopt.ArgumentError, match="must be numpy or numba, got 'fortran'"
    ):
        cpu_engine()
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")
    monkeypatch.setattr("gdopt.kernels.kernel.numba_installed", lambda: False)
    with pytest.raises(gdopt.MissingExtraError, match=r"\.\[numba\]"):
        cpu_engine()
    monkeypatch.delenv("GDOPT_CPU_ENGINE")
    assert cpu_engine() == "numpy"


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


PARALLEL = """
import os, sys
import numpy as np
import gdopt
y, x = np.zeros(1_500_000, "f4"), np.ones(1_500_000, "f4")
kernel = gdopt.Kernel(lambda y, x: y + x)
kernel(y, x)
child = os.fork()
if child == 0:
    kernel(y, x)
    os._exit(0 if (y == 2).all() else 1)
_, status = os.waitpid(child, 0)
kernel(y, x)
sys.exit(os.waitstatus_to_exitcode(status) or int(not (y == 2).all()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_computes_after_its_parent_used_threads(engine):
    result = run_python(PARALLEL, GDOPT_CPU_ENGINE=engine, PYTHONWARNINGS="ignore")
    assert (result.returncode, result.stderr) == (0, "")


COMPILE = """
import numpy as np
import gdopt
y = np.zeros(3)
gdopt.Kernel(lambda y, x: y + 7 * x)(y, np.ones(3))
print(y)
"""


@pytest.mark.slow
def test_compiled_loops_are_kept_for_the_next_process(tmp_path):
    pytest.importorskip("numba")
    settings = {"GDOPT_CPU_ENGINE": "numba", "GDOPT_CACHE_DIR": str(tmp_path)}
    first = run_python(COMPILE, **settings)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ic]")}
    second = run_python(COMPILE, **settings)
    assert first.stdout == second.stdout == "[7. 7. 7.]\n"
    assert kept
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ic]")}
    assert kept == again


@pytest.mark.newest
@pytest.mark.slow
def test_a_cache_folder_that_cannot_be_written_is_said_and_does_not_matter(tmp_path):
    pytest.importorskip("numba")
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    result = run_python(
        COMPILE, GDOPT_CPU_ENGINE="numba", GDOPT_CACHE_DIR=str(blocked / "cache")
    )
    assert result.stdout == "[7. 7. 7.]\n"
    assert "compiled loops could not be cached on disk" in result.stderr
    assert "GDOPT_CACHE_DIR names another folder" in result.stderr


@pytest.mark.parametrize(
    ("arrays", "scalars", "error", "message"),
    [
        ([np.zeros(3)], {"a": 1}, gdopt.ArgumentError, r"must be 2 \(y, x\), got 1"),
        ([np.zeros(3), np.zeros(3)], {}, gdopt.ArgumentError, "scalars must be a"),
        (
            [np.zeros(3), np.zeros(2)],
            {"a": 1},
            gdopt.ArgumentError,
            r"\(3,\), got \(2,\)",
        ),
        (
            [np.zeros(3), np.zeros(3, "f4")],
            {"a": 1},
            gdopt.ArgumentTypeError,
            "float64",
        ),
        ([np.zeros(3, int)] * 2, {"a": 1}, gdopt.ArgumentTypeError, "float dtype"),
        (
            [np.broadcast_to(0.0, 3), np.ones(3)],
            {"a": 1},
            gdopt.ArgumentTypeError,
            "only",
        ),
        ([[0.0], [1.0]], {"a": 1}, gdopt.ArgumentTypeError, "got list"),
    ],
)
def test_a_kernel_refuses(arrays, scalars, error, message):
    with pytest.raises(error, match=message):
        gdopt.Kernel(axpy)(*arrays, **scalars)


def clip(p, m, g, *, low, high):
    return np.minimum(high, np.maximum(low, -g)), np.minimum(np.maximum(p, low), high)


def limit(p, m, g, *, low, high):
    larger = np.maximum(g, low)
    return np.minimum(larger, high), larger - np.minimum(np.maximum(m, low), high)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("formula", [clip, limit])
def test_scalars_clip_to_the_bits_of_arrays(formula, dtype, engine):
    kernel = gdopt.Kernel(formula)
    bounds = [0.0, -0.0, 1e-40, -5e-324, 0.75, -0.75, np.inf, -np.inf, np.nan]
    pairs = np.random.default_rng(0).permutation([*itertools.product(bounds, bounds)])
    for size, (low, high) in zip(itertools.cycle([7, 997, 1022]), pairs, strict=False):
        given = special_arrays(3, size, dtype)
        for array in given:
            array[-7:] = 1e-40  # where vectors are not full
        alone, by_arrays = ([array.copy() for array in given] for _ in range(2))
        kernel(*alone, low=float(low), high=float(high))
        limits = {"low": low, "high": high}
        kernel(*by_arrays, **{n: np.full(size, v, dtype) for n, v in limits.items()})
        for one, other in zip(alone, by_arrays, strict=True):
            assert bits(one) == bits(other), limits
