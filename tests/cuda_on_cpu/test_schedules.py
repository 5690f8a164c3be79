"""Work is done when CUDA says, and as late or as early as it allows."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("schedule", "seen"), [("eager", 0.0), ("lazy", 1.0)], ids=["eager", "lazy"]
)
def test_pinned_memory_is_read_when_the_copy_is_done(schedule, seen, cp, cuda):
    cuda.schedule = schedule
    pinned = cp.cuda.alloc_pinned_memory(8)
    host = np.frombuffer(pinned, np.float64, 1)
    array = cp.empty(1)
    host[...] = 0
    array.set(host, stream=cp.cuda.get_current_stream())
    host[...] = 1  # too early
    assert array.get().tolist() == [seen]


def test_pageable_memory_is_read_at_once(cp, cuda):
    cuda.schedule = "lazy"
    host = np.zeros(1)
    array = cp.empty(1)
    array.set(host, stream=cp.cuda.get_current_stream())
    host[...] = 1
    assert array.get().tolist() == [0]


def test_streams_are_ordered_by_events_alone(cp, cuda):
    cuda.schedule = "lazy"
    first, second = (cp.cuda.Stream(non_blocking=True) for _ in range(2))
    x, y = cp.zeros(4), cp.zeros(4)
    cp.cuda.Device().synchronize()
    with first:
        x += 1
    with second:
        y += x  # races: it is not told to wait
    second.synchronize()
    assert y.get().tolist() == [0] * 4
    with first:
        x += 1
        done = first.record()
    second.wait_event(done)
    with second:
        y += x
    second.synchronize()
    assert y.get().tolist() == [2] * 4
    first.synchronize()


def test_the_default_stream_waits_for_blocking_streams(cp, cuda):
    cuda.schedule = "lazy"
    stream = cp.cuda.Stream()
    x = cp.zeros(4)
    with stream:
        x += 1
    assert (x * 1).get().tolist() == [1] * 4


def test_a_random_schedule_is_repeated_by_its_seed(cp, cuda):
    def work():
        kept = []
        streams = [cp.cuda.Stream(non_blocking=True) for _ in range(2)]
        x = cp.zeros(1)
        cp.cuda.Device().synchronize()
        for _ in range(20):
            with streams[0]:
                x += 1
            with streams[1]:
                kept.append(x.copy())
        cp.cuda.Device().synchronize()
        return [float(value[0]) for value in kept]

    cuda.schedule = "random:5"
    once = work()
    cuda.schedule = "random:5"
    assert work() == once
    cuda.schedule = "random:6"
    assert work() != once


def test_what_a_graph_holds_is_counted_and_done_when_it_is_launched(cp, cuda):
    stream = cp.cuda.Stream(non_blocking=True)
    x = cp.zeros(4)
    x += 1  # compiled
    with stream:
        stream.begin_capture()
        x += 1
        x[:2] = 5
        graph = stream.end_capture()
    assert x.get().tolist() == [1] * 4
    assert len(cuda.nodes) == 2
    cuda.forget()
    for _ in range(3):
        graph.launch(stream)
    stream.synchronize()
    assert x.get().tolist() == [5, 5, 4, 4]
    assert (cuda.count("launches"), cuda.count("cudaGraphLaunch")) == (0, 3)


def test_waiting_breaks_a_capture(cp, cuda):
    stream = cp.cuda.Stream(non_blocking=True)
    error = cp.cuda.runtime.CUDARuntimeError
    with stream:
        stream.begin_capture()
        with pytest.raises(error, match="StreamCaptureUnsupported"):
            stream.synchronize()
        with pytest.raises(error, match="StreamCaptureInvalidated"):
            stream.end_capture()
    assert not cuda.capturing


def test_devices_keep_their_arrays_apart(cp, cuda):
    with cp.cuda.Device(1):
        x = cp.arange(3)
    assert x.device.id == 1
    assert cuda.used(1) > 0
    assert x.get().tolist() == [0, 1, 2]


def test_copies_and_waits_are_counted(cp, cuda):
    cuda.forget()
    x = cp.asarray(np.ones(100))
    assert (cuda.count("copies to device"), cuda.count("bytes to device")) == (1, 800)
    assert cuda.count("waits") == 0
    x.get()
    assert cuda.count("copies to host") == 1
    assert cuda.count("waits") > 0


def test_blocks_wait_for_their_threads(cp):
    code = r"""
    extern "C" __global__ void reverse(int* x) {
      __shared__ int kept[96];
      kept[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
      __syncthreads();
      int sum = kept[blockDim.x - 1 - threadIdx.x];
      for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(0xffffffff, sum, by);
      x[blockIdx.x * blockDim.x + threadIdx.x] = sum;
    }"""
    host = np.arange(192, dtype=np.int32)
    x = cp.asarray(host)
    cp.RawKernel(code, "reverse")((2,), (96,), (x,))
    sums = host.reshape(2, 3, 32).sum(-1)[:, ::-1]
    assert (x.get().reshape(2, 3, 32) == sums[:, :, None]).all()


def test_sorts_are_numpys(cp):
    host = np.random.default_rng(0).integers(0, 9, (4, 25))
    array = cp.asarray(host)
    assert (cp.sort(array, axis=0).get() == np.sort(host, axis=0)).all()
    order = cp.argsort(array).get()
    assert (np.take_along_axis(host, order, 1) == np.sort(host)).all()
    keys = array[:2]
    assert (cp.lexsort(keys).get() == np.lexsort(host[:2])).all()
    assert (cp.unique(array).get() == np.unique(host)).all()


def test_devices_that_are_hidden_are_not_available(cp, cuda):
    assert cp.is_available()
    cuda.show(0)
    assert not cp.is_available()
    cuda.show(1)
    assert cp.is_available()
    assert cp.cuda.runtime.getDeviceCount() == 1
