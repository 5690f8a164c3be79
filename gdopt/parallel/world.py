"""The ranks of a launch, and what they must have in common."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from gdopt.arrays.backend import NAMES, is_on_device
from gdopt.checks import Range, check_choice, check_kind, check_number
from gdopt.errors import ParallelError
from gdopt.parallel.communicator import Communicator, Single
from gdopt.parallel.launch import connect
from gdopt.parallel.mpi import Mpi

if TYPE_CHECKING:
    from gdopt.parallel.batches import ReplicaBatches
    from gdopt.parallel.sharded import Sharded


class Ranks:
    """The processes that one launch has started, as one of them sees them.

    Attributes:
        rank: the number of this one, from 0.
        size: how many there are.
        timeout: seconds after which a rank no longer waits for others.
    """

    def __init__(self, host: Single | Mpi, timeout: float) -> None:
        self._host = host
        self.rank, self.size, self.timeout = host.rank, host.size, timeout

    def __repr__(self) -> str:
        return f"Ranks(rank={self.rank}, size={self.size}, timeout={self.timeout:g})"

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which reports and writes files."""
        return self.rank == 0

    def communicator(self, backend: str) -> Communicator:
        """Return what moves arrays of a backend between ranks."""
        check_choice("backend", backend, ("numpy",) if self.size > 1 else NAMES)
        return self._host

    def share(self, values: np.ndarray) -> np.ndarray:
        """Stack small host arrays of every rank: of equal shapes and dtypes.

        >>> import gdopt
        >>> with gdopt.parallel.world() as ranks:
        ...     ranks.share(np.array([1.5, 2.5])).shape == (ranks.size, 2)
        True
        """
        return self._host.share(check_kind("values", values, np.ndarray))

    def agree(self, what: str, value: Any) -> None:
        """Refuse what is not the same on all ranks.

        Args:
            what: its name in the error.
            value: a number, text, array, or a mapping of such.

        Raises:
            ParallelError: it differs; on all ranks, with the values of two of them.
        """
        known = {check_kind("what", what, str): value}
        if isinstance(value, Mapping):
            known = {f"{what} {key}": item for key, item in value.items()}
        text = json.dumps({name: _described(item) for name, item in known.items()})
        texts = self._texts(text)
        if len(set(texts)) == 1:
            return
        found = [json.loads(other) for other in texts]
        for rank, other in enumerate(found):
            for name in found[0] | other:
                ours, theirs = found[0].get(name), other.get(name)
                if ours != theirs:
                    message = (
                        f"{name} must be the same on all ranks, got "
                        f"{ours or 'none'} on rank 0 and {theirs or 'none'} on rank "
                        f"{rank}"
                    )
                    raise ParallelError(message)

    def _texts(self, own: str) -> list[str]:
        """Share texts; those that are equal, by their hashes alone."""
        text = own.encode()
        digest = hashlib.sha256(text).digest()
        digests = self.share(np.frombuffer(digest, np.uint8))
        if (digests == digests[0]).all():
            return [own] * self.size
        lengths = self.share(np.array([len(text)]))[:, 0]
        padded = np.frombuffer(text.ljust(lengths.max()), np.uint8)
        return [row.tobytes().decode() for row in self.share(padded)]

    def sharded(self, kind: type, params: Any, **options: Any) -> Sharded:
        """Make an optimizer of which each rank holds a part of the state."""
        from gdopt.parallel.sharded import Sharded  # noqa: PLC0415 - imports this

        return Sharded(self, kind, params, **options)

    def minibatches(self, *arrays: Any, **options: Any) -> ReplicaBatches:
        """Cut each global batch into the parts of all replicas."""
        from gdopt.parallel.batches import ReplicaBatches  # noqa: PLC0415 - as above

        return ReplicaBatches(self, *arrays, **options)


def _described(value: Any) -> str:
    """Return a text that is the same for equal values alone."""
    if is_on_device(value):
        value = value.get()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.sha256(np.ascontiguousarray(value)).hexdigest()
        return f"{value.dtype} of shape {value.shape} with SHA-256 {digest[:16]}"
    return value if isinstance(value, str) else repr(value)


def world(timeout: float = 300.0) -> AbstractContextManager[Ranks]:
    """Meet the ranks that ``mpirun`` or ``srun`` has started; alone, there is one.

    An error that leaves the block in one rank ends all ranks, as does ``sys.exit``:
    it is shown once, and the code after the block does not run.

    Args:
        timeout: seconds after which a rank that waits for others raises an error.

    Raises:
        ParallelError: processes were started that would not meet, or ranks differ.
        MissingExtraError: there are several ranks, and mpi4py is missing.

    >>> import gdopt
    >>> with gdopt.parallel.world() as ranks:
    ...     print(ranks)
    Ranks(rank=0, size=1, timeout=300)
    """
    return _block(check_number("timeout", timeout, Range.parse("(0, inf)")))


@contextlib.contextmanager
def _block(timeout: float) -> Iterator[Ranks]:
    host = connect(timeout)
    try:
        yield Ranks(host, timeout)
        host.leave()
    except BaseException as error:
        host.fail(error)
        raise
