"""Everything that a resumed run needs, taken from its parts and put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.checks import check_saved_array, check_state
from gdopt.data import MiniBatches
from gdopt.errors import StateError
from gdopt.nn import Network
from gdopt.optim import Optimizer

PARTS = ("params", "optimizer", "batches")
LAYERS = "layers"  # state of the network itself, where a checkpoint needs it


def capture(
    network: Network, optimizer: Optimizer, batches: MiniBatches
) -> dict[str, Any]:
    """Copy the state of a run: parameters, optimizer, and where the batches stand.

    Args:
        network: whose parameters the optimizer updates.
        optimizer: schedules come with the code, not with the state.
        batches: the examples come with the code, too.

    Returns:
        ``{"params": ..., "optimizer": ..., "batches": ...}``, NumPy arrays and numbers,
        to be saved with `save`; with dropout, batch normalization or a linear output
        ``"layers"``, too.
    """
    to_host = network.params.backend.to_host
    layers = {LAYERS: network.state_dict()} if _has_state(network) else {}
    return layers | {
        "params": {
            name: np.array(to_host(array)) for name, array in network.params.items()
        },
        "optimizer": optimizer.state_dict(),
        "batches": batches.state_dict(),
    }


def restore(
    tree: Mapping[str, Any],
    network: Network,
    optimizer: Optimizer,
    batches: MiniBatches,
) -> None:
    """Put a captured state back, all of it or nothing; the run has the bits it had.

    Args:
        tree: what `capture` gave; entries beside its three are left alone.
        network: of the same sizes and dtype, on any device.
        optimizer: of the same rule, of the network's parameters.
        batches: of as many examples, of the same size, seed and options.

    Raises:
        StateError: something is missing or does not fit; nothing has changed.

    >>> import gdopt
    >>> import numpy as np
    >>> from gdopt.data import minibatches
    >>> from gdopt.nn import Network
    >>> from gdopt.training import fit
    >>> X, y = np.eye(4, dtype=np.float32), np.arange(4)
    >>> def parts():
    ...     network = Network((4, 4), seed=0, backend="numpy")
    ...     optimizer = gdopt.Adam(network.params, lr=0.1)
    ...     return network, optimizer, minibatches(X, y, batch_size=2, seed=0)
    >>> whole, first, rest = parts(), parts(), parts()
    >>> _ = list(fit(*whole, epochs=3)), list(fit(*first, epochs=1))
    >>> restore(capture(*first), *rest)
    >>> _ = list(fit(*rest, epochs=2))
    >>> bool((rest[0].params.flat == whole[0].params.flat).all())
    True
    """
    parts = (*PARTS, LAYERS) if LAYERS in tree or _has_state(network) else PARTS
    missing = [part for part in parts if part not in tree]
    if missing:
        message = f"tree must hold {', '.join(parts)}, got no {', '.join(missing)}"
        raise StateError(message)
    _check_params(tree["params"], network)
    before = optimizer.state_dict(), network.state_dict()
    try:
        optimizer.load_state_dict(tree["optimizer"])
        if LAYERS in parts:
            network.load_state_dict(tree[LAYERS])
        batches.load_state_dict(tree["batches"])
    except StateError:
        optimizer.load_state_dict(before[0])
        network.load_state_dict(before[1])
        raise
    params = network.params
    for name, array in tree["params"].items():
        params[name] = params.backend.from_host(array, params.device)


def _has_state(network: Network) -> bool:
    """Return whether a checkpoint needs the state of the network itself."""
    return not network.plain or network.output == "linear"


def _check_params(saved: Any, network: Network) -> None:
    saved = check_state("params", saved, network.params)
    for name, own in network.params.items():
        check_saved_array(f"params[{name!r}]", saved[name], own)
