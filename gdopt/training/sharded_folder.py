"""The folder of checkpoints of a run on several ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import numpy as np

from gdopt.errors import ArgumentError, GdoptError, StateError
from gdopt.files import check_path
from gdopt.parallel.sharded import Sharded
from gdopt.training.checkpoints import NAME, CheckpointFolder
from gdopt.training.shards import load_whole, shard_name, write_shard

TEXT = 1000  # bytes of an error's text that other ranks show
ERRORS = OSError, StateError, ArgumentError  # that one rank may have, and all raise


def together(ranks: Any, work: Callable[[], Any], *, on_main: bool = False) -> Any:
    """Do something on every rank, or on rank 0; if it fails, raise its error on all."""
    found, raised = None, None
    try:
        found = work() if ranks.is_main or not on_main else None
    except (GdoptError, OSError) as error:
        raised = error
    kinds = [k for k, kind in enumerate(ERRORS, start=1) if isinstance(raised, kind)]
    if raised is not None and not kinds:
        raise raised
    text = str(raised).encode()[:TEXT].ljust(TEXT)
    own = np.frombuffer(bytes([*kinds[:1], 0][:1]) + text, np.uint8)
    for rank, (kind, *letters) in enumerate(ranks.share(own).tolist()):
        if kind:
            said = bytes(letters).decode(errors="replace").rstrip()
            raise ERRORS[kind - 1](f"rank {rank}: {said}") from raised
    return found


class ShardedFolder:
    """The folder of checkpoints of a run on several ranks.

    Rank 0 locks it, cleans up, and writes the heads.

    Args:
        path: of the folder, as all ranks see it.
        seconds: between two checkpoints; the first one is written sooner.
        optimizer: whose state the ranks share.

    Raises:
        ArgumentError: on all ranks: the folder cannot be written to by rank 0, or
            another run uses it.
    """

    def __init__(self, path: Any, seconds: float, optimizer: Sharded) -> None:
        self.path, self._optimizer = check_path("checkpoint", path), optimizer
        self._ranks = ranks = optimizer.ranks
        self._heads: CheckpointFolder | None = together(
            ranks, lambda: CheckpointFolder(path, seconds), on_main=True
        )

    def _on_all(self, work: Callable[[], Any]) -> Any:
        return together(self._ranks, work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:  # noqa: PYI036 - they are passed on
        if self._heads is not None:
            self._heads.__exit__(*raised)

    def due(self, *, ended_epoch: bool) -> bool:
        """Return whether it is time for a checkpoint, on rank 0."""
        return self._heads is not None and self._heads.due(ended_epoch=ended_epoch)

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that is whole, of any number of ranks, on all ranks.

        Raises:
            StateError: all are damaged.
        """
        heads = self._heads
        found: dict[str, Any] | None = self._on_all(lambda: heads and heads.load())
        step = -1 if heads is None else heads.loaded
        step = int(self._ranks.share(np.array([step]))[0, 0])
        if heads is None and step >= 0:
            found = self._on_all(lambda: load_whole(self.path / NAME.format(step)))
        else:
            self._on_all(lambda: None)
        return found

    def _write_head(self, step: int, state: dict[str, Any]) -> None:
        if self._heads is not None:
            self._heads.write(step, state)

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint: the ranks' files, and then the head that names them.

        Raises:
            OSError: on all ranks: one of them cannot write. Checkpoints before are
                still there.
        """
        ranks, optimizer = self._ranks, self._optimizer
        head = NAME.format(step)
        own = self.path / shard_name(head, ranks.rank, ranks.size)
        try:
            digest = self._on_all(lambda: write_shard(own, optimizer.slices()))
            digests = ranks.share(np.frombuffer(digest, np.uint8))
            layouts = optimizer.params.layout.cut(ranks.size)
            shards = {
                shard_name(head, rank, ranks.size): {
                    "sha256": bytes(digests[rank]).hex(),
                    "holds": {
                        name: [slot.first, slot.first + slot.stop - slot.start]
                        for name, slot in layout.slots.items()
                    },
                }
                for rank, layout in enumerate(layouts)
            }
            self._on_all(lambda: self._write_head(step, state | {"shards": shards}))
        except BaseException:
            if not (self.path / head).exists():
                with suppress(OSError):  # else the next start removes it
                    own.unlink()
            raise
