"""Products in tiles: cuts by shape, BLAS's threads, and equal bits for any threads."""

import os
import threading

import numpy as np
import pytest
import threadpoolctl
from loads import Load
from rules import bits

import gdopt
from gdopt.kernels import products
from gdopt.kernels.cpu import blas
from gdopt.kernels.cpu.blas import LIMIT, OneBlasThread, can_limit_blas
from gdopt.kernels.cpu.pool import POOL
from gdopt.kernels.products import COLUMNS, ROWS, Product, run_step, spans
from gdopt.nn import formulas

needs_openblas = pytest.mark.skipif(
    not can_limit_blas(), reason="NumPy's BLAS is not an OpenBLAS with threads"
)


@pytest.mark.parametrize(
    ("shape", "axis", "widths"),
    [
        # 784-512-256-10 and 784-1024-512-10, batch 128: X W, dX and dW of each layer
        ((128, 784, 512), COLUMNS, [128] * 4),
        ((128, 512, 256), COLUMNS, [128] * 2),
        ((128, 256, 10), COLUMNS, [10]),
        ((784, 128, 512), ROWS, [192, 192, 192, 208]),
        ((128, 784, 1024), COLUMNS, [160, 176, 176, 160, 176, 176]),
        ((784, 128, 1024), ROWS, [128, 128, 128, 128, 128, 144]),
        ((128, 1024, 512), COLUMNS, [128] * 4),
        # just below 19 million operations, and just above
        ((100, 296, 320), COLUMNS, [320]),
        ((100, 297, 320), COLUMNS, [160] * 2),
        # large ones: no narrower than 128, and no more than 16
        ((4096, 784, 512), COLUMNS, [128] * 4),
        ((1024, 4096, 4096), COLUMNS, [256] * 16),
        ((4096, 1024, 8192), ROWS, [256] * 16),
        # whatever is too narrow to be cut
        ((4096, 4096, 31), COLUMNS, [31]),
        ((4096, 4096, 32), COLUMNS, [16, 16]),
        ((0, 4096, 4096), COLUMNS, [4096]),
    ],
)
def test_products_are_cut_by_their_shape(shape, axis, widths):
    found = spans(*shape, axis)
    assert [high - low for low, high in found] == widths
    assert [low for low, _ in found[1:]] == [high for _, high in found[:-1]]
    assert found[0][0] == 0


@pytest.mark.parametrize("axis", [ROWS, COLUMNS])
def test_each_tile_of_numba_is_followed_by_its_end(axis, engine, monkeypatch, request):
    request.addfinalizer(spans.cache_clear)
    monkeypatch.setattr(products, "WORTH_CUTTING", 0)
    monkeypatch.setattr(products, "WIDTH", 16)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((70, 30)), rng.standard_normal((30, 50))
    out, ended = np.full((70, 50), np.nan), []

    def end(low, high):
        part = out[:, low:high] if axis == COLUMNS else out[low:high]
        assert not np.isnan(part).any()
        part *= 2
        ended.append((low, high))

    spans.cache_clear()
    backend = gdopt.get_backend("numpy")
    run_step(backend, products.multiply(backend, Product(a, b, out, axis, end)))
    expected = [(0, 32), (32, 70)] if axis == ROWS else [(0, 16), (16, 50)]
    in_tiles = can_limit_blas() and engine == "numba"
    assert sorted(ended) == (expected if in_tiles else [(0, out.shape[axis])])
    np.testing.assert_allclose(out, 2 * (a @ b), rtol=1e-12)


@pytest.fixture(autouse=True)
def own_engines(monkeypatch):
    """Leave the scratch of other tests' threads alone."""
    for passes in (formulas.NO_ACTIVATION, *formulas.ACTIVATIONS.values()):
        for one in passes:
            monkeypatch.setattr(one, "_engines", {})


def blas_threads():
    pools = threadpoolctl.threadpool_info()
    return [p["num_threads"] for p in pools if "numpy" in p["filepath"]]


@pytest.fixture
def two_blas_threads():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


