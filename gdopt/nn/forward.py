"""Runs a network's layers forwards and back; the gradients of single examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gdopt.arrays import Arena, Array
from gdopt.arrays.backend import on_their_device
from gdopt.checks import check_kind
from gdopt.errors import ArgumentError
from gdopt.kernels.cpu.pool import Phases
from gdopt.kernels.products import run_step
from gdopt.nn.inputs import check_part
from gdopt.nn.layers import Backprop, activated, dense, dense_activated, scaled, whole
from gdopt.nn.masks import DropoutMasks
from gdopt.nn.normalization import batch_norm, layer_norm, standardized
from gdopt.nn.statistics import Pair, Statistics

if TYPE_CHECKING:
    from gdopt.nn.network import Network


@dataclass(frozen=True)
class Layers:
    """What the layers of a network are."""

    activations: tuple[str | None, ...]  # keys of `ACTIVATIONS`; None for the last one
    masks: DropoutMasks
    params: Arena
    grads: Arena
    statistics: Statistics | None  # of the hidden layers, with batch normalization

    @property
    def drops(self) -> bool:
        """Return whether units are dropped."""
        return bool(self.masks.layers)

    def begin(
        self, part: Any, seen: int, rows: int
    ) -> tuple[int, dict[int, Array] | None]:
        """Return the number of a batch, and masks for rows of it, where units drop."""
        batch, first = (seen, 0) if part is None else check_part(part)
        if part is not None and self.statistics is not None:
            self.statistics.check_part(batch, rows)
        return batch, self.masks.draw(batch, first, rows) if self.drops else None


@dataclass
class Pass:
    """What one pass has done: its output, and how to run its layers backwards."""

    output: Array
    backprops: list[Callable[[Array], Any]] = field(default_factory=list)  # or phases
    seen: list[Pair] = field(default_factory=list)  # mean and variance over the batch

    def append(self, made: tuple[Array, Callable[[Array], Any]]) -> None:
        """Take the output of a layer, and its backward function."""
        self.output, backprop = made
        self.backprops.append(backprop)

    def back(self, gradient: Array) -> Phases:
        """Run backwards, from the gradient of the output."""
        for backprop in reversed(self.backprops):
            made = backprop(gradient)
            gradient = (yield from made) if isinstance(made, Generator) else made


def run(layers: Layers, x: Array, *, training: bool = False) -> Pass:
    """Run forward on its own, as `phases` do."""
    step = phases(layers, x, training=training)
    done: Pass = run_step(layers.params.backend, step)
    return done


def phases(
    layers: Layers,
    x: Array,
    *,
    layer: Any = None,
    training: bool = False,
    masks: Mapping[int, Array] | None = None,
) -> Phases:
    """Run forward from x (m, n), to use what was learned or to train; return a `Pass`.

    `layer` makes the dense layers, as `gdopt.nn.dense` does; without it they are
    activated in the same pass, to the same bits. In training, batches are normalized by
    their own statistics. Masks, by the layers' numbers, drop units.
    """
    done = Pass(x)
    params, grads = layers.params, layers.grads
    normalizes = "gamma1" in params
    fused = layer is None and not normalizes
    back: Any = None  # of the layer before, where no pass comes between
    masks = masks or {}
    for k, activation in enumerate(layers.activations, start=1):
        last = activation is None
        W, b = f"W{k}", f"b{k}"
        bias, d_bias = (params[b], grads[b]) if b in params else (None, None)
        arrays = done.output, params[W], bias, grads[W], d_bias
        if layer is None:
            output, backprop, back = yield from dense_activated(
                *arrays,
                backend=params.backend,
                activation=activation if fused else None,
                input_gradient=k > 1,
                input_back=back,
            )
            done.append((output, backprop))
            if last or not fused or k in masks:
                done.backprops.append(functools.partial(whole, back))
                back = None
        else:
            done.append(layer(*arrays, input_gradient=k > 1))
        if activation is None:
            break
        if normalizes:
            _normalize(done, layers, k, training=training)
        if not fused:
            done.append(activated(done.output, activation, in_place=True))
        if k in masks:
            done.append(scaled(done.output, masks[k]))
    return done


def _normalize(done: Pass, layers: Layers, k: int, *, training: bool) -> None:
    """Normalize over units, over the batch, or by averages of the batches before."""
    gamma, beta = f"gamma{k}", f"beta{k}"
    scale = layers.params[gamma], layers.params[beta]
    arrays = done.output, *scale, layers.grads[gamma], layers.grads[beta]
    if layers.statistics is None:
        done.append(layer_norm(*arrays))
    elif training:
        output, backprop, seen = batch_norm(*arrays)
        done.seen.append(seen)
        done.append((output, backprop))
    else:
        z_hat = standardized(done.output, *layers.statistics.of(k - 1))
        z_hat *= scale[0]
        z_hat += scale[1]
        done.output = z_hat


@on_their_device
def example_gradients(
    network: Network, x: Array, y: Array, along: Arena | None = None
) -> tuple[Array, Array | None]:
    """Return each example's squared gradient norm, ``sum_l (|a_li|^2 + 1) |d_li|^2``.

    The gradient of dense layer l for one example is the outer product of its input a_li
    and its delta d_li, and its bias's is d_li: their norms are known without making
    them. The L2 penalty, which is the same for every example, is left out.
    `network.grads` then holds the mean of the gradients.

    Args:
        network: whose parameters the gradients are of.
        x: (m, n), as in `Network.loss_and_grads`.
        y: labels or targets, as in `Network.loss_and_grads`.
        along: a direction, laid out as ``network.grads``, but not that arena itself.

    Returns:
        ``|g_i|^2``, (m,), and ``g_i . along``, (m,), or None without a direction; in
        the network's dtype, on its device.

    Raises:
        ArgumentError: the network drops units or normalizes layers.
        GdoptError: x or y does not fit, as in `Network.loss_and_grads`.

    Source: Goodfellow 2015, Efficient per-example gradient computations, arXiv
    1510.01799, section 4.

    >>> import numpy as np
    >>> from gdopt.nn import Network
    >>> network = Network((2, 3), seed=0, backend="numpy")
    >>> x, y = np.array([[1, 2], [0, 0]], dtype=np.float32), np.array([0, 1])
    >>> squares, _ = example_gradients(network, x, y)
    >>> loss, grads = network.loss_and_grads(x[:1], y[:1])
    >>> bool(abs(squares[0] - (grads.flat**2).sum()) < 1e-6)
    True
    """
    from gdopt.nn.network import Network  # noqa: PLC0415 - it imports this

    check_kind("network", network, Network)
    if along is not None:
        check_kind("along", along, Arena)
        if along.layout != network.params.layout:
            message = f"along must be laid out like network.params, got {along}"
            raise ArgumentError(message)
    if not network.plain:
        raise ArgumentError(
            "network must have neither dropout nor batch normalization nor layer "
            "normalization: gradients of single examples are known without them alone"
        )
    squares: list[Array] = []
    dots: list[Array] = []
    names = iter(range(1, len(network.sizes)))

    def watched(
        inputs: Array, weights: Array, *rest: Any, **options: Any
    ) -> tuple[Array, Backprop]:
        number = next(names)
        output, backprop = dense(inputs, weights, *rest, **options)

        def measured(d_output: Array) -> Array:
            deltas = d_output * len(d_output)  # of its own loss, not of the mean
            lengths = (inputs * inputs).sum(axis=1) + 1
            squares.append(lengths * (deltas * deltas).sum(axis=1))
            if along is not None:
                pushed = network.params.backend.matmul(inputs, along[f"W{number}"])
                pushed += along[f"b{number}"]
                dots.append((pushed * deltas).sum(axis=1))
            return backprop(d_output)

        return output, measured

    network.propagate(x, y, layer=watched)
    return sum(squares[1:], squares[0]), sum(dots[1:], dots[0]) if dots else None
