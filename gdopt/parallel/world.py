"""The ranks of a launch, and what they must have in common."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from gdopt.arrays.backend import NAMES, is_on_device
from gdopt.checks import (
    Range,
    check_choice,
    check_kind,
    check_number,
    refuse_masked,
)
from gdopt.errors import ParallelError
from gdopt.files import digest
from gdopt.kernels.cpu.blas import LIMIT, THREADS
from gdopt.parallel import launch
from gdopt.parallel.communicator import Communicator, Single, on_host
from gdopt.parallel.mpi import Mpi
from gdopt.parallel.nccl import Nccl

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
        self._nccl: Nccl | None = None
        self._compared: set[str] = set()  # backends whose arithmetic is the same
        self.rank, self.size, self.timeout = host.rank, host.size, timeout

    def __repr__(self) -> str:
        return f"Ranks(rank={self.rank}, size={self.size}, timeout={self.timeout:g})"

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which reports and writes files."""
        return self.rank == 0

    def communicator(self, backend: str, order: str = "tree") -> Communicator:
        """Return what moves arrays of a backend between ranks: MPI, or NCCL for CuPy.

        Args:
            backend: ``"numpy"`` or ``"cupy"``.
            order: ``"tree"`` refuses ranks whose arithmetic may give other bits, by
                BLAS, the number of its threads, or the GPU; ``"any"`` permits them.

        Raises:
            ParallelError: ranks differ, or two have one GPU.
            MissingExtraError: NCCL is missing.
        """
        check_choice("backend", backend, NAMES[1:])
        check_choice("order", order, ("tree", "any"))
        if order == "tree" and backend not in self._compared and self.size > 1:
            self.agree('with order="tree",', launch.arithmetic(backend))
            self._compared.add(backend)
        if backend == "numpy" or isinstance(self._host, Single):
            return self._host
        if self._nccl is None:
            self._refuse_shared_device(self._host.node[0], *launch.device())
            self._nccl = Nccl(self._host, self.timeout)
        return self._nccl

    def leave(self) -> None:
        """Wait until all ranks have come to the end of the block, and GPUs are done."""
        if self._nccl is not None:
            self._nccl.leave()
        self._host.leave()

    def _refuse_shared_device(self, node: int, number: int, visible: str) -> None:
        own = f"{node}/{visible}/{number}"
        found = self._texts(own)
        for rank, other in enumerate(found[: self.rank]):
            if other == own:
                raise ParallelError(
                    f"each rank must have a GPU of its own, but rank {rank} and rank "
                    f"{self.rank} have device {number}: start as many ranks on a "
                    "machine as it has GPUs, or set CUDA_VISIBLE_DEVICES for each"
                )

    def share(self, values: np.ndarray) -> np.ndarray:
        """Stack small host arrays of every rank: of equal shapes and dtypes.

        >>> import gdopt
        >>> with gdopt.parallel.world() as ranks:
        ...     ranks.share(np.array([1.5, 2.5])).shape == (ranks.size, 2)
        True
        """
        refuse_masked(
            "values", check_kind("values", values, np.ndarray, "a NumPy array")
        )
        return self._host.share(values)

    def agree(self, what: str, value: Any) -> None:
        """Refuse what is not the same on all ranks.

        Args:
            what: its name in the error.
            value: a number, text, array, or a mapping of such.

        Raises:
            ParallelError: it differs; on all ranks, with the values of two of them.
        """
        named = {check_kind("what", what, str, "a string"): value}
        if isinstance(value, Mapping):
            named = {f"{what} {key}": item for key, item in value.items()}
        own = {name: _described(item) for name, item in named.items()}
        first, *others = map(json.loads, self._texts(json.dumps(own)))
        for rank, other in enumerate(others, 1):
            for name in first | other:
                ours, theirs = first.get(name, "none"), other.get(name, "none")
                if ours != theirs:
                    raise ParallelError(
                        f"{name} must be the same on all ranks, got {ours} on rank 0 "
                        f"and {theirs} on rank {rank}"
                    )

    def _texts(self, own: str) -> list[str]:
        """Share texts: by their hashes alone, if all are equal."""
        text = own.encode()
        digests = self.share(np.frombuffer(hashlib.sha256(text).digest(), np.uint8))
        if (digests == digests[0]).all():
            return [own] * self.size
        most = self.share(np.array([len(text)])).max()
        padded = self.share(np.frombuffer(text.ljust(most), np.uint8))
        return [row.tobytes().decode().rstrip() for row in padded]

    def sharded(self, kind: type, params: Any, **options: Any) -> Sharded:
        """Make an optimizer of which each rank keeps the state of a slice.

        Args:
            kind: an optimizer's class, such as `gdopt.Adam`, whose rule works element
                by element.
            params: a `gdopt.Arena` of real arrays, with equal values on all ranks.
            **options: ``replicas``, a power of two, at least the number of ranks; by
                default 8. Equal bits need equal replicas. ``order``: ``"tree"``, or
                ``"any"`` to add gradients in the engine's own order, which depends on
                the number of ranks. All others are those of `kind`, but for options
                that take whole arrays.

        Raises:
            ArgumentError: a number is out of its range.
            ArgumentTypeError: an argument is of the wrong kind; the rule or an option
                takes whole arrays, of which ranks have pieces.
            ParallelError: parameters, options or replicas differ between ranks.
        """
        from gdopt.parallel.sharded import Sharded  # noqa: PLC0415 - imports this

        return Sharded(self, kind, params, **options)

    def minibatches(self, *arrays: Any, **options: Any) -> ReplicaBatches:
        """Cut each global batch into the parts of all replicas.

        Args:
            *arrays: all examples, on every rank; or how many there are, for batches of
                their numbers.
            **options: ``replicas``, as of the optimizer, by default 8; ``batch_size``
                and all others are those of `gdopt.minibatches`.

        Raises:
            GdoptError: as `gdopt.minibatches` does.
            ParallelError: options, or numbers of examples, differ between ranks.
        """
        from gdopt.parallel.batches import ReplicaBatches  # noqa: PLC0415 - as above

        return ReplicaBatches(self, *arrays, **options)


