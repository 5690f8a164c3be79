"""What is planned for: a user's function, or gdopt's own network and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from gdopt.arrays import Array, backend_of
from gdopt.arrays.containers import named_arrays
from gdopt.checks import check_flag, check_kind, check_sequence, shown, shows
from gdopt.data.gather import example_axis
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.kernels.cpu.blocks import LARGEST_BLOCK
from gdopt.kernels.kernel import cpu_engine
from gdopt.kernels.ops import LANES
from gdopt.nn.forward import example_gradients
from gdopt.nn.network import ROWS, Network
from gdopt.optim import Optimizer
from gdopt.planner.noise import GradientStats

Buffers = dict[str, float]
OBJECTS = 1100  # bytes of Python's own for each layer, which it traces too


def step_stages(network: Network, rows: int) -> dict[str, Buffers]:
    """Return buffers and their bytes for each stage that may take the most memory."""
    sizes, item = network.sizes, network.dtype.itemsize
    kept = _forward_buffers(network, rows)
    stages = {"loss": kept | {"loss and its gradient": _loss_bytes(network, rows)}}
    for k in range(len(sizes) - 1, 1, -1):
        stages[f"layer {k} backwards"] = stage = kept | {
            f"gradient of layer {k}": float(rows * sizes[k] * item),
            f"gradient of layer {k - 1}": float(rows * sizes[k - 1] * item),
            "sum for the bias": _sum_bytes(network, rows, sizes[k - 1]),
        }
        if network.activation == "relu" and network.params.backend.name == "numpy":
            stage["slope"] = _slope_bytes(network, rows * sizes[k - 1])
    if network.l2 or network.l1:
        largest = max(a.size for a in network.params.values() if a.ndim == 2)
        stages["penalty"] = {"squares of the weights": float(largest * item)}
    return stages


def _forward_buffers(network: Network, rows: int) -> Buffers:
    """Return what is kept of a pass forwards: the output of each layer."""
    sizes, item = network.sizes, network.dtype.itemsize
    kept: Buffers = {}
    if network.params.backend.name == "numpy":
        kept["Python's objects"] = float(OBJECTS * len(sizes))
    for k, size in enumerate(sizes[1:], start=1):
        kept[f"layer {k}"] = float(rows * size * item)
    return kept


def _loss_bytes(network: Network, rows: int) -> float:
    """Return the bytes that the loss takes besides the outputs, at its peak."""
    outputs, item = network.sizes[-1], network.dtype.itemsize
    if network.params.backend.name != "numpy":
        return float(rows * (outputs + 1) * item)  # the gradient, and losses
    if network.output != "linear":
        return float(rows * (4.25 * outputs + 4) * item)
    # Differences, their squares, and the lanes of the sum, which NumPy buffers.
    lanes = rows * item * min(LANES, 1 << (outputs - 1).bit_length())
    buffers = 1.25 * min(lanes, _cast(network)) if outputs > 1 else 0.0
    return float(rows * (2 * outputs + 1) * item + lanes + buffers)


def _sum_bytes(network: Network, rows: int, columns: int) -> float:
    """Return the bytes of NumPy's sum of rows: its lanes, and a third; Numba's is 0."""
    if network.params.backend.name != "numpy" or cpu_engine() == "numba":
        return 0.0
    lanes = min(LANES, 1 << max(0, rows - 1).bit_length())
    return float(1.3 * lanes * columns * network.dtype.itemsize)


def _slope_bytes(network: Network, values: int) -> float:
    """Return the bytes of NumPy's truth values and of its buffer; Numba has neither."""
    if cpu_engine() == "numba":
        return 0.0
    item = network.dtype.itemsize
    return float(min(values, LARGEST_BLOCK) + min(values * item, _cast(network)))


def _cast(network: Network) -> float:
    """Return the bytes of NumPy's buffer, of what it converts or gathers."""
    on_host = network.params.backend.name == "numpy"
    return float(np.getbufsize() * network.dtype.itemsize) if on_host else 0.0


def evaluation_stage(network: Network, examples: int) -> Buffers:
    """Return the buffers, and their bytes, while `rows` examples are evaluated."""
    rows = min(examples, ROWS)
    stages = [_forward_buffers(network, rows)]
    if network.output == "linear":
        outputs = float(rows * network.sizes[-1] * network.dtype.itemsize)
        before = {"outputs of the slice before": outputs * (examples > ROWS)}
        stages = [stage | before for stage in stages]
        stages.append({"outputs": outputs, "their loss": _loss_bytes(network, rows)})
        stages.append({"whether targets are finite": examples * network.sizes[-1]})
        rest = {}
    else:
        # Class numbers in int64, in pieces and joined, and whether they are right.
        rest = {"predictions": examples * 17.0, "their mean": _cast(network)}
    highest = max(stages, key=lambda buffers: sum(buffers.values()))
    return {f"evaluation: {name}": b for name, b in (highest | rest).items()}


