"""Batches are sent ahead, each through pinned memory that nothing reads any more."""

import importlib

import numpy as np
import pytest

import gdopt


def data(count=23):
    return np.arange(3.0 * count).reshape(count, 3), np.arange(count)


def test_batches_arrive_as_they_were_and_stay_so(cp):
    X, y = data()
    expected = list(gdopt.minibatches(X, y, batch_size=5, seed=0))
    held = list(
        gdopt.prefetch(gdopt.minibatches(X, y, batch_size=5, seed=0), backend="cupy")
    )
    assert len(held) == len(expected) == 5
    for (x, labels), (one, other) in zip(expected, held, strict=True):
        assert isinstance(one, cp.ndarray)
        assert np.array_equal(one.get(), x)
        assert np.array_equal(other.get(), labels)


def test_batches_of_one_array_and_of_any_sizes(cp):
    parts = [np.full(size, size, np.float32) for size in (2, 5, 3, 7, 1)]
    for part, found in zip(parts, gdopt.prefetch(parts, backend="cupy"), strict=True):
        assert np.array_equal(found.get(), part)


def test_a_network_learns_from_what_does_not_fit_the_device(cp):
    generator = np.random.default_rng(0)
    X = generator.standard_normal((64, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    ends = []
    for backend in ("numpy", "cupy"):
        network = gdopt.nn.Network((2, 8, 2), seed=0, backend=backend)
        optimizer = gdopt.Adam(network.params, lr=0.05)
        batches = gdopt.minibatches(X, y, batch_size=16, seed=0)
        for _ in range(10):
            for x, labels in gdopt.prefetch(batches, backend=backend):
                optimizer.step(network.loss_and_grads(x, labels)[1])
        home = network.params.backend
        ends.append(home.to_host(network.params.flat))
    np.testing.assert_allclose(*ends, rtol=1e-3, atol=1e-4)


def test_a_batch_is_sent_before_the_one_before_it_is_used(cp):
    sent = []

    def batches():
        for k in range(4):
            sent.append(k)
            yield np.full(3, k)

    for k, batch in enumerate(gdopt.prefetch(batches(), backend="cupy")):
        assert sent[-1] == min(k + 1, 3)
        assert batch.get()[0] == k


def test_the_copy_waits_for_the_computation_and_the_reverse(cp, cuda):
    cuda.schedule = "lazy"  # nothing is done unless something waits for it
    parts = [np.full(4, k) for k in range(3)]
    total = cp.zeros(4, np.int64)
    cuda.forget()
    for batch in gdopt.prefetch(parts, backend="cupy"):
        total += batch
    assert cuda.count("cudaStreamWaitEvent") == 6
    assert total.get().tolist() == [3] * 4


def test_pinned_memory_is_taken_twice_and_waited_for_before_it_is_filled_again(
    cp, monkeypatch
):
    taken, waits = [], []
    real, wait = cp.cuda.alloc_pinned_memory, cp.cuda.Event.synchronize

    def noted(size):
        taken.append(size)
        return real(size)

    monkeypatch.setattr(cp.cuda, "alloc_pinned_memory", noted)

    def synchronize(event):
        waits.append(event)
        wait(event)

    monkeypatch.setattr(cp.cuda.Event, "synchronize", synchronize)
    parts = [np.full(4, k, np.float32) for k in range(6)]
    assert len(list(gdopt.prefetch(parts, backend="cupy"))) == 6
    assert taken == [16, 16]
    assert len(waits) == 4


@pytest.mark.parametrize("wrong", [[1, 2], np.array(3.0), "text"])
def test_what_is_no_array_is_refused(wrong, cp):
    with pytest.raises(
        gdopt.ArgumentTypeError, match="array 1 of a batch must be a Nu"
    ):
        list(gdopt.prefetch([(np.ones(2), wrong)], backend="cupy"))


def test_on_the_cpu_batches_are_handed_on():
    part = np.ones(3)
    (found,) = gdopt.prefetch([part], backend="numpy")
    assert found is part


@pytest.mark.gpu
def test_the_last_batches_are_not_overwritten_by_the_next_epoch():
    cp = importlib.import_module("cupy")
    a = cp.ones((2048, 2048), np.float32)
    b = cp.empty_like(a)
    parts = [np.full(1 << 16, k, np.float32) for k in range(4)]
    later = [part + 100 for part in parts]
    for _ in range(4):  # the copies have to wait for it
        cp.matmul(a, a, out=b)
    one = list(gdopt.prefetch(parts, backend="cupy"))
    other = list(gdopt.prefetch(later, backend="cupy"))
    for k in range(4):
        assert set(one[k].get().tolist()) == {k}
        assert set(other[k].get().tolist()) == {k + 100}
