"""What a training step of the network allocates: every buffer, at every stage.

The batch and what lasts (parameters, gradients, state) are counted elsewhere.
"""

from __future__ import annotations

import numpy as np

from gdopt.nn import Network
from gdopt.nn.network import ROWS

Buffers = dict[str, float]
# Arrays of a hidden layer's size: kept until the gradients are done (of sigmoid, its
# input and its output), and at work beside them forwards.
KEPT = {"relu": 1, "tanh": 1, "sigmoid": 2}
FORWARD = {"relu": 0.0, "tanh": 0.0, "sigmoid": 2.25}
LOSS_VECTORS = 6  # numbers for each example, while the loss is computed
OBJECTS = 1100  # bytes of Python's own for each layer, which it traces too


def step_stages(network: Network, rows: int, *, penalized: bool) -> dict[str, Buffers]:
    """Give, for each stage of a step, its buffers and their bytes.

    A stage is a moment at which memory may be highest: each activation forwards, the
    loss, each layer backwards, the penalty on large weights.
    """
    sizes, item = network.sizes, network.dtype.itemsize
    stages = _forward_stages(network, rows)
    last = len(sizes) - 1
    kept = stages.pop("forwards")
    vectors = 0 if network.output == "linear" else LOSS_VECTORS * item + 8
    loss = rows * (2 * sizes[last] * item + vectors)
    stages["loss"] = kept | {"loss and its gradient": loss}
    for k in range(last, 1, -1):
        values = rows * sizes[k - 1]
        incoming = {f"gradient of layer {k}": float(rows * sizes[k] * item)}
        outgoing = {f"gradient of layer {k - 1}": float(values * item)}
        stages[f"layer {k} backwards"] = kept | incoming | outgoing
        slope = float(values * item)
        if network.activation == "relu":  # its slope is a truth value
            slope = values + min(slope, _cast(network))
        stages[f"activation {k - 1} backwards"] = kept | outgoing | {"slope": slope}
    if penalized:
        largest = max(a.size for a in network.params.values() if a.ndim == 2)
        stages["penalty"] = {"squares of the weights": float(largest * item)}
    return stages


def _forward_stages(network: Network, rows: int) -> dict[str, Buffers]:
    """Return the buffers at each activation, and at the end, ``"forwards"``."""
    sizes, item = network.sizes, network.dtype.itemsize
    kept: Buffers = {}
    if network.params.backend.name == "numpy":
        kept["Python's objects"] = float(OBJECTS * len(sizes))
    stages = {}
    for k, size in enumerate(sizes[1:-1], start=1):
        kept[f"layer {k}"] = rows * size * item * KEPT[network.activation]
        work = rows * size * item * FORWARD[network.activation]
        stages[f"layer {k} forwards"] = {**kept, "activation": work}
    kept[f"layer {len(sizes) - 1}"] = float(rows * sizes[-1] * item)
    return {**stages, "forwards": kept}


def _cast(network: Network) -> float:
    """Return the bytes of NumPy's buffer, where truth values become numbers."""
    on_host = network.params.backend.name == "numpy"
    return float(np.getbufsize() * network.dtype.itemsize) if on_host else 0.0


def evaluation_stage(network: Network, examples: int) -> Buffers:
    """Return the buffers, and their bytes, while so many examples are judged."""
    rows = min(examples, ROWS)
    stages = [*_forward_stages(network, rows).values()]
    if network.output == "linear":
        outputs = float(rows * network.sizes[-1] * network.dtype.itemsize)
        before = {"outputs of the slice before": outputs * (examples > ROWS)}
        stages = [stage | before for stage in stages]
        stages.append({"outputs, their gradient and squares": 3 * outputs})
        stages.append({"whether targets are finite": examples * network.sizes[-1]})
        rest = {}
    else:
        # Class numbers in int64, in pieces and joined, and whether they are right.
        rest = {"predictions": examples * 17.0, "their mean": _cast(network)}
    highest = max(stages, key=lambda buffers: sum(buffers.values()))
    return {f"evaluation: {name}": b for name, b in (highest | rest).items()}
