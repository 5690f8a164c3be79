"""Mini-batches: a new order of the examples every epoch, from the seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, get_backend
from gdopt.checks import (
    check_count,
    check_flag,
    check_int,
    check_seed,
    check_state,
    shows,
)
from gdopt.copies import running
from gdopt.data.gather import axis_hint, check_arrays, check_axis, gathered, refuse_nan
from gdopt.errors import ArgumentError, StateError
from gdopt.interrupt import uninterrupted


@shows("_count", "batch_size", "_seed", "axis", "_shuffle", "_drop_last", "epoch")
class MiniBatches:
    """Cut arrays into mini-batches of examples, in a new random order every epoch.

    Each ``for`` loop is one epoch, of `len()` batches. Epoch e visits the examples in a
    permutation drawn on the host from (seed, e) alone, so that one seed gives the same
    batches on every backend; the examples are gathered on the arrays' own device. A
    batch of one array is that array's part; of several arrays it is a tuple of parts.

    A `batch_size` of m, the number of examples, is batch gradient descent; one of 1 is
    stochastic gradient descent.

    A loop begins with the first batch of its epoch; if one was interrupted, the next
    one begins the *next* epoch. Only the first loop after `load_state_dict` continues
    within an epoch: with the batch after the last one that was handed out when the
    state was taken (`state_dict`).

    A whole number in place of arrays is a number of examples that are not held here:
    batches are then the numbers of their rows, int64 on the host, for those who read
    the rows themselves. Of `arrays` there are then none.

    `arrays`, `axis` and `batch_size` are as given. A batch is not overwritten as long
    as anything refers to it or to a view of it; its memory is reused after that.

    Args:
        *arrays: arrays on one device, with equally many examples along `axis`; in an
            array of one dimension every element is an example. Or a number of examples.
        batch_size: examples in a batch, 1 to m.
        seed: a whole number of at least 0; by default 0, so that a call without it is
            reproducible.
        axis: 0 where rows are examples; 1 for the course's layout, (n_x, m), where
            columns are. Of a number of examples there is none.
        shuffle: False keeps the order of the data. Batches are then views of the
            arrays, not copies: writing to one writes to the data.
        drop_last: leave out the last batch of an epoch where it is smaller.
        allow_nan: let NaN and infinities through. The data are looked through
            once, here.

    Raises:
        ArgumentError: there is no array, or one without dimension; their numbers of
            examples differ; a number is out of its range; the data are not finite; an
            option has no meaning for a number of examples.
        ArgumentTypeError: an argument is of the wrong kind.
        BackendError: the arrays are on several devices.

    Source: Ng, Improving deep neural networks, week 2, "Mini-batch gradient descent".

    Other libraries: torch's DataLoader takes each order from a generator that moves
    on, so that epoch 5 depends on epochs 0 to 4; a size above m, refused here, gives
    it one smaller batch.

    >>> import numpy as np
    >>> X, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    >>> for x, labels in minibatches(X, y, batch_size=4, seed=0):
    ...     print(x.shape, labels)
    (4, 2) [4 9 8 7]
    (4, 2) [5 3 0 1]
    (2, 2) [2 6]
    >>> [part.shape for part in minibatches(X.T, batch_size=5, seed=0, axis=1)]
    [(2, 5), (2, 5)]
    >>> [rows.tolist() for rows in minibatches(10, batch_size=4, seed=0)]
    [[4, 9, 8, 7], [5, 3, 0, 1], [2, 6]]
    >>> batches = minibatches(np.arange(6), batch_size=2, seed=0)
    >>> for batch in batches:
    ...     print(batch)
    ...     break
    [5 3]
    >>> state = batches.state_dict()
    >>> resumed = minibatches(np.arange(6), batch_size=2, seed=0)
    >>> resumed.load_state_dict(state)
    >>> list(resumed)
    [array([0, 1]), array([2, 4])]
    """

    def __init__(
        self,
        *arrays: Array | int,
        batch_size: int,
        seed: int = 0,
        axis: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        allow_nan: bool = False,
    ) -> None:
        self.axis = check_axis(axis)
        self._shuffle = check_flag("shuffle", shuffle)
        self._drop_last = check_flag("drop_last", drop_last)
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.arrays: tuple[Array, ...] = arrays
        if len(arrays) == 1 and isinstance(arrays[0], int | np.integer):
            self.arrays, self._backend = (), get_backend("numpy")
            self._count = _check_rows(arrays[0], axis=self.axis, allow_nan=allow_nan)
        else:
            self._backend, self._count = check_arrays(arrays, self.axis)
        if self.batch_size > self._count:
            most = f"at most the number of examples, {self._count}"
            hint = axis_hint(self.arrays, self.axis, self.batch_size)
            message = f"batch_size must be {most}, got {self.batch_size}{hint}"
            raise ArgumentError(message)
        if not check_flag("allow_nan", allow_nan):
            hint = "; allow_nan=True lets it through"
            for k, array in enumerate(self.arrays):
                refuse_nan(f"array {k}", array, self.axis, self._backend, hint)
        self._seed = check_seed(seed)
        self._epoch = self._position = 0
        self._resuming = False
        self._latest = object()

    def __len__(self) -> int:
        whole_batches, rest = divmod(self._count, self.batch_size)
        return whole_batches + (rest > 0 and not self._drop_last)

    @property
    def epoch(self) -> int:
        """The epoch, from 0, of the last batch; the next one where it is complete."""
        return self._epoch

    def __iter__(self) -> Iterator[Any]:
        """Run through one epoch.

        Two loops at a time are two epochs; the state follows the one begun last.
        """
        return self._run(self._gathered)

    def _gathered(self, epoch: int) -> Callable[[int], Any]:
        """Return what gathers the batches of an epoch, by their numbers."""
        size = self.batch_size
        kept = self.arrays and not self._shuffle
        order: Any = None if kept else self.order(epoch)
        if not self.arrays:
            return lambda number: order[number * size : (number + 1) * size]
        batch = gathered(self._backend, self.arrays, self.axis, size, order)
        return batch if len(self.arrays) > 1 else lambda number: batch(number)[0]

    def positions(self) -> Iterator[tuple[int, int]]:
        """Run through one epoch as a loop does, but yield epoch and number of batches.

        For those who gather the examples themselves, by `order`.
        """
        return self._run(lambda epoch: lambda number: (epoch, number))

    @running
    def _run(self, make: Callable[[int], Callable[[int], Any]]) -> Iterator[Any]:
        """Run through one epoch; a batch is used as it is handed out, not before."""
        epoch, first = self._epoch, self._position
        if first > 0 and not self._resuming:
            epoch, first = epoch + 1, 0
        loop = self._latest = object()
        batch = make(epoch)
        for number in range(first, len(self)):
            given = batch(number)
            if self._latest is loop:  # no call from here on: no signal comes in between
                self._epoch, self._position, self._resuming = epoch, number + 1, False
            yield (given, given := None)[0]  # not kept: its memory is the caller's
        if self._latest is loop:
            self._epoch, self._position = epoch + 1, 0

    @property
    def first(self) -> int:
        """The number of the batch that the next loop begins with, from 0."""
        return self._position if self._resuming else 0

    def order(self, epoch: int) -> Array:
        """Draw the order of an epoch on the host; move it to the arrays' device."""
        order, number = np.arange(self._count), check_int("epoch", epoch, least=0)
        if self._shuffle:
            # A spawn key, as [seed, 0] would repeat the stream of the seed alone.
            entropy = np.random.SeedSequence(self._seed, spawn_key=(number,))
            order = np.random.default_rng(entropy).permutation(self._count)
        if not self.arrays:
            return order
        return self._backend.from_host(order, self._backend.device(self.arrays[0]))

    def _settings(self) -> dict[str, int | bool]:
        """Return what decides the batches, apart from the data."""
        return {
            "count": self._count,
            "batch_size": self.batch_size,
            "shuffle": self._shuffle,
            "drop_last": self._drop_last,
            "seed": self._seed,
        }

    def state_dict(self) -> dict[str, int | bool]:
        """Return the position of the loop: whole numbers and truth values by name.

        The batch handed out last counts as used. After the last batch of an epoch the
        state is the beginning of the next.
        """
        epoch, position = self._epoch, self._position
        if position == len(self):
            epoch, position = epoch + 1, 0
        return self._settings() | {"epoch": epoch, "position": position}

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state; the next ``for`` loop begins there.

        Args:
            state: a `state_dict()` of batches with the same number of examples, batch
                size, seed and options. What the examples hold is not checked.

        Raises:
            StateError: a name is missing or unknown, the state is of other batches, or
                its position lies outside the epoch; nothing has changed.
        """
        counts = "epoch", "position"
        checked = check_state("state", state, counts=counts, same=self._settings())
        position = checked["position"]
        if position >= len(self):
            message = f"position in state must be below {len(self)}, got {position}"
            raise StateError(message)
        self._epoch, self._position = checked["epoch"], position
        self._resuming = True
        self._latest = object()


def _check_rows(count: Any, *, axis: int, allow_nan: bool) -> int:
    """Return a number of examples; refuse options that need their arrays."""
    for name, given, default in (("axis", axis, 0), ("allow_nan", allow_nan, False)):
        if given != default:
            rule = f"{name} must be {default} for a number of examples"
            raise ArgumentError(f"{rule}, whose rows are not held here, got {given}")
    return check_count("number of examples", count)


minibatches = MiniBatches  # the name it is called by
