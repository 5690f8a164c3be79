"""A run: its folder, and its state, captured and restored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gdopt.checks import check_saved_array, check_state, shows
from gdopt.data import MiniBatches
from gdopt.errors import StateError
from gdopt.files import empty_folder, numbered_folder, write_json
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.training.checkpoint import save
from gdopt.training.loop import Record


@shows("path")
class RunFolder:
    """A new folder of a run, which can be read at any time during the run.

    ``settings.json`` is written immediately, ``metrics.jsonl`` gets a line with each
    record, ``model.npz`` is a checkpoint, and ``summary.json`` ends a run. A context
    manager: leaving it closes ``metrics.jsonl``.

    Args:
        path: a folder that does not exist yet, or is empty.
        settings: what the run is done with, as JSON knows it.

    Raises:
        ArgumentError: something is in the folder already.
        OSError: the folder cannot be made.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> record = Record(1, 1, 2.5, 2.5, 0.1, None, 1000.0)
    >>> with RunFolder(pathlib.Path(folder.name, "run"), {"seed": 0}) as run:
    ...     run.write(record)
    ...     run.finish({"t": 1}, {"test_accuracy": 0.5})
    >>> sorted(path.name for path in run.path.iterdir())
    ['metrics.jsonl', 'model.npz', 'settings.json', 'summary.json']
    >>> folder.cleanup()
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: Mapping[str, Any]
    ) -> None:
        self.path = empty_folder("path", path)
        write_json(self.path / "settings.json", settings)
        self._metrics = (self.path / "metrics.jsonl").open("x", encoding="utf-8")

    @classmethod
    def numbered(
        cls, prefix: str | os.PathLike[str], settings: Mapping[str, Any]
    ) -> Self:
        """Make the first of ``prefix-1``, ``prefix-2``, ... that does not exist.

        Raises:
            OSError: the folder cannot be made.
        """
        return cls(numbered_folder(prefix), settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._metrics.close()

    def write(self, record: Record) -> None:
        """Add a record as a line of JSON, which a crash does not lose."""
        line = {**vars(record)}
        for name in ("warning", "dev_loss"):
            if line[name] is None:
                del line[name]
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    def finish(self, tree: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Save the model and the results of the run.

        Args:
            tree: for ``model.npz``, as `gdopt.training.save` takes it.
            summary: for ``summary.json``.

        Raises:
            OSError: a file cannot be written.
        """
        save(self.path / "model.npz", tree)
        write_json(self.path / "summary.json", summary)


PARTS = ("params", "optimizer", "batches")
LAYERS = "layers"  # state of the network itself, where a checkpoint needs it


def capture(
    network: Network, optimizer: Optimizer, batches: MiniBatches
) -> dict[str, Any]:
    """Copy the state of a run: parameters, optimizer, and the position of the batches.

    Args:
        network: whose parameters the optimizer updates.
        optimizer: schedules come with the code, not with the state.
        batches: the examples come with the code, too.

    Returns:
        ``{"params": ..., "optimizer": ..., "batches": ...}``, NumPy arrays and numbers,
        to be saved with `save`; with dropout, normalization or a linear output
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
    """Restore a captured state bit for bit, all of it or nothing.

    Args:
        tree: what `capture` gave; entries other than its three are ignored.
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
