"""A whole training step as a CUDA graph: one launch instead of dozens."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, common_backend
from gdopt.checks import check_int, check_kind, shows
from gdopt.copies import NotCopied
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError
from gdopt.interrupt import Uninterrupted
from gdopt.kernels.cuda.engine import Launch
from gdopt.kernels.cuda.text import KernelText
from gdopt.nn import Network
from gdopt.optim.optimizer import GraphExecutor, Optimizer

UNCOPIED = "a captured graph is not copied: copy network and optimizer together"


@functools.cache
def capture_stream(cupy: Any, device: int) -> Any:
    """Return the stream to capture on: one, as cuBLAS takes 32 MiB for each."""
    with cupy.cuda.Device(device):
        return cupy.cuda.Stream(non_blocking=True)


class CapturedWork(NotCopied):
    """Does some work once as it is, then captures it; `replay` does it again.

    The first time compiles what there is to compile and fills a memory pool that is the
    graph's own: nothing else is ever put where the graph writes. The pool's memory goes
    back to the device with the object. The work asks nothing of the device; its result,
    arrays in the pool, is `result`. It is kept, with the arrays of its closure.
    """

    _instead = UNCOPIED

    def __init__(self, cupy: Any, stream: Any, work: Callable[[], Any]) -> None:
        self._cupy = cupy
        self._work = work
        self._pool, self._device = cupy.cuda.MemoryPool(), cupy.cuda.Device()
        outside = cupy.cuda.get_current_stream()
        stream.wait_event(outside.record())
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            self.first = work()
            self.result, self._graph = self._capture(stream, work)
        outside.wait_event(stream.record())

    @staticmethod
    def _capture(stream: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
        stream.begin_capture()
        try:
            result = work()
        except BaseException as error:
            with contextlib.suppress(RuntimeError):  # the capture may be invalid
                stream.end_capture()  # what has been captured so far is thrown away
            message = f"CUDA could not capture the work as a graph: {error}"
            raise BackendError(message) from error
        return result, stream.end_capture()

    def replay(self) -> Any:
        """Replay on the current stream; return the result, always the same arrays."""
        self._graph.launch(self._cupy.cuda.get_current_stream())
        return self.result

    def __del__(self) -> None:
        """Return the pool's memory: a pool that is dropped keeps its free blocks."""
        pool, device = self._pool, self._device
        self.__dict__.clear()
        with device:
            pool.free_all_blocks()


def gather_text(elements: int) -> KernelText:
    """Print the gathering of a batch; a division in 64 bits is a long subroutine."""
    index = "unsigned" if elements < 1 << 32 else "unsigned long long"
    return KernelText(
        "raw T source_, raw int64 order_, raw int64 position_, int64 size_, "
        f"{'uint32' if index == 'unsigned' else 'uint64'} width_",
        "raw T out_",
        f"const {index} row_ = ({index})i / width_, column_ = ({index})i % width_;\n"
        "const ptrdiff_t from_ = order_[position_[0] * size_ + row_];\n"
        "out_[i] = source_[from_ * (ptrdiff_t)width_ + column_];",
        "gdopt_gather",
        preamble="",
    )


ADVANCE = KernelText(
    "int64 by_", "raw int64 position_", "position_[0] += by_;", "gdopt_advance"
)


