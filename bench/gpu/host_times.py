"""How long the host takes to ask for work, and how many nodes a captured step has.

Between two times no call waits for the device: its queue holds what is asked for.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import cupy
from adapters import ON_GPU, Contender, UnsupportedError
from cases import Case
from cases_gpu import SCALE, GpuTraining

import gdopt

ROUNDS, CALLS = (30, 20) if SCALE == 1 else (2, 2)  # the queue holds 1000 launches
Row = dict[str, Any]


def host_time(step: Callable[[], Any], wait: Callable[[], Any]) -> Row:
    """Return the seconds that a call takes until it returns, median and least."""
    for _ in range(3):
        step()
    times = []
    for _ in range(ROUNDS):
        wait()
        start = time.perf_counter()
        for _ in range(CALLS):
            step()
        times.append((time.perf_counter() - start) / CALLS)
    wait()
    return {"host_seconds": statistics.median(times), "least": min(times)}


def of_step(name: str, arrays: int, memory: str, **options: Any) -> Row:
    """Time a step of Adam on small arrays."""
    case = Case("host", ((1024,),) * arrays, memory=memory, options=options)
    contender = ON_GPU[name].make(case)
    with contender.setting():
        return host_time(contender.step, contender.wait)


def of_gradients(batch: int) -> Row:
    """Time a network's gradients alone."""
    training = GpuTraining(batch=batch, batches=1)
    network = gdopt.nn.Network(training.sizes, seed=0, backend="cupy")
    X, y = map(cupy.asarray, training.examples())
    network.check_data(X, y)
    step = partial(network.loss_and_grads, X, y, validate=False)
    return host_time(step, cupy.cuda.Device().synchronize)


def training(batch: int, *, captured: bool) -> Contender:
    """Make a step of training, plain or captured."""
    case = GpuTraining(batch=batch, batches=50, captured=captured)
    return ON_GPU["gdopt"].make(case)


def of_training(batch: int, *, captured: bool) -> Row:
    """Time a whole step of training."""
    contender = training(batch, captured=captured)
    return host_time(contender.step, contender.wait)


def of_graph(batch: int) -> Row:
    """Count the nodes of a captured step of training."""
    with captures() as graphs:
        contender = training(batch, captured=True)
        contender.step()
        contender.wait()
        return {"nodes": [nodes(graph) for graph in graphs]}


@contextmanager
def captures() -> Iterator[list[Any]]:
    """Collect the graphs that are captured in the block."""
    found: list[Any] = []
    end = cupy.cuda.Stream.end_capture

    def collected(stream: Any) -> Any:
        found.append(end(stream))
        return found[-1]

    cupy.cuda.Stream.end_capture = collected
    try:
        yield found
    finally:
        cupy.cuda.Stream.end_capture = end


def nodes(graph: Any) -> int:
    """Return how many nodes a graph has.

    Raises:
        UnsupportedError: CUDA's driver cannot be asked.
    """
    count = ctypes.c_size_t(0)
    try:
        get_nodes = ctypes.CDLL("libcuda.so.1").cuGraphGetNodes
        handle = ctypes.c_void_p(graph.graph)
    except (OSError, AttributeError) as error:
        message = f"no driver counts a graph's nodes: {error}"
        raise UnsupportedError(message) from error
    status = get_nodes(handle, None, ctypes.byref(count))
    if status:
        message = f"cuGraphGetNodes returned {status}"
        raise UnsupportedError(message)
    return count.value


MEASURES: dict[str, Callable[[], Row]] = {
    "nodes of a step, b128": partial(of_graph, 128),
    "nodes of a step, b1024": partial(of_graph, 1024),
    "loss_and_grads, b128": partial(of_gradients, 128),
    "training, b128": partial(of_training, 128, captured=False),
    "training, b128, captured": partial(of_training, 128, captured=True),
}
for _name in ("gdopt", "torch_fused"):
    for _label, _arrays, _memory, _options in (
        ("6 arrays", 6, "arena", {}),
        ("6 arrays, clip_norm", 6, "arena", {"clip_norm": 1.0}),
        ("200 arrays apart", 200, "apart", {}),
        ("1000 arrays apart", 1000, "apart", {}),
    ):
        _step = partial(of_step, _name, _arrays, _memory, **_options)
        MEASURES[f"{_name}: step, {_label}"] = _step