@needs_openblas
@pytest.mark.usefixtures("two_blas_threads")
def test_blas_has_one_thread_inside_and_the_callers_number_after():
    assert blas_threads() == [2]
    with OneBlasThread():
        assert blas_threads() == [1]
        with OneBlasThread():
            assert blas_threads() == [1]
        assert blas_threads() == [1]
    assert blas_threads() == [2]


@needs_openblas
@pytest.mark.usefixtures("two_blas_threads")
def test_the_last_of_two_threads_to_leave_restores_blas():
    inside, leave = threading.Event(), threading.Event()

    def step():
        with OneBlasThread():
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=step)
    with OneBlasThread():
        other.start()
        inside.wait(60)
    assert blas_threads() == [1]
    leave.set()
    other.join()
    assert blas_threads() == [2]


@needs_openblas
@pytest.mark.usefixtures("two_blas_threads")
def test_steps_set_blas_once_and_restore_it_also_when_they_raise(monkeypatch):
    seen, functions = [], blas._functions()
    monkeypatch.setattr(blas, "_functions", lambda: (functions[0], seen.append))
    network, (x, y) = make_network(), batch()
    network.loss_and_grads(x, y)
    assert seen == [1, 2]
    optimizer = gdopt.Adam(network.params)
    batches = gdopt.minibatches(x, y, batch_size=len(x))
    seen.clear()
    gdopt.fit(network, optimizer, batches, epochs=1)
    assert seen == [1, 2]
    seen.clear()

    def fail(*_):
        assert seen == [1, 2]  # the gradients have restored it
        raise LookupError

    monkeypatch.setattr(gdopt.Adam, "step", fail)
    with pytest.raises(LookupError):
        gdopt.fit(network, optimizer, batches, epochs=1)
    assert seen == [1, 2]
    seen.clear()
    network.predict(x)
    assert seen == [1, 2]


@needs_openblas
@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork with threads
def test_a_forked_child_gets_its_blas_back_from_threads_that_it_has_not():
    inside, leave = threading.Event(), threading.Event()

    def step():
        with OneBlasThread():
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=step)
    other.start()
    inside.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if blas._functions()[0]() == 2 and not LIMIT._inside else 1)
    leave.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_with_another_blas_products_stay_whole_in_the_calling_thread(monkeypatch):
    monkeypatch.setattr(blas, "_functions", lambda: None)
    monkeypatch.setattr(POOL, "run", None)
    network, (x, y) = make_network(), batch()
    whole = network.loss_and_grads(x, y)
    assert np.isfinite(whole[0])


def make_network(**options):
    return gdopt.nn.Network((784, 300, 10), seed=0, backend="numpy", **options)


def batch():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((128, 784)).astype("f4")
    return x, rng.integers(0, 10, 128)


@needs_openblas
@pytest.mark.parametrize(
    "options", [{}, {"activation": "tanh"}, {"keep_prob": 0.8}, {"batch_norm": True}]
)
@pytest.mark.parametrize("load", [False, True])
def test_training_has_the_same_bits_for_any_number_of_threads(
    options, load, engine, monkeypatch
):
    x, y = batch()
    found = {}
    for workers in (1, 2, 4):
        monkeypatch.setattr(POOL, "size", workers)
        network = make_network(**options)
        optimizer = gdopt.Adam(network.params)
        with Load() if load else np.errstate():
            for _ in range(3):
                loss, grads = network.loss_and_grads(x, y)
                optimizer.step(grads)
        found[workers] = bits(loss), bits(grads.flat), bits(network.params.flat)
    assert found[1] == found[2] == found[4]


@needs_openblas
def test_two_networks_train_in_two_threads_at_once(engine):
    x, y = batch()

    def train(found):
        network = make_network()
        optimizer = gdopt.Adam(network.params)
        for _ in range(5):
            optimizer.step(network.loss_and_grads(x, y)[1])
        found.append(bits(network.params.flat))

    alone, together = [], []
    train(alone)
    callers = [threading.Thread(target=train, args=(together,)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert together == alone * 2