@shows("_network", "_batches")
class TrainingGraph(NotCopied):
    """Trains a network on a GPU with one launch a step: gather, forward, back, update.

    The first step with each size of batch is done as it is and captured; the others
    replay it, with the same bits. The device counts: steps, as a step that is skipped
    there advances neither count nor schedule, and the position in the epoch.

    Args:
        network: on a GPU.
        optimizer: of ``network.params``.
        batches: of examples and labels on the same GPU, rows as examples. The labels
            must have been seen by ``network.check_data``.

    Raises:
        BackendError: the arrays are not on a GPU, or not on the same.
        ArgumentError: the network has dropout or normalizes layers; the optimizer
            accumulates, or adapts its loss scale; batches are not pairs; examples are
            not rows in one piece of memory.
        ArgumentTypeError: an argument is of another kind, or the optimizer is of other
            arrays than the network's.

    ``torch.compile(mode="reduce-overhead")`` does the same.
    """

    _instead = UNCOPIED

    def __init__(
        self, network: Network, optimizer: Optimizer, batches: MiniBatches
    ) -> None:
        check_kind("network", network, Network)
        check_kind("optimizer", optimizer, Optimizer)
        check_kind("batches", batches, MiniBatches)
        backend, executor = network.params.backend, optimizer.executor
        if optimizer.params is not network.params:
            message = "optimizer must update network.params, got one of other arrays"
            raise ArgumentTypeError(message)
        if not isinstance(executor, GraphExecutor):
            raise BackendError("a graph needs a network on a GPU, got one on the CPU")
        hyper = set(optimizer.hyper)
        if given := [n for n in optimizer.rule.scalars if n not in hyper]:
            message = f"a graph needs all hyper-parameters, but steps are given {given}"
            raise ArgumentError(message)
        if optimizer.host_skips:
            message = "a graph takes no accumulate and no dynamic loss_scale: the host "
            raise ArgumentError(message + "has to see each step")
        if not network.plain:
            message = "a graph needs a network without dropout and batch norm or layer "
            message += "norm: the host makes their masks, averages and tables"
            raise ArgumentError(message)
        check_pair(batches.arrays)
        named = [(f"array {k} of the batches", a) for k, a in enumerate(batches.arrays)]
        common_backend([("W1", network.params["W1"]), *named])
        for k, array in enumerate(batches.arrays):
            if batches.axis != 0 or not array.flags.c_contiguous:
                message = f"array {k} of the batches must be C-contiguous with "
                message += "examples along axis 0, got "
                message += f"strides {array.strides}, axis {batches.axis}"
                raise ArgumentError(message)
        self._network, self._optimizer, self._batches = network, optimizer, batches
        self._cupy, device = backend.xp, network.params.device
        self._count = int(batches.arrays[0].shape[0])
        with backend.on(device) as current:
            self._stream = capture_stream(self._cupy, current.id)
        self._order = backend.zeros(self._count, np.int64, device)
        self._position = backend.zeros(1, np.int64, device)
        self._expected = -1, 0  # epoch and number for which the device is ready
        self._graphs: dict[tuple[int, Any], CapturedWork] = {}
        self._executor = executor
        executor.count_on_device()

    def run(self, epoch: int, number: int) -> Array:
        """Train on a batch, by its epoch and number; return its loss.

        Returns:
            The loss before the update, a 0-d array that the next step overwrites.
        """
        number = check_int("number", number, 0, most=len(self._batches) - 1)
        params = self._network.params
        with Uninterrupted(), params.backend.on(params.device):
            if self._expected[0] != epoch:
                self._order[...] = self._batches.order(epoch)
            if self._expected != (epoch, number):
                self._position[...] = number
            size = self._batches.batch_size
            rows = min(size, self._count - number * size)
            executor = self._optimizer.executor  # another one where others are frozen
            if executor is not self._executor and isinstance(executor, GraphExecutor):
                self._executor, self._graphs = executor, {}
                executor.count_on_device()
            key = rows, (self._executor.prepare(), self._network.l2, self._network.l1)
            if key in self._graphs:
                loss, norm = self._graphs[key].replay()
                self._network.batches_seen += 1
            else:
                self._graphs = {k: g for k, g in self._graphs.items() if k[1] == key[1]}
                seen = self._network.batches_seen
                graph = CapturedWork(self._cupy, self._stream, self._work(rows))
                self._network.batches_seen = seen + 1  # the capture was no batch
                self._graphs[key], (loss, norm) = graph, graph.first
            self._executor.grad_norm = norm
            self._executor.count()
            self._expected = epoch, number + 1
            return loss

    def _work(self, rows: int) -> Callable[[], tuple[Array, Any]]:
        """Make the step for batches of `rows` examples, with memory of its own."""
        params = self._network.params
        outputs, launches = [], []
        size = np.int64(self._batches.batch_size)
        for array in self._batches.arrays:
            shape = rows, *array.shape[1:]
            out = params.backend.zeros(shape, array.dtype, params.device)
            sizes = {"size_": size, "width_": out.size // rows}
            places = {"order_": self._order, "position_": self._position}
            ends = {"source_": array.reshape(-1), "out_": out.reshape(-1)}
            fixed = sizes | places | ends
            launches.append(Launch(gather_text(out.size), out.size, fixed))
            outputs.append(out)
        one = {"by_": np.int64(1), "position_": self._position}
        launches.append(Launch(ADVANCE, 1, one))

        def work() -> tuple[Array, Any]:
            for launch in launches:
                launch({})
            loss, grads = self._network.loss_and_grads(
                *outputs, batch_size=self._batches.batch_size, validate=False
            )
            self._executor.launch(grads)
            return loss, self._executor.grad_norm

        return work


def check_pair(batch: Any, name: str = "batches") -> tuple[Array, Array]:
    """Return a batch of examples and labels, and refuse any other."""
    if not isinstance(batch, tuple) or len(batch) != 2:
        got = len(batch) if isinstance(batch, tuple) else 1
        message = f"{name} must be of 2 arrays, examples and labels, got {got}"
        raise ArgumentError(message)
    return batch
