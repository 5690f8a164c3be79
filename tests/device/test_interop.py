"""Arrays of other libraries on a GPU are updated where they are."""

import importlib

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    return importlib.import_module("cupy")


def library(name):
    """Import torch or JAX, which do without CuPy's runtime and so need a real GPU."""
    found = importlib.import_module(name)
    there = found.cuda.is_available if name == "torch" else jax_has_gpu
    if not there():
        pytest.skip(f"{name} sees no GPU")
    return found


def jax_has_gpu():
    import jax

    return jax.default_backend() == "gpu"


@pytest.mark.peers("torch")
def test_a_torch_tensor_on_the_gpu_is_updated_in_place(cupy):
    torch = library("torch")
    tensor = torch.ones(1000, device="cuda")
    view = gdopt.as_array(tensor)
    assert view.data.ptr == tensor.data_ptr()
    optimizer = gdopt.SGD(view, lr=0.5)
    optimizer.step(gdopt.as_array(torch.full((1000,), 2.0, device="cuda")))
    cupy.cuda.Device().synchronize()
    assert tensor.cpu().tolist() == [0.0] * 1000


@pytest.mark.peers("torch")
def test_a_bfloat16_tensor_of_torch_is_updated_in_place(cupy):
    torch = library("torch")
    tensor = torch.ones(10, device="cuda", dtype=torch.bfloat16)
    view = gdopt.as_array(tensor)
    assert view.dtype.name == "bfloat16"
    gdopt.SGD(view, lr=0.5).step(gdopt.as_array(torch.ones_like(tensor)))
    cupy.cuda.Device().synchronize()
    assert tensor.float().cpu().tolist() == [0.5] * 10


@pytest.mark.peers("jax")
def test_a_jax_array_may_be_a_gradient_but_no_parameter(cupy):
    jnp = library("jax").numpy
    array = gdopt.as_array(jnp.ones(1000))
    with pytest.raises(
        gdopt.ArgumentTypeError, match="must be writeable, got a read-o"
    ):
        gdopt.SGD(array)
    p = cupy.zeros(1000, np.float32)
    gdopt.SGD(p, lr=1.0).step(array)
    assert p.get().tolist() == [-1.0] * 1000


@pytest.mark.peers("jax")
def test_an_empty_jax_array_is_read_only_too(cupy):
    jnp = library("jax").numpy
    array = gdopt.as_array(jnp.ones((0, 3)))
    assert array.shape == (0, 3)
    assert not gdopt.get_backend("cupy").writeable(array)


class Foreign:
    """An array of another library, which torch's and JAX's need a real GPU to be."""

    def __init__(self, array, **interface):
        self.array = array  # which owns the memory
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, **interface}
        self.__dlpack__, self.__dlpack_device__ = (
            array.__dlpack__,
            array.__dlpack_device__,
        )


def test_bfloat16_comes_by_dlpack_as_the_interface_has_no_name_for_it(cupy):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    own = cupy.ones(10, ml_dtypes.bfloat16)
    view = gdopt.as_array(Foreign(own, typestr="<V2"))  # as torch says
    assert view.dtype == ml_dtypes.bfloat16
    gdopt.SGD(view, lr=0.5).step(cupy.ones(10, ml_dtypes.bfloat16))
    assert own.astype(np.float32).get().tolist() == [0.5] * 10


@pytest.mark.parametrize("shape", [(3,), (0, 3)])
def test_a_view_may_be_read_only_and_empty(shape, cupy):
    own = cupy.ones(shape)
    view = gdopt.as_array(Foreign(own, data=(own.data.ptr, True)))
    assert view.shape == shape
    assert not gdopt.get_backend("cupy").writeable(view)


def test_arrays_stay_on_their_own_device(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    with cupy.cuda.Device(1):
        params, grads = cupy.ones(100), cupy.ones(100)
    optimizer = gdopt.Adam(params, lr=0.1, clip_norm=1.0)
    with cupy.cuda.Device(0):
        optimizer.step(grads)
    assert {a.device.id for a in optimizer.state["0"].values()} == {1}