def _described(value: Any) -> str:
    """Return a text that is the same for equal values alone."""
    plain = isinstance(value, np.ndarray | np.generic) and value.dtype != object
    if plain or is_on_device(value):
        value = on_host(value)
        return f"{value.dtype} of shape {value.shape} with SHA-256 {digest(value)[:16]}"
    return value if isinstance(value, str) else repr(value)


def world(timeout: float = 300.0) -> AbstractContextManager[Ranks]:
    """Meet the ranks that ``mpirun`` or ``srun`` has started; alone, there is one.

    Within the block BLAS has one thread, as the bits of products depend on the number;
    ``OPENBLAS_NUM_THREADS`` and its like set another one. Where machines have several
    GPUs, the current one is that with the rank's number on its machine.

    An error that leaves the block in one rank ends all ranks, as does ``sys.exit``:
    it is shown once, and the code after the block does not run.

    Args:
        timeout: seconds after which a rank that waits for others raises an error.

    Raises:
        ParallelError: processes were started that would not meet, or versions differ.
        MissingExtraError: there are several ranks, and mpi4py is missing.

    >>> import gdopt
    >>> with gdopt.parallel.world() as ranks:
    ...     print(ranks)
    Ranks(rank=0, size=1, timeout=300)
    """
    return _block(check_number("timeout", timeout, Range.parse("(0, inf)")))


@contextlib.contextmanager
def _block(timeout: float) -> Iterator[Ranks]:
    host = launch.connect(timeout)
    limited = not any(name in os.environ for name in THREADS)
    if limited:
        LIMIT.enter()
    try:
        ranks = Ranks(host, timeout)
        if isinstance(host, Mpi):
            launch.choose_device(host)
            ranks.agree("the version of", launch.versions())
        yield ranks
        ranks.leave()
    except BaseException as error:
        host.fail(error)
        raise
    finally:
        if limited:
            LIMIT.leave()
