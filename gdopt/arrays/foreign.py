"""Arrays of torch, JAX and other libraries, viewed in place as NumPy's or CuPy's.

torch's tensors on the CPU are never taken through DLPack, which loses the sign of a
tensor with the negative bit, and whose views dangle once a storage is resized. No
library is imported here: an object can only be torch's where torch has been imported.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from gdopt.arrays.arena import array_label
from gdopt.arrays.backend import Array, Backend, get_backend, is_on_device
from gdopt.arrays.dtypes import as_dtype
from gdopt.checks import refuse_masked
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError

HOST, CUDA = 1, 2  # kinds of device in DLPack


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def is_jax(value: object) -> bool:
    """Return whether a value is an array of JAX, or a tracer of one."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, getattr(jax, "Array", ()))


def is_exported(value: object) -> bool:
    """Return whether a value is an array that says how to view it in place."""
    return is_tensor(value) or hasattr(value, "__dlpack__") or is_on_device(value)


def kind_of(value: object) -> str:
    """Name the class of a value, with its module."""
    return f"{type(value).__module__}.{type(value).__name__}"


def device_of(array: Any) -> str:
    """Name the device of another library's array, or devices, before it is viewed."""
    if is_tensor(array):
        return "cpu" if array.is_cpu else str(array.device)
    if is_jax(array):
        names = [f"{one.platform}:{one.local_hardware_id}" for one in array.devices()]
        device = ", ".join(sorted(names)).replace("gpu", "cuda")
        return "cpu" if len(names) == 1 and device.startswith("cpu") else device
    if not hasattr(array, "__dlpack_device__"):
        return get_backend("cupy").device(_adopt(array))
    kind, number = array.__dlpack_device__()
    return {HOST: "cpu", CUDA: f"cuda:{number}"}.get(kind, f"DLPack's device {kind}")


def as_array(array: Any) -> Array:
    """View an array of torch, JAX or another library in place, as NumPy's or CuPy's.

    What is written to the view, is written to the array. Views of arrays that must
    not be written to, such as JAX's, are read-only: they can be gradients, but not
    parameters. NumPy 2.1 itself makes every view through DLPack read-only.

    Args:
        array: a tensor of torch or an array of JAX, or it has ``__dlpack__``, on the
            CPU or a GPU, or ``__cuda_array_interface__``.

    Raises:
        ArgumentTypeError: it is not such an array, or its library does not export it;
            a torch tensor that requires a gradient has to be detached.
        BackendError: it is on a GPU that CuPy cannot use.

    >>> import numpy as np
    >>> class Other:
    ...     def __init__(self):
    ...         self.kept = np.zeros(3)
    ...         self.__dlpack__ = self.kept.__dlpack__
    ...         self.__dlpack_device__ = self.kept.__dlpack_device__
    >>> other = Other()
    >>> view = as_array(other)
    >>> other.kept[...] = 1
    >>> view
    array([1., 1., 1.])
    """
    return view_of(array, "array")


def view_of(array: Any, label: str) -> Array:
    """View an array in place; see `as_array`. Errors call it by a label."""
    refuse_masked(label, array)
    if isinstance(array, np.ndarray):
        return array
    try:
        if is_tensor(array) and array.is_cpu:
            return _view_of_tensor(array)
        if is_jax(array) and device_of(array) == "cpu":
            return np.asarray(array)
        if is_on_device(array):
            return _adopt(array)
        if hasattr(array, "__dlpack__"):
            kind = array.__dlpack_device__()[0]
            if kind == HOST:
                return np.from_dlpack(array)
            if kind == CUDA:
                return _adopt(array)
    except BackendError:
        raise
    except (RuntimeError, BufferError, TypeError, ValueError, AttributeError) as error:
        message = f"{label} could not be exported by its library, got a "
        message += f"{kind_of(array)}: {error}"
        raise ArgumentTypeError(message) from error
    rule = f"{label} must have __dlpack__ or __cuda_array_interface__"
    message = f"{rule}, on the CPU or a CUDA device, got a {kind_of(array)}"
    raise ArgumentTypeError(message)


def _view_of_tensor(tensor: Any) -> Array:
    torch = sys.modules["torch"]
    if tensor.dtype is not torch.bfloat16 or tensor.requires_grad:
        return tensor.numpy()  # torch refuses what requires a gradient
    return tensor.view(torch.int16).numpy().view(as_dtype("bfloat16"))


def _adopt(array: Any) -> Array:
    backend: Any = get_backend("cupy")
    if backend.is_array(array):
        return array
    interface = getattr(array, "__cuda_array_interface__", {"data": (0, False)})
    return backend.adopt(array, read_only=is_jax(array) or bool(interface["data"][1]))


