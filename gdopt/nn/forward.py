"""One pass through a network's layers, to train it or to use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array
from gdopt.nn.layers import (
    Backprop,
    batch_norm,
    dense,
    dropout,
    relu,
    sigmoid,
    standardized,
    tanh,
)
from gdopt.nn.statistics import Statistics

ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}


@dataclass(frozen=True)
class Layers:
    """What the layers of a network are.

    Attributes:
        count: how many.
        activation: between them, a key of `ACTIVATIONS`.
        keep: for each hidden layer the probability to keep a unit.
        params: ``W1, b1, ...``, or ``W1, gamma1, beta1, ...`` with batch normalization.
        grads: laid out alike.
        statistics: of the hidden layers, with batch normalization.
    """

    count: int
    activation: str
    keep_prob: tuple[float, ...]
    params: Arena
    grads: Arena
    statistics: Statistics | None

    @property
    def drops(self) -> bool:
        """Return whether units are dropped."""
        return any(keep < 1 for keep in self.keep_prob)

    @property
    def plain(self) -> bool:
        """Return whether an example's output depends on no other and on no chance."""
        return self.statistics is None and not self.drops


@dataclass
class Pass:
    """What one pass has done.

    Attributes:
        output: of the last layer.
        backprops: in the order of the layers; run them backwards.
        seen: mean and variance of each hidden layer over the batch.
    """

    output: Array
    backprops: list[Backprop] = field(default_factory=list)
    seen: list[tuple[Array, Array]] = field(default_factory=list)

    def take(self, made: tuple[Array, Backprop]) -> None:
        """Take the output of a layer, and its way back."""
        self.output, backprop = made
        self.backprops.append(backprop)


def run(
    layers: Layers,
    x: Array,
    *,
    layer: Any = dense,
    training: bool = False,
    generator: np.random.Generator | None = None,
) -> Pass:
    """Run forward, to use what was learned or to train.

    Args:
        layers: what to run through.
        x: (m, n).
        layer: makes the dense layers, as `gdopt.nn.dense` does.
        training: whether batches are normalized by themselves.
        generator: drops units, where there is one.
    """
    done = Pass(x)
    activate = ACTIVATIONS[layers.activation]
    params, grads = layers.params, layers.grads
    for k in range(1, layers.count + 1):
        last = k == layers.count
        W, b = f"W{k}", f"b{k}"
        biased = b in params
        done.take(
            layer(
                done.output,
                params[W],
                params[b] if biased else None,
                grads[W],
                grads[b] if biased else None,
                input_gradient=k > 1,
            )
        )
        if last:
            break
        if layers.statistics is not None:
            _normalize(done, layers, k, training=training)
        done.take(activate(done.output, in_place=True))
        keep_prob = layers.keep_prob[k - 1]
        if generator is not None and keep_prob < 1:
            done.take(dropout(done.output, keep_prob=keep_prob, generator=generator))
    return done


def _normalize(done: Pass, layers: Layers, k: int, *, training: bool) -> None:
    """Normalize over the batch, or by the averages of the batches before."""
    params, grads = layers.params, layers.grads
    gamma, beta = f"gamma{k}", f"beta{k}"
    if training:
        output, backprop, seen = batch_norm(
            done.output, params[gamma], params[beta], grads[gamma], grads[beta]
        )
        done.seen.append(seen)
        done.take((output, backprop))
    elif layers.statistics is not None:
        z_hat = standardized(done.output, *layers.statistics.of(k - 1))
        z_hat *= params[gamma]
        z_hat += params[beta]
        done.output = z_hat
