"""Arrays of other libraries are updated in place, or refused."""

import numpy as np
import pytest

import gdopt


def test_numpy_s_own_arrays_are_handed_on():
    array = np.ones(3)
    assert gdopt.as_array(array) is array


@pytest.mark.peers("torch")
def test_a_torch_tensor_is_updated_in_place():
    import torch

    tensor = torch.ones(4)
    optimizer = gdopt.SGD(gdopt.as_array(tensor), lr=0.5)
    optimizer.step(gdopt.as_array(torch.full((4,), 2.0)))
    assert tensor.tolist() == [0.0] * 4


@pytest.mark.peers("torch")
def test_a_torch_tensor_that_requires_a_gradient_is_refused_with_torch_s_words():
    import torch

    with pytest.raises(gdopt.ArgumentTypeError, match=r"got a torch.Tensor: .*detach"):
        gdopt.as_array(torch.ones(4, requires_grad=True))


@pytest.mark.peers("jax")
def test_a_jax_array_may_be_a_gradient_but_no_parameter():
    import jax.numpy as jnp

    array = gdopt.as_array(jnp.ones(4))
    with pytest.raises(
        gdopt.ArgumentTypeError, match="must be writeable, got a read-o"
    ):
        gdopt.SGD(array)
    p = np.zeros(4, np.float32)
    gdopt.SGD(p, lr=1.0).step(array)
    assert p.tolist() == [-1.0] * 4


@pytest.mark.parametrize("wrong", [[1.0], "text", None, 3.0])
def test_what_is_no_array_is_refused(wrong):
    message = "array must have __dlpack__ or __cuda_array_interface__"
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        gdopt.as_array(wrong)


def test_an_array_on_an_unknown_device_is_refused():
    class Strange:
        def __dlpack__(self):
            raise AssertionError

        def __dlpack_device__(self):
            return 7, 0

    with pytest.raises(
        gdopt.ArgumentTypeError, match="on the CPU or a CUDA device, got"
    ):
        gdopt.as_array(Strange())
