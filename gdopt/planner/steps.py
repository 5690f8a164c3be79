"""What is planned for: a user's function, or gdopt's own network and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays import Array, backend_of
from gdopt.arrays.naming import named_arrays
from gdopt.checks import check_flag, check_kind
from gdopt.data.checks import example_axis
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network
from gdopt.nn.examples import example_gradients
from gdopt.nn.losses import Penalty
from gdopt.optim import Optimizer
from gdopt.planner.memory.network import Buffers, evaluation_stage, step_stages
from gdopt.planner.noise import GradientStats


class FunctionStep:
    """A user's function of a batch; what it allocates is found by trying.

    Args:
        function: called with the arrays of a batch; does one update.
        evaluate: called without arguments, between epochs.
        gradient: called with the arrays of a batch; gives the mean gradient over it, as
            an array, a sequence or a mapping of arrays.
        axis: of the examples.

    Attributes:
        planned_state: what the step is known to change.
        evaluate: what is done between epochs, or None.
        looks: whether `look` can be called.
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
            if not (callable(part) or (part is None and name != "step")):
                message = f"{name} must be callable, got {type(part).__name__}"
                raise ArgumentTypeError(message)
        self.function = function
        self.evaluate = evaluate
        self._gradient: Any = gradient
        self._axis = axis
        self.looks = gradient is not None

    def __call__(self, *batch: Array) -> Any:
        """Do one update."""
        return self.function(*batch)

    def stages(self, rows: int) -> dict[str, Buffers] | None:  # noqa: ARG002
        """Return None: the buffers of a function are not known."""
        return None

    def evaluation(self) -> Buffers | None:
        """Return None: what `evaluate` allocates is not known."""
        return None

    def look(
        self, batch: tuple[Array, ...], along: list[Array] | None
    ) -> GradientStats:
        """Look at the gradients of a batch; as a whole it is one group of examples."""
        arrays = list(named_arrays(self._gradient(*batch), "gradient").values())

        def products(others: list[Array]) -> np.ndarray:
            pairs = zip(arrays, others, strict=True)
            return np.array([sum(_dot(a, b) for a, b in pairs)])

        count = batch[0].shape[example_axis(batch[0], self._axis)]
        dots = None if along is None else products(along)
        return GradientStats(products(arrays), dots, arrays, group=int(count))


class NetworkStep:
    """A training step of gdopt's own network: gradients, then one update.

    The planner knows its buffers, and the gradient of every single example.

    Args:
        network: gives the loss and the gradients.
        optimizer: of ``network.params``.
        l2: the course's lambda, at least 0.
        l1: that of the absolute values, at least 0.
        dev: examples and labels that are judged between epochs, as `gdopt.fit` does.
        validate: whether to look at every batch, as in `gdopt.fit`; False where
            ``network.check_data`` has seen the examples.

    Raises:
        ArgumentError: l2 is negative.
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

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        *,
        l2: float = 0.0,
        l1: float = 0.0,
        dev: tuple[Array, Array] | None = None,
        validate: bool = True,
    ) -> None:
        check_kind("network", network, Network)
        check_kind("optimizer", optimizer, Optimizer)
        if optimizer.params is not network.params:
            message = "optimizer must update network.params, got one of other arrays"
            raise ArgumentTypeError(message)
        self.network, self.optimizer = network, optimizer
        self.penalty = Penalty.of(l2, l1)
        self.validate = check_flag("validate", validate)
        self.dev = dev
        self.planned_state = (network, optimizer)
        judge = network.loss if network.output == "linear" else network.accuracy
        self.evaluate = None if dev is None else partial(judge, *dev)
        # With dropout or batch normalization no example has a gradient of its own.
        self.looks = network.plain

    def __call__(self, *batch: Array) -> Array:
        """Do one update; give the loss before it."""
        x, y = batch
        loss, grads = self.network.loss_and_grads(
            x, y, l2=self.penalty.l2, l1=self.penalty.l1, validate=self.validate
        )
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

        They are known without dropout and batch normalization.
        """
        if not self.network.plain:
            return None
        return step_stages(self.network, rows, penalized=bool(self.penalty))

    def evaluation(self) -> Buffers | None:
        """Return the bytes of every buffer while it evaluates; None where unknown."""
        if self.dev is None:
            return {}
        if not self.network.plain:
            return None
        return evaluation_stage(self.network, len(self.dev[0]))

    def look(
        self, batch: tuple[Array, ...], along: list[Array] | None
    ) -> GradientStats:
        """Look at the gradients of a batch, and do no update.

        Every example is a group of its own.
        """
        network = self.network
        direction = None
        if along is not None:
            direction = network.grads.like()
            direction.flat[...] = along[0]
        x, y = batch
        squares, dots = example_gradients(network, x, y, along=direction)
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
