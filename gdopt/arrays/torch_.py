"""torch's parameters: their gradients, memory that may move, version counters."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from gdopt.arrays.arena import array_label
from gdopt.arrays.backend import Array, Backend
from gdopt.arrays.dtypes import as_dtype
from gdopt.arrays.foreign import is_tensor
from gdopt.errors import ArgumentError, ArgumentTypeError


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
        message = (
            f"the parameter {array_label(moved[0])} has other memory than when the "
            "optimizer was made: make it after .to(), .half(), share_memory() or "
            "p.data = ..."
        )
        raise ArgumentError(message)

    def grads(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the gradients that parameters carry; at least one has one."""
        if len(self.named) < self._count:
            message = "step needs grads: only torch's parameters carry their own"
            raise ArgumentTypeError(message)
        grads = {name: self.named[name].grad for name in names}
        if all(grad is None for grad in grads.values()):
            message = (
                "no parameter has a gradient: call loss.backward() before opt.step()"
            )
            raise ArgumentError(message)
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
