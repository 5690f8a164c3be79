"""Global mini-batches, the same on any number of ranks, cut into the same replicas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gdopt.arrays import Array
from gdopt.checks import Range, check_int, check_number, shows
from gdopt.copies import running
from gdopt.data import MiniBatches
from gdopt.data.gather import examples_at
from gdopt.parallel.tree import REPLICAS, check_replicas, share_of

if TYPE_CHECKING:
    from gdopt.parallel.world import Ranks


WEIGHT = Range.parse("[0, 1]")


@dataclass(frozen=True)
class Part:
    """A replica's examples of a global batch.

    Attributes:
        replica: its number, from 0.
        weight: its share of the examples of the batch, 0 if it has none.
        first: the number of its first example within the batch.
        batch: the number of the batch, from 0, counted over epochs.
        rows: the numbers of its examples in the data.
        arrays: its examples.
    """

    replica: int
    weight: float
    first: int = 0
    batch: int = 0
    rows: Array = ()
    arrays: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("replica", "first", "batch"):
            check_int(name, getattr(self, name), least=0)
        check_number("weight", self.weight, WEIGHT)


@shows("global_batches", "replicas")
class ReplicaBatches:
    """Mini-batches of which each rank takes its replicas' parts.

    Each ``for`` loop is one epoch, of `len()` global batches: those of
    `gdopt.minibatches`, in the same order on every rank. A batch is the list of this
    rank's parts. Replicas get neighbouring examples of a batch, as evenly as possible;
    some get none if a batch has fewer examples than there are replicas.

    Args:
        ranks: of the run.
        *arrays: all examples, on every rank; or how many there are, for rows alone.
        replicas: number of parts of a batch, as of the optimizer.
        options: as `gdopt.minibatches` takes them: batch_size, seed and others.

    Raises:
        GdoptError: as `gdopt.minibatches`.
        ParallelError: ranks differ in options, or in numbers of examples.
    """

    def __init__(
        self, ranks: Ranks, *arrays: Any, replicas: int = REPLICAS, **options: Any
    ) -> None:
        self.replicas = check_replicas(replicas, ranks.size)
        self.global_batches = batches = MiniBatches(*arrays, **options)
        self._own = share_of(ranks.rank, ranks.size, replicas)
        self.arrays, self.axis = batches.arrays, batches.axis
        self.batch_size = batches.batch_size
        ranks.agree("batches", {**batches.state_dict(), "replicas": replicas})

    def __len__(self) -> int:
        return len(self.global_batches)

    @property
    def first(self) -> int:
        """The number of the batch that the next loop begins with, from 0."""
        return self.global_batches.first

    @property
    def epoch(self) -> int:
        """The epoch, from 0, of the last batch; the next one where it is complete."""
        return self.global_batches.epoch

    @running
    def __iter__(self) -> Iterator[list[Part]]:
        """Run through one epoch."""
        batches, drawn = self.global_batches, -1
        for epoch, number in batches.positions():
            if drawn != epoch:
                order, drawn = batches.order(epoch), epoch
            rows = order[number * self.batch_size :][: self.batch_size]
            yield [self._part(k, rows, epoch * len(self) + number) for k in self._own]

    def _part(self, replica: int, rows: Array, batch: int) -> Part:
        own = share_of(replica, self.replicas, len(rows))
        taken = rows[own.start : own.stop]
        arrays = tuple(examples_at(a, self.axis, taken) for a in self.arrays)
        return Part(replica, len(own) / len(rows), own.start, batch, taken, arrays)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loop; see `gdopt.MiniBatches`."""
        return self.global_batches.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, of any number of ranks.

        Raises:
            StateError: it is of other batches; nothing has changed.
        """
        self.global_batches.load_state_dict(state)
