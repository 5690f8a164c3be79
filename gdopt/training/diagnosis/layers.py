"""What passes through the layers of a network: does it vanish or explode?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays import Array, backend_of
from gdopt.checks import Range, check_kind, check_number
from gdopt.nn import Network, dense
from gdopt.nn.layers import Backprop
from gdopt.tables import aligned

LIMIT = 100.0
ABOVE_ONE = Range.parse("(1, inf)")

HEALTHY = ("nothing: what passes keeps its size from layer to layer",)
EXPLODING = (
    "smaller weights at the start: He for ReLU, Xavier for tanh",
    "clip_norm, which bounds the gradients, and a lower learning rate",
    "batch normalization",
)
VANISHING = (
    "weights of the right size at the start: He for ReLU, Xavier for tanh",
    "ReLU in place of sigmoid, whose slope is 1/4 at most",
    "batch normalization, or fewer layers",
)
ALIKE = (
    "weights that start at random: with zeros all units of a layer learn the same",
    *VANISHING,
)


@dataclass(frozen=True)
class Layer:
    """What was measured in one layer.

    Attributes:
        number: from 1.
        weights: norm of W.
        activations: root mean square of the layer's output, behind its activation (and
            dropout, if there is any); of the last layer, of the logits.
        signals: root mean square of what comes back, over examples and units: the
            gradient of an example's own loss by the layer's output before activation.
        gradients: norm of dW, the gradient of the mean loss.
    """

    number: int
    weights: float
    activations: float
    signals: float
    gradients: float


@dataclass(frozen=True)
class LayerNorms:
    """Norms layer by layer; `layer_norms` makes it, and ``print`` shows a table.

    Attributes:
        layers: the first to the last.
        limit: the ratio from which on signals explode, and below whose inverse they
            vanish.
    """

    layers: tuple[Layer, ...]
    limit: float

    @property
    def forward(self) -> float:
        """Activations of the last hidden layer over those of the first."""
        hidden = self.layers[:-1]
        return _ratio(hidden[-1].activations, hidden[0].activations) if hidden else 1.0

    @property
    def backward(self) -> float:
        """Signals in the first hidden layer over those in the last, on their way."""
        hidden = self.layers[:-1]
        return _ratio(hidden[0].signals, hidden[-1].signals) if hidden else 1.0

    @property
    def verdict(self) -> str:
        """``"exploding"``, ``"vanishing"`` or ``"healthy"``, the first that holds.

        They are exploding where `forward` or `backward` is above `limit`, or anything
        is not finite; vanishing where one of them is below its inverse.
        """
        ratios = (self.forward, self.backward)
        measured = [value for layer in self.layers for value in vars(layer).values()]
        if not all(map(math.isfinite, measured)) or max(ratios) > self.limit:
            return "exploding"
        return "vanishing" if min(ratios) < 1 / self.limit else "healthy"

    @property
    def advice(self) -> tuple[str, ...]:
        """What helps."""
        if self.verdict == "exploding":
            return EXPLODING
        if self.verdict == "healthy":
            return HEALTHY
        return ALIKE if any(layer.weights == 0 for layer in self.layers) else VANISHING

    def __str__(self) -> str:
        header = ["layer", "weights", "activations", "signals", "gradients"]
        headline = (
            f"{self.verdict}: activations change by a factor of {self.forward:.3g} "
            "through the hidden layers,"
        )
        back = (
            f"signals by {self.backward:.3g} on their way back (healthy from "
            f"{1 / self.limit:g} to {self.limit:g})"
        )
        lines = [
            headline,
            back,
            "",
            *aligned([header, *(_cells(layer) for layer in self.layers)]),
            "",
            *(f"- {one}" for one in self.advice),
        ]
        return "\n".join(lines)


def layer_norms(
    network: Network, x: Array, y: Array, *, limit: float = LIMIT
) -> LayerNorms:
    """Measure weights, activations and gradients in every layer, forward and back.

    In ``W_L ... W_2 W_1 x`` the size of the signal is multiplied in every layer, by
    about ``sd(W) sqrt(fan_in)``, and on its way back as well: over many layers it
    vanishes or explodes. The norms of dW alone do not tell, as each is a product of
    both ways, and may be as tiny in the first layer as in the last.

    Args:
        network: trains as it is set up, with dropout and batches normalized by
            themselves; what it remembers of batches is put back. ``network.grads``
            holds the gradients, without L2, afterwards.
        x: (m, n), examples, as in `Network.loss_and_grads`.
        y: (m,), their labels.
        limit: ratio between first and last hidden layer that is no longer healthy,
            above 1: 100 is a factor of 1.6 for each of 10 layers, or 1.26 of 20.

    Raises:
        ArgumentError: `limit` is not above 1.
        ArgumentTypeError: `network` is none.
        GdoptError: x or y does not fit, as in `Network.loss_and_grads`.

    Source:
        Ng, Improving deep neural networks, week 1, "Vanishing / exploding gradients";
        Glorot & Bengio 2010, section 4.2.1, for activations and signals. The limit is
        gdopt's.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((64, 50)).astype(np.float32)
    >>> y = np.arange(64) % 10
    >>> network = Network((50, *[50] * 20, 10), seed=0, backend="numpy")
    >>> layer_norms(network, x, y).verdict
    'healthy'
    >>> network.params.flat[...] *= 0.5
    >>> layer_norms(network, x, y).verdict
    'vanishing'
    """
    check_kind("network", network, Network)
    limit = check_number("limit", limit, ABOVE_ONE)
    watch = _Watch()
    state = network.state_dict()
    try:
        # What explodes overflows; the measurements tell.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            network.propagate(x, y, layer=watch)
            layers = watch.layers(network)
    finally:
        network.load_state_dict(state)
    return LayerNorms(layers, limit)


class _Watch:
    """Stands in the place of `dense`, and measures what passes."""

    def __init__(self) -> None:
        self.inputs: list[float] = []
        self.signals: list[float] = []
        self.output = 0.0

    def __call__(self, x: Array, *rest: Any, **options: Any) -> tuple[Array, Backprop]:
        self.inputs.append(_root_mean_square(x))
        output, backprop = dense(x, *rest, **options)
        self.output = _root_mean_square(output)  # the last one's are the logits
        count = len(x)

        def look(d_output: Array) -> Array:
            # The loss is a mean: an example's own is `count` times its share.
            self.signals.append(_root_mean_square(d_output) * count)
            return backprop(d_output)

        return output, look

    def layers(self, network: Network) -> tuple[Layer, ...]:
        outputs = [*self.inputs[1:], self.output]
        measured = zip(outputs, reversed(self.signals), strict=True)
        return tuple(
            Layer(
                number=k,
                weights=_norm(network.params[f"W{k}"]),
                activations=activations,
                signals=signals,
                gradients=_norm(network.grads[f"W{k}"]),
            )
            for k, (activations, signals) in enumerate(measured, start=1)
        )


def _root_mean_square(array: Array) -> float:
    return _norm(array) / math.sqrt(array.size)


def _norm(array: Array) -> float:
    """Measure the Euclidean norm in float64, in which float32's squares fit."""
    xp = backend_of(array).xp
    return math.sqrt(float(xp.square(array.astype(np.float64)).sum()))


def _ratio(last: float, first: float) -> float:
    """Divide; nothing at all is what has vanished."""
    if last == 0:
        return 0.0
    return last / first if first else math.inf


def _cells(layer: Layer) -> list[str]:
    values = (layer.weights, layer.activations, layer.signals, layer.gradients)
    return [str(layer.number), *(f"{value:.3g}" for value in values)]
