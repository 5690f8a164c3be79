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


@pytest.mark.peers("torch")
@pytest.mark.parametrize("index", [..., (slice(None), 1), (0, 0)])
def test_bfloat16_of_torch_is_viewed(index):
    import torch

    tensor = torch.arange(6.0).to(torch.bfloat16).reshape(2, 3)[index]
    view = gdopt.as_array(tensor)
    assert view.dtype.name == "bfloat16"
    assert view.astype(np.float32).tolist() == tensor.tolist()
    view[...] = 7
    assert set(tensor.reshape(-1).tolist()) == {7.0}
    with pytest.raises(gdopt.ArgumentTypeError, match="detach"):
        gdopt.as_array(tensor.requires_grad_())


@pytest.mark.peers("torch")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda z: z.conj(), "resolve_conj"),
        (lambda z: z.conj().imag, "resolve_neg"),  # whose sign DLPack loses
        (lambda z: z.real.to_sparse(), "Sparse"),
        (lambda z: z.to("meta"), "meta"),
    ],
)
def test_a_tensor_that_is_not_its_memory_is_refused_with_torch_s_words(make, word):
    import torch

    with pytest.raises(gdopt.ArgumentTypeError, match=word):
        gdopt.as_array(make(torch.tensor([1 + 2j])))


@pytest.mark.peers("jax")
def test_a_jax_array_may_be_a_gradient_but_no_parameter():
    import jax.numpy as jnp

    array = gdopt.as_array(jnp.ones(4))
    with pytest.raises(
        gdopt.ArgumentTypeError,
        match=r"must be writeable, got a read-o.* np.array\(w\)",
    ):
        gdopt.SGD(array)
    message = (
        r"jax arrays cannot be .* keep the parameters as np.array\(w\), and pass jnp"
    )
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        gdopt.SGD({"w": jnp.ones(4)})
    p = np.zeros(4, np.float32)
    gdopt.SGD(p, lr=1.0).step(array)
    assert p.tolist() == [-1.0] * 4


class Producer:
    """An array that only DLPack can reach."""

    def __init__(self, array):
        self.array = array
        self.__dlpack__, self.__dlpack_device__ = (
            array.__dlpack__,
            array.__dlpack_device__,
        )


def test_any_array_that_dlpack_can_reach_may_be_a_parameter_and_a_gradient(engine):
    own = np.zeros(4, np.float32)
    if not np.from_dlpack(own).flags.writeable:
        pytest.skip("NumPy 2.1 makes such views read-only")
    optimizer = gdopt.SGD({"w": Producer(own)}, lr=0.5)
    optimizer.step({"w": Producer(np.full(4, 2.0, np.float32))})
    assert own.tolist() == [-1.0] * 4
    assert not hasattr(optimizer, "zero_grad")


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
