"""The folder of a run: its settings, a line for every record, the model, the result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Self

from gdopt.files import empty_folder, numbered_folder
from gdopt.training.checkpoint import save
from gdopt.training.loop import Record


class RunFolder:
    """A new folder that is readable at every moment of the run it tells of.

    ``settings.json`` is written at once, ``metrics.jsonl`` gets a line with each
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
        self._write_json("settings.json", settings)
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
        for name in ("notice", "dev_loss"):
            if line[name] is None:
                del line[name]
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    def finish(self, tree: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Save the model and what came of the run.

        Args:
            tree: for ``model.npz``, as `gdopt.training.save` takes it.
            summary: for ``summary.json``.

        Raises:
            OSError: a file cannot be written.
        """
        save(self.path / "model.npz", tree)
        self._write_json("summary.json", summary)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(dict(content), indent=2, ensure_ascii=False)
        (self.path / name).write_text(text + "\n", encoding="utf-8")
