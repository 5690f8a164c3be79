"""Parameters of other libraries on a GPU; torch's by a stand-in, as it needs one.

The stand-in does what torch's tensors do, over memory of CuPy's: it is exported by
DLPack, which lets the stream that asks wait for torch's own current stream.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.gpu


class Tensor:
    """What gdopt asks of a tensor of torch on a GPU."""

    is_sparse = requires_grad = is_cpu = False
    device = "cuda:0"
    grad = None
    stream = None  # torch's current one

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.version = 0
        self.__dlpack_device__ = array.__dlpack_device__

    def __dlpack__(self, **options):
        with self.stream:
            return self.array.__dlpack__(**options)

    @property
    def __cuda_array_interface__(self):
        return self.array.__cuda_array_interface__

    def data_ptr(self):
        return self.array.data.ptr

    def stride(self):
        return self.array.strides

    def numpy(self):
        message = "can't convert cuda:0 device type tensor to numpy."
        raise TypeError(message)

    def _same(self):
        return self

    detach = resolve_conj = resolve_neg = _same


@pytest.fixture(params=["default stream", "own stream"])
def torch(request, cp, monkeypatch):
    """Put a module in torch's place, whose work is queued on a stream of its own."""
    own = request.param == "own stream"
    queue = cp.cuda.Stream(non_blocking=True) if own else cp.cuda.Stream.null
    monkeypatch.setattr(Tensor, "stream", queue)

    def bump(tensors):
        for tensor in tensors:
            tensor.version += 1

    module = ModuleType("torch")
    module.Tensor, module.bfloat16 = Tensor, "bfloat16"
    module.autograd = SimpleNamespace(graph=SimpleNamespace(increment_version=bump))
    stream = SimpleNamespace(__cuda_stream__=lambda: (0, queue.ptr))
    module.cuda = SimpleNamespace(current_stream=lambda _: stream)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def signed(p, m, g, *, lr, beta):
    m = beta * m + (1 - beta) * np.sign(g)
    return p - lr * m, m


def test_parameters_of_torch_are_updated_on_torch_s_stream(cp, cuda, torch):
    cuda.schedule = "lazy"  # work is done as late as CUDA allows
    starts = [np.linspace(-1, 1, n, dtype=np.float32) for n in (5, 300)]
    own = [start.copy() for start in starts]
    optimizer = gdopt.Optimizer(own, signed, lr=0.1, beta=0.9)
    for _ in range(50):
        optimizer.step([np.sin(array) for array in own])
    with Tensor.stream:
        params = [Tensor(cp.asarray(start)) for start in starts]
    optimizer = gdopt.Optimizer(params, signed, lr=0.1, beta=0.9)
    for _ in range(50):
        optimizer.zero_grad()
        assert [p.grad for p in params] == [None, None]
        with Tensor.stream:  # backward
            for p in params:
                p.grad = Tensor(cp.sin(p.array))
        optimizer.step()
    with Tensor.stream:
        found = [p.array.get(blocking=True) for p in params]
    for array, expected in zip(found, own, strict=True):
        # Sine differs in its last place on a device.
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)
    assert [p.version for p in params] == [50, 50]


def test_a_step_that_is_skipped_writes_to_no_tensor(cp, torch):
    with Tensor.stream:
        tensors = [Tensor(cp.full(2, 2.0)), Tensor(cp.full(3, 2.0))]
    opt = gdopt.Momentum(tensors, 0.5, non_finite="skip")
    for last, done in ((np.nan, False), (1.0, True)):
        with Tensor.stream:  # backward
            for tensor in tensors:
                tensor.grad = Tensor(cp.full(tensor.shape, last))
        versions = [tensor.version for tensor in tensors]
        assert opt.step() is done
        assert [
            tensor.version - before
            for tensor, before in zip(tensors, versions, strict=True)
        ] == [done, done]
    assert opt.t == 1
    with Tensor.stream:
        assert tensors[1].array.tolist() == [1.95] * 3


def test_memory_of_torch_that_was_replaced_is_refused(cp, torch):
    p = Tensor(cp.ones(3))
    optimizer = gdopt.SGD({"p": p})
    p.grad, p.array = Tensor(cp.ones(3)), cp.ones(3)
    message = "the parameter 'p' has other memory than when the optimizer was made"
    with pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step()


class Producer:
    """An array that only DLPack can reach."""

    def __init__(self, array):
        self.__dlpack__, self.__dlpack_device__ = (
            array.__dlpack__,
            array.__dlpack_device__,
        )


class Interface:
    """An array that only the interface for CUDA arrays can reach, as Numba's."""

    def __init__(self, array):
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__


@pytest.mark.parametrize("kind", [Producer, Interface])
def test_any_writable_array_on_the_device_may_be_a_parameter(kind, cp):
    own = {"W": cp.ones((2, 3)), "b": cp.ones(3)}
    optimizer = gdopt.SGD({name: kind(array) for name, array in own.items()}, 0.5)
    optimizer.step({"W": kind(cp.full((2, 3), 2.0)), "b": cp.ones(3)})
    assert own["W"].get().tolist() == [[0.0] * 3] * 2
    assert own["b"].get().tolist() == [0.5] * 3


def test_a_gradient_on_the_device_is_refused_for_parameters_on_the_cpu(cp, unchanged):
    optimizer = gdopt.SGD({"b": np.ones(3)})
    message = "'b' must be a numpy array on cpu, got a .*Producer on cuda:0"
    with unchanged(optimizer), pytest.raises(gdopt.BackendError, match=message):
        optimizer.step({"b": Producer(cp.ones(3))})
    optimizer = gdopt.SGD({"b": cp.ones(3)})
    message = "'b' must be a cupy array on cuda:0, got a numpy.ndarray on cpu"
    with pytest.raises(gdopt.BackendError, match=message):
        optimizer.step({"b": np.ones(3)})