class FunctionStep:
    """A user's function of a batch; what it allocates is found by trying.

    It does one update. `evaluate` is done between epochs, or None; `gradient` returns
    the mean gradient over a batch, as an array, a sequence or a mapping of arrays.
    """

    planned_state: Any = None

    def __init__(
        self,
        function: Callable[..., Any],
        evaluate: Callable[[], Any] | None,
        gradient: Callable[..., Any] | None,
        axis: int,
    ) -> None:
        given = {"step": function, "evaluate": evaluate, "gradient": gradient}
        for name, part in given.items():
            fits = callable(part) and not isinstance(part, type)
            if not (fits or (part is None and name != "step")):
                message = f"{name} must be callable, got {type(part).__name__}"
                raise ArgumentTypeError(message)
        self.functions = {name: part for name, part in given.items() if part}
        self.function = function
        self.evaluate = evaluate
        self._gradient: Any = gradient
        self._axis = axis
        self.has_gradient_stats = gradient is not None

    def __call__(self, *batch: Array) -> Any:
        """Do one update."""
        return self.function(*batch)

    def stages(self, rows: int) -> dict[str, Buffers] | None:  # noqa: ARG002
        """Return None: the buffers of a function are not known."""
        return None

    def evaluation(self) -> Buffers | None:
        """Return None: what `evaluate` allocates is not known."""
        return None

    def gradient_stats(
        self, batch: tuple[Array, ...], direction: list[Array] | None
    ) -> GradientStats:
        """Measure the gradient of a batch, which is one group of examples."""
        arrays = list(named_arrays(self._gradient(*batch), "gradient").values())

        def products(others: list[Array]) -> np.ndarray:
            pairs = zip(arrays, others, strict=True)
            return np.array([sum(_dot(a, b) for a, b in pairs)])

        count = batch[0].shape[example_axis(batch[0], self._axis)]
        dots = None if direction is None else products(direction)
        return GradientStats(products(arrays), dots, arrays, group=int(count))


@shows("network", "optimizer", "validate")
class NetworkStep:
    """A training step of gdopt's own network: gradients, then one update.

    The planner knows its buffers, and the gradient of every single example.

    Args:
        network: gives the loss and the gradients.
        optimizer: of ``network.params``.
        dev: examples and labels that are evaluated between epochs, as `gdopt.fit` does.
        validate: whether to check every batch, as in `gdopt.fit`; False where
            ``network.check_data`` has seen the examples.

    Raises:
        ArgumentTypeError: an argument is of another kind, or the optimizer is of other
            arrays than the network's.

    >>> import gdopt
    >>> import numpy as np
    >>> network = gdopt.nn.Network((4, 8, 3), seed=0, backend="numpy")
    >>> step = NetworkStep(network, gdopt.Adam(network.params))
    >>> loss = step(np.ones((5, 4), np.float32), np.zeros(5, int))
    >>> step.optimizer.t
    1
    """

    functions: Mapping[str, Any] = MappingProxyType({})  # `planned_state` names it all

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        *,
        dev: tuple[Array, Array] | None = None,
        validate: bool = True,
    ) -> None:
        check_kind("network", network, Network)
        check_kind("optimizer", optimizer, Optimizer)
        if optimizer.params is not network.params:
            message = "optimizer must update network.params, got one of other arrays"
            raise ArgumentTypeError(message)
        self.network, self.optimizer = network, optimizer
        self.validate = check_flag("validate", validate)
        if dev is not None:
            if len(check_sequence("dev", dev)) != 2:
                raise ArgumentError(f"dev must be (examples, labels), got {shown(dev)}")
            network.check_data(*dev)
        self.dev = dev
        self.planned_state = (network, optimizer)
        judge = network.loss if network.output == "linear" else network.accuracy
        self.evaluate = None if dev is None else partial(judge, *dev)
        # Gradients of single examples are not known with dropout or normalization.
        self.has_gradient_stats = network.plain

    def __call__(self, x: Array, y: Array) -> Array:
        """Do one update; return the loss before it."""
        loss, grads = self.network.loss_and_grads(x, y, validate=self.validate)
        self.optimizer.step(grads)
        return loss

    def check(self, data: tuple[Array, ...]) -> None:
        """Refuse data that the step cannot work on."""
        if len(data) != 2:
            message = f"data must be examples and labels, got {len(data)} arrays"
            raise ArgumentError(message)
        if self.validate:
            self.network.check_data(*data)

    def stages(self, rows: int) -> dict[str, Buffers] | None:
        """Return the bytes of every buffer at every stage; None where it is unknown.

        They are known without dropout and normalization.
        """
        if not self.network.plain:
            return None
        return step_stages(self.network, rows)

    def evaluation(self) -> Buffers | None:
        """Return the bytes of every buffer while it evaluates; None where unknown."""
        if self.dev is None:
            return {}
        if not self.network.plain:
            return None
        return evaluation_stage(self.network, len(self.dev[0]))

    def gradient_stats(
        self, batch: tuple[Array, ...], direction: list[Array] | None
    ) -> GradientStats:
        """Measure the gradients of a batch, without an update.

        Every example is a group of its own.
        """
        network = self.network
        along = None
        if direction is not None:
            along = network.grads.like()
            along.flat[...] = direction[0]
        x, y = batch
        squares, dots = example_gradients(network, x, y, along=along)
        to_host = network.params.backend.to_host
        return GradientStats(
            to_host(squares).astype(np.float64),
            None if dots is None else to_host(dots).astype(np.float64),
            [network.grads.flat],
            group=1,
        )


def _dot(one: Array, other: Array) -> float:
    xp = backend_of(one).xp
    return float(xp.sum(one.astype(np.float64) * other.astype(np.float64)))


TrialStep = FunctionStep | NetworkStep