def parameter_view(array: Any, label: str) -> Array:
    """View an array that is to be updated; refuse JAX's; return what has no view."""
    if isinstance(array, np.ndarray) or not is_exported(array):
        return array
    if is_jax(array):
        raise ArgumentTypeError(
            "jax arrays cannot be updated in place: keep the parameters as "
            f"np.array(w), and pass jnp.asarray(w) to the loss; {label} is one"
        )
    return view_of(array.detach() if is_tensor(array) else array, label)


def gradient_view(array: Any, label: str, library: str, device: str) -> Array:
    """View an array that is only read, of the library and on the device of others."""
    tensor = is_tensor(array)
    jax = not tensor and is_jax(array)
    if tensor and array.is_sparse:
        raise ArgumentTypeError(
            f"{label} must be dense, got a sparse tensor: write g = p.grad.coalesce(); "
            "opt.step(g.values(), at=g.indices()[0])"
        )
    if jax and isinstance(array, sys.modules["jax"].core.Tracer):
        raise ArgumentTypeError(
            "opt.step cannot run inside jax.jit: return the gradients and call it "
            f"outside; {label} is a {kind_of(array)}"
        )
    if (found := device_of(array)) != device:
        rule = f"{label} must be a {library} array on {device}"
        raise BackendError(f"{rule}, got a {kind_of(array)} on {found}")
    if jax and device == "cpu":
        return np.asarray(array)  # waits for the result
    if tensor:
        array = array.detach() if array.requires_grad else array
        array = array.resolve_conj().resolve_neg()  # a copy, where it has to be
    return view_of(array, label)


class Tensors:
    """The tensors of torch among an optimizer's parameters, which views are of."""

    def __init__(self, named: Mapping[str, Any], count: int) -> None:
        self.named, self._count = named, count
        self._torch = sys.modules["torch"]
        self._memory = self._facts()
        dtypes = {tensor.dtype for tensor in named.values()}
        self.bfloat16 = dtypes == {self._torch.bfloat16}

    @classmethod
    def among(cls, params: Mapping[str, Any]) -> Self | None:
        """Return the tensors among parameters; None if there are none."""
        named = {n: p for n, p in params.items() if is_tensor(p)}
        return cls(named, len(params)) if named else None

    def _facts(self) -> list[list[Any]]:
        """Say where each tensor lies: four lists, which are faster than tuples."""
        own = self.named.values()
        return [
            [tensor.data_ptr() for tensor in own],
            [tensor.shape for tensor in own],
            [tensor.stride() for tensor in own],
            [tensor.dtype for tensor in own],
        ]

    def refuse_moved(self) -> None:
        """Refuse tensors whose memory is not what the views are of."""
        facts = self._facts()
        if facts == self._memory:
            return
        now, before = zip(*facts, strict=True), zip(*self._memory, strict=True)
        moved = [n for n, a, b in zip(self.named, now, before, strict=True) if a != b]
        raise ArgumentError(
            f"the parameter {array_label(moved[0])} has other memory than when the "
            "optimizer was made: make it after .to(), .half(), share_memory() or "
            "p.data = ..."
        )

    def grads(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the gradients that parameters carry; at least one has one."""
        if len(self.named) < self._count:
            message = "step needs grads: only torch's parameters carry their own"
            raise ArgumentTypeError(message)
        grads = {name: self.named[name].grad for name in names}
        if all(grad is None for grad in grads.values()):
            raise ArgumentError(
                "no parameter has a gradient: call loss.backward() before opt.step()"
            )
        return grads

    def views(self, tensors: list[Any]) -> list[Array]:
        """View tensors on the CPU, all of them at once; see `gradient_view`."""
        if not self.bfloat16:
            return [tensor.numpy() for tensor in tensors]
        stored, dtype = self._torch.int16, as_dtype("bfloat16")
        return [tensor.view(stored).numpy().view(dtype) for tensor in tensors]

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None; backward adds to them."""
        for tensor in self.named.values():
            tensor.grad = None

    def written(self, names: Collection[str]) -> None:
        """Let autograd refuse to go back through what the old values have computed."""
        own = [tensor for name, tensor in self.named.items() if name in names]
        self._torch.autograd.graph.increment_version(own)

    @contextmanager
    def on_stream(self, backend: Backend, device: str) -> Iterator[None]:
        """Make a GPU current, and the stream on which torch has its work done."""
        stream = self._torch.cuda.current_stream(device)
        with backend.on(device), backend.xp.cuda.Stream.from_external(stream):
            yield
