"""What is wrong with a training run, and what the course advises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays import Array, backend_of
from gdopt.checks import Range, check_kind, check_number
from gdopt.imports import public_dir
from gdopt.nn import Network, dense
from gdopt.nn.layers import Backprop
from gdopt.tables import aligned

FRACTION = Range.parse("[0, 1]")
# The course calls gaps of .5 % and 1 % low, and of 10 % and more high: this is between.
GAP_LIMIT = 0.03

BIAS_ADVICE = (
    "a bigger network: more layers or more hidden units",
    "train longer, or with a better optimizer, such as Adam",
    "another architecture",
)
VARIANCE_ADVICE = (
    "more data, or more from the data there are (augmentation)",
    "regularization: L2, dropout, early stopping",
    "another architecture",
)
EASIER = (
    "the dev set is easier than the training set: see whether both come from one "
    "distribution"
)
DONE = "neither is in the way: measure the test error"


@dataclass(frozen=True)
class BiasVariance:
    """What errors say of bias and variance; `bias_variance` makes it.

    Attributes:
        train_error: share of the training set that is wrong.
        dev_error: share of the dev set that is wrong.
        base_error: share that cannot be avoided.
        bias_limit: the gap above which bias is high.
        variance_limit: the gap above which variance is high.
    """

    train_error: float
    dev_error: float
    base_error: float
    bias_limit: float
    variance_limit: float

    @property
    def bias(self) -> float:
        """The gap ``train_error - base_error``: what training leaves to be learned."""
        return self.train_error - self.base_error

    @property
    def variance(self) -> float:
        """The gap ``dev_error - train_error``: what does not carry over."""
        return self.dev_error - self.train_error

    @property
    def high_bias(self) -> bool:
        """Whether the training set is fitted too little."""
        return self.bias > self.bias_limit

    @property
    def high_variance(self) -> bool:
        """Whether the training set is fitted too closely."""
        return self.variance > self.variance_limit

    @property
    def verdict(self) -> str:
        """``"high bias"``, ``"high variance"``, both with "and", or ``"neither"``."""
        found = ["high bias"] * self.high_bias + ["high variance"] * self.high_variance
        return " and ".join(found) or "neither"

    @property
    def advice(self) -> tuple[str, ...]:
        """What helps, in the course's order: bias first, then variance."""
        found = BIAS_ADVICE * self.high_bias + VARIANCE_ADVICE * self.high_variance
        if self.variance < -self.variance_limit:
            found += (EASIER,)
        return tuple(dict.fromkeys(found)) or (DONE,)

    def __str__(self) -> str:
        headline = (
            f"{self.verdict}: training error {self.train_error:.2%}, {self.bias:+.2%} "
            f"from the base error {self.base_error:.2%}; dev error "
            f"{self.dev_error:.2%}, {self.variance:+.2%} from the training error"
        )
        return "\n".join([headline, *(f"- {one}" for one in self.advice)])


def bias_variance(
    train_error: float,
    dev_error: float,
    *,
    base_error: float = 0.0,
    bias_limit: float = GAP_LIMIT,
    variance_limit: float = GAP_LIMIT,
) -> BiasVariance:
    """Return bias ``train - base`` and variance ``dev - train``, and what helps.

    Bias is high where the training error is more than `bias_limit` above what can be
    reached, variance where the dev error is more than `variance_limit` above the
    training error. The course gives examples, no limits: gaps of up to 1 % are low in
    them, of 10 % and more high; 3 % is halfway by ratio.

    Args:
        train_error: wrong predictions on the training set as a share, in [0, 1]:
            ``1 - network.accuracy(...)``.
        dev_error: the same on the dev set.
        base_error: error of the best known, such as people, in [0, 1].
        bias_limit: in [0, 1].
        variance_limit: in [0, 1].

    Raises:
        ArgumentError: a share is outside [0, 1], as a percentage is.
        ArgumentTypeError: it is not a number.

    Source:
        Ng, Improving deep neural networks, week 1, "Bias / Variance" and "Basic recipe
        for machine learning".

    >>> bias_variance(0.01, 0.11).verdict
    'high variance'
    >>> print(bias_variance(0.15, 0.16))
    high bias: training error 15.00%, +15.00% from the base error 0.00%; dev error \
16.00%, +1.00% from the training error
    - a bigger network: more layers or more hidden units
    - train longer, or with a better optimizer, such as Adam
    - another architecture
    >>> bias_variance(0.15, 0.16, base_error=0.15).verdict  # such as blurred pictures
    'neither'
    """
    return BiasVariance(
        check_number("train_error", train_error, FRACTION),
        check_number("dev_error", dev_error, FRACTION),
        check_number("base_error", base_error, FRACTION),
        check_number("bias_limit", bias_limit, FRACTION),
        check_number("variance_limit", variance_limit, FRACTION),
    )


