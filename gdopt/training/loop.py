"""The training loop: yields records and prints nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.arrays.backend import on_their_device
from gdopt.averages import EWA
from gdopt.checks import check_count, check_flag
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentTypeError, DivergenceError
from gdopt.kernels.products import in_step
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.training.graph import TrainingGraph, check_pair

# A loss in float32 is wrong by about 2e-6, an ulp of logits near 20: a rise below this
# share of max(1, loss) is rounding.
RISE = 1e-5


@dataclass(frozen=True)
class Record:
    """What is known after an update.

    Attributes:
        epoch: number of the epoch, from 1.
        step: number of the update, from 1.
        loss: of the mini-batch of this update, before it; with the L2 and L1 terms.
        smoothed_loss: exponentially weighted average of the recorded losses.
        lr: learning rate of this update; None where it is not one number.
        dev_accuracy: share of dev examples whose class is predicted, after the update
            that ends an epoch; None between, and without dev examples.
        examples_per_second: since the record before, evaluations left out.
        warning: what deserves attention, and its likely cause; None otherwise.
        dev_loss: mean loss of the dev examples, without the L2 and L1 terms, where the
            network's output is linear; it takes the place of `dev_accuracy`.
    """

    epoch: int
    step: int
    loss: float
    smoothed_loss: float
    lr: float | None
    dev_accuracy: float | None
    examples_per_second: float
    warning: str | None = None
    dev_loss: float | None = None


def fit(
    network: Network,
    optimizer: Optimizer,
    batches: MiniBatches,
    *,
    epochs: int,
    dev: tuple[Array, Array] | None = None,
    smoothing: float = 0.9,
    record_every: int = 1,
    validate: bool = True,
    cuda_graph: bool = False,
) -> Iterator[Record]:
    """Train epoch after epoch: for each mini-batch its gradients, then one update.

    Nothing runs until records are asked for, and nothing runs between two of
    them: the loop may be left at any record, and what it has reached be saved with
    `gdopt.training.capture`.

    In batch gradient descent, one batch an epoch, the loss must fall at every step: the
    first record where it rises says so in `Record.warning`, with the likely cause.

    Args:
        network: gives the loss and the gradients.
        optimizer: of ``network.params``.
        batches: of examples and labels, from `gdopt.minibatches`; their ``batch_size``,
            times the optimizer's ``accumulate``, is m of the network's L2 and L1 terms,
            also in a smaller last batch.
        epochs: how many to run, at least 1. The rest of an epoch, where `batches`
            continues within one, counts as one.
        dev: examples and labels whose accuracy is measured at the end of each epoch;
            examples and targets whose loss is, where the network's output is linear.
        smoothing: beta of the average of the losses, in [0, 1).
        record_every: steps between two records, at least 1; the last step of an epoch
            is recorded in any case. Losses between are not read: a GPU would wait.
        validate: whether to check every batch; False where ``network.check_data`` has
            seen the examples.
        cuda_graph: whether a GPU is to replay the whole step as a graph, with the same
            bits; see `gdopt.training.TrainingGraph`. Where a loss is not finite, its
            update has then been done.

    Returns:
        An iterator of `Record`.

    Raises:
        ArgumentError: a number is out of its range; while iterating, a batch is not
            a pair, or does not fit the network.
        ArgumentTypeError: an argument is of the wrong kind; the optimizer is of other
            arrays than the network's.
        DivergenceError: while iterating: a loss is NaN or infinite. The update with its
            gradients has not been done.

    Source:
        Ng, Improving deep neural networks, week 2, "Understanding mini-batch gradient
        descent".

    >>> import gdopt
    >>> import numpy as np
    >>> from gdopt.data import minibatches
    >>> from gdopt.nn import Network
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    >>> y = np.array([0, 1, 1, 0])
    >>> network = Network((2, 8, 2), seed=0, backend="numpy")
    >>> optimizer = gdopt.Adam(network.params, lr=0.05)
    >>> batches = minibatches(X, y, batch_size=2, seed=0)
    >>> for record in fit(network, optimizer, batches, epochs=50, dev=(X, y)):
    ...     pass
    >>> record.epoch, record.step, record.dev_accuracy
    (50, 100, 1.0)
    """
    epochs = check_count("epochs", epochs)
    every = check_count("record_every", record_every)
    if dev is not None and not (isinstance(dev, tuple | list) and len(dev) == 2):
        message = f"dev must be a pair (examples, labels), got {type(dev).__name__}"
        raise ArgumentTypeError(message)
    own = network.params
    if optimizer.params.keys() != own.keys() or any(
        optimizer.params[name] is not array for name, array in own.items()
    ):
        message = "optimizer must update network.params, got one of other arrays"
        raise ArgumentTypeError(message)
    graph = None
    if check_flag("cuda_graph", cuda_graph):
        graph = TrainingGraph(network, optimizer, batches)
        if validate:
            network.check_data(*batches.arrays)
    loop = _Loop(
        network,
        optimizer,
        batches,
        options={
            "batch_size": batches.batch_size * optimizer.accumulate,
            "validate": validate,
        },
        dev=dev,
        graph=graph,
        monitor=LossMonitor(EWA(smoothing), full_batch=len(batches) == 1),
    )
    return loop.run(epochs, every)


@dataclass
class _Loop:
    """One call of `fit`."""

    network: Network
    optimizer: Optimizer
    batches: MiniBatches
    options: dict[str, Any]  # of network.loss_and_grads
    dev: tuple[Array, Array] | None
    graph: TrainingGraph | None
    monitor: LossMonitor

    def run(self, epochs: int, every: int) -> Iterator[Record]:
        """Yield records: one in `every` steps, and at the end of an epoch."""
        steps = examples = 0
        begin = time.perf_counter()
        for _ in range(epochs):
            for batch in (
                self.batches if self.graph is None else self.batches.positions()
            ):
                steps += 1
                ends_epoch = self.batches.state_dict()["position"] == 0
                read = ends_epoch or steps % every == 0
                lr = self._rate() if read else None
                count, loss = self._update(batch, read=read)
                examples += count
                if read:
                    speed = examples / (time.perf_counter() - begin)
                    yield self._record(loss, lr, speed, ends_epoch=ends_epoch)
                    examples, begin = 0, time.perf_counter()

    def _rate(self) -> float | None:
        """Return the learning rate, where it is one number."""
        lr = self.optimizer.hyper.get("lr")
        return lr if isinstance(lr, float | int) else None

    def _update(self, batch: Any, *, read: bool) -> tuple[int, float]:
        """Do one update; return its examples, and the loss before it if it is read.

        The batch is one of examples and labels; for a graph, which gathers them itself,
        it is the numbers of the epoch and of the batch.
        """
        if self.graph is not None:
            epoch, number = batch
            size = self.batches.batch_size
            count = min(size, len(self.batches.arrays[0]) - number * size)
            loss = self.graph.run(epoch, number)
            return count, self._read(loss) if read else math.nan
        x, y = check_pair(batch)
        # A network that diverges overflows first; its loss shows it.
        context = in_step(self.network.params.backend)
        with np.errstate(over="ignore", invalid="ignore"), context:
            loss, grads = self.network.loss_and_grads(x, y, **self.options)
            before = self._read(loss) if read else math.nan
            self.optimizer.step(grads)
        return len(x), before

    @on_their_device
    def _read(self, loss: Array) -> float:
        number = float(loss)
        if not math.isfinite(number):
            message = (
                f"loss must stay finite, got {number} at step {self.optimizer.t + 1}, "
                f"in epoch {self.batches.epoch + 1}: {likely_cause(self._rate())}"
            )
            raise DivergenceError(message)
        return number

    def _record(
        self, loss: float, lr: float | None, speed: float, *, ends_epoch: bool
    ) -> Record:
        step, dev_accuracy, dev_loss = self.optimizer.t, None, None
        if ends_epoch and self.dev is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                if self.network.output == "linear":
                    dev_loss = self.network.loss(*self.dev)
                else:
                    dev_accuracy = self.network.accuracy(*self.dev)
        return Record(
            epoch=self.batches.epoch + 1,
            step=step,
            loss=loss,
            smoothed_loss=self.monitor.average.update(loss),
            lr=lr,
            dev_accuracy=dev_accuracy,
            examples_per_second=speed,
            warning=self.monitor.warning(loss, step, lr),
            dev_loss=dev_loss,
        )


@dataclass
class LossMonitor:
    """The losses recorded so far: their average, and whether the last one rose."""

    average: EWA
    full_batch: bool
    last: float = math.inf
    warned: bool = False

    def warning(self, loss: float, step: int, lr: float | None) -> str | None:
        """Say, once, that the loss of all examples has risen."""
        before, self.last = self.last, loss
        rose = self.full_batch and loss > before + RISE * max(1.0, before)
        if not rose or self.warned:
            return None
        self.warned = True
        return (
            f"the loss rose from {before:.6g} to {loss:.6g} at step {step}; in batch "
            f"gradient descent it must fall at every step: {likely_cause(lr)}"
        )


def likely_cause(lr: float | None) -> str:
    """Name the likely cause of a loss that rises."""
    rate = "the learning rate" if lr is None else f"the learning rate, {lr:.6g},"
    return f"{rate} is probably too large"