RATIO_LIMIT = 100.0
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
        activations: root mean square of the layer's output, after its activation (and
            dropout, if there is any); of the last layer, of the logits.
        signals: root mean square of what is propagated back, over examples and units:
            the gradient of an example's own loss by the layer's output before
            activation.
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
        rows = aligned([header, *map(_cells, self.layers)])
        advice = [f"- {one}" for one in self.advice]
        return "\n".join([headline, back, "", *rows, "", *advice])


def layer_norms(
    network: Network, x: Array, y: Array, *, limit: float = RATIO_LIMIT
) -> LayerNorms:
    """Measure weights, activations and gradients in every layer, forward and back.

    In ``W_L ... W_2 W_1 x`` the size of the signal is multiplied in every layer, by
    about ``sd(W) sqrt(fan_in)``, and on its way back as well: over many layers it
    vanishes or explodes. The norms of dW alone do not show it, as each is a product of
    both ways, and may be as tiny in the first layer as in the last.

    Args:
        network: trains as it is set up, with dropout and batches normalized by
            their own statistics; what it remembers of batches is restored.
            ``network.grads`` holds the gradients, without L2, afterwards.
        x: (m, n), examples, as in `Network.loss_and_grads`.
        y: (m,), their labels.
        limit: ratio between first and last hidden layer that is no longer healthy,
            above 1: 100 is a factor of 1.6 for each of 10 layers, or 1.26 of 20.

    Raises:
        ArgumentError: `limit` is not above 1.
        ArgumentTypeError: `network` is not a network.
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
        network.propagate(x, y, layer=watch)
        with np.errstate(all="ignore"):  # what explodes shows in the measurements
            layers = watch.layers(network)
    finally:
        network.load_state_dict(state)
    return LayerNorms(layers, limit)


class _Watch:
    """Replaces `dense`, and measures what passes."""

    def __init__(self) -> None:
        self.inputs: list[float] = []
        self.signals: list[float] = []
        self.output = 0.0

    def __call__(self, x: Array, *rest: Any, **options: Any) -> tuple[Array, Backprop]:
        self.inputs.append(_root_mean_square(x))
        output, backprop = dense(x, *rest, **options)
        self.output = _root_mean_square(output)  # the last one's are the logits
        count = len(x)

        def recorded(d_output: Array) -> Array:
            # The loss is a mean: an example's own is `count` times its share.
            self.signals.append(_root_mean_square(d_output) * count)
            return backprop(d_output)

        return output, recorded

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
    """Return last / first; a last of 0 has vanished, whatever the first."""
    if last == 0:
        return 0.0
    return last / first if first else math.inf


def _cells(layer: Layer) -> list[str]:
    values = (layer.weights, layer.activations, layer.signals, layer.gradients)
    return [str(layer.number), *(f"{value:.3g}" for value in values)]


__all__ = ["BiasVariance", "Layer", "LayerNorms", "bias_variance", "layer_norms"]
__dir__ = public_dir(__name__)
