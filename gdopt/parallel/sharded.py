"""ZeRO-1: every rank updates its slice of the parameters, and keeps its state alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gdopt.arrays import Arena, Array, Layout
from gdopt.arrays.dtypes import as_dtype
from gdopt.checks import (
    check_choice,
    check_kind,
    check_saved_array,
    check_state,
    listed,
    shown,
)
from gdopt.copies import NotCopied
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.kernels.norm_parts import NormParts
from gdopt.optim import Adafactor, Muon, Optimizer
from gdopt.optim.attributes import HyperAttributes
from gdopt.optim.comparison import described_optimizer
from gdopt.optim.executors import start_state
from gdopt.optim.gradients import Gradients, largest
from gdopt.optim.hyper import Hyper
from gdopt.optim.options import Options
from gdopt.optim.overflow import safe_magnitude
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule
from gdopt.optim.transforms import Transforms
from gdopt.parallel.batches import Part
from gdopt.parallel.communicator import Communicator
from gdopt.parallel.reduction import Bounds, Reduction
from gdopt.parallel.tree import REPLICAS, TreeSum, check_replicas, share_of

if TYPE_CHECKING:
    from gdopt.parallel.world import Ranks

ORDERS = ("tree", "any")
NOT_FINITE = "be finite, got NaN or infinity in"
PIECES = "kind must work element by element, as ranks have pieces of arrays, got {}"
WHOLE = {  # options that take whole arrays, with what to do
    "frozen": "make the arena of the arrays that are trained",
    "accumulate": "a replica is a micro-batch: more replicas accumulate",
    "clip_each": "use clip_norm or clip_value",
    "agc": "use clip_norm or clip_value",
    "complex_mode": "parameters must be real",
}


class Sharded(NotCopied, HyperAttributes):
    """An optimizer of which every rank keeps the state of its slice of the parameters.

    A step adds up the gradients of all replicas of a global batch, in the order of one
    binary tree. Each rank updates its slice of the arena, and then all have all of it
    (ZeRO, stage 1). Parameters and state have the same bits on any number of ranks:
    those of one optimizer that takes the sum. It is made by `Ranks.sharded`.

    Attributes:
        params: the arena of all parameters.
        replicas: number of parts of a global batch.
        ranks: that share the state.
        own_replicas: those of this rank.
        optimizer: that of this rank's slice.
        hyper: the hyper-parameters, which are attributes as well.

    Source: Rajbhandari et al. 2020, ZeRO, section 5.1. torch's ZeroRedundancyOptimizer
    gives whole arrays to ranks, and takes the mean over ranks, whatever their numbers
    of examples, in an order that depends on how many there are.

    >>> import gdopt
    >>> import numpy as np
    >>> from gdopt import parallel
    >>> params = gdopt.Arena.of({"w": np.array([4.0, 2.0])})
    >>> x = np.array([[1.0, 0.0], [0.0, 4.0], [2.0, 2.0]])
    >>> with parallel.world() as ranks:  # one rank, where mpirun has not started more
    ...     opt = ranks.sharded(gdopt.SGD, params, replicas=2, lr=0.5)
    ...     for parts in ranks.minibatches(x, batch_size=3, replicas=2):
    ...         for part in parts:
    ...             opt.add({"w": part.arrays[0].mean(axis=0)}, part)
    ...         opt.step()
    True
    >>> params["w"], opt.t
    (array([3.5, 1. ]), 1)
    """

    _instead = "what ranks share is not copied: copy its state_dict()"
    hyper: Hyper
    params: Arena
    replicas: int
    ranks: Ranks
    own_replicas: range
    optimizer: Optimizer
    _added: int  # parts since the last step
    _bounds: dict[str, list[Bounds]]  # of what each rank takes of the sum
    _checks: Gradients
    _comm: Communicator
    _grads: Arena  # the sum, of this rank's slice
    _layout: Layout  # of this rank's slice
    _norms: NormParts | None
    _order: str
    _owns: bool  # whether there is an element in its slice
    _parameters: Parameters
    _parts: list[Layout]
    _reduction: Reduction
    _shard: Arena  # the parameters in its slice
    _sums: TreeSum
    _totals: dict[str, Array]  # the sum, as far as this rank takes it

    def __init__(
        self,
        ranks: Ranks,
        kind: type[Optimizer],
        params: Arena,
        *,
        replicas: int = REPLICAS,
        order: str = "tree",
        **options: Any,
    ) -> None:
        if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
            message = f"kind must be a class such as gdopt.Adam, got {shown(kind)}"
            raise ArgumentTypeError(message)
        if issubclass(kind, Adafactor | Muon):  # which look at shapes when made
            raise ArgumentTypeError(PIECES.format(kind.__name__))
        check_kind("params", params, Arena, "a gdopt.Arena: gdopt.Arena.of(params)")
        check_choice("order", order, ORDERS)
        for name in options.keys() & WHOLE:
            raise ArgumentTypeError(f"{name} must not be given here: {WHOLE[name]}")
        self.params, self.replicas = params, check_replicas(replicas, ranks.size)
        self.ranks, self._order = ranks, order
        self._comm = comm = ranks.communicator(params.backend.name, order)
        self._parameters = Parameters.of(params)
        self._parts = params.layout.cut(comm.size)
        owners = [share_of(rank, comm.size, replicas) for rank in range(comm.size)]
        self.own_replicas, self._added = owners[comm.rank], 0
        self._layout = self._parts[comm.rank]
        self._make_shard()
        self.optimizer = kind(self._shard, **options)
        self._refuse_rule(kind)
        self.hyper = self.optimizer.hyper
        self._sums, self._reduction = TreeSum(params), Reduction(comm, owners, order)
        self._checks = Gradients(self._parameters, {})
        self._make_totals()
        self._agree(kind)

    def __repr__(self) -> str:
        place = f"rank {self._comm.rank} of {self._comm.size}"
        return f"Sharded({self.optimizer!r}; replicas={self.replicas}, {place})"

    def _make_shard(self) -> None:
        """Make what the optimizer updates: slices of all parameters' memory."""
        own, params, at = self._layout, self.params, self._layout.origin
        self._owns = bool(own.slots)
        if self._owns:
            whole = params.buffers
            slices = {g: whole[g][at[g] : at[g] + n] for g, n in own.sizes.items()}
            self._shard = Arena.over(own, slices)
        else:  # it follows another rank's slice, for t and for schedules
            own = next(part for part in self._parts if part.slots)
            self._shard = Arena(own, params.backend, params.device)

    def _make_totals(self) -> None:
        """Make memory for what this rank takes of the sum of all gradients."""
        own, params = self._layout, self.params
        self._norms, self._bounds = None, self._cuts()
        if self._transforms.takes_norm or self._careful:
            self._norms = NormParts(params.layout, self._comm.size)
            for group, ends in self._norms.bounds.items():
                starts = [low for low, _ in self._bounds[group]]
                self._bounds[group] = list(zip(starts, ends, strict=True))
        self._totals = {
            group: params.backend.zeros(high - low, group, params.device)
            for group, bounds in self._bounds.items()
            for low, high in [bounds[self._comm.rank]]
        }
        self._grads = self._shard.like()
        if self._owns:
            buffers = {g: self._totals[g][:n] for g, n in own.sizes.items()}
            self._grads = Arena.over(own, buffers)

    @property
    def _careful(self) -> bool:
        """Whether gradients that are not finite are looked for."""
        return self.optimizer.non_finite != "ignore"

    def _cuts(self) -> dict[str, list[Bounds]]:
        """Return from and to which element of a buffer each rank updates it."""
        starts = [(part.origin, part.sizes) for part in self._parts]
        return {
            group: [(at[group], at[group] + own.get(group, 0)) for at, own in starts]
            for group in self.params.layout.sizes
        }

    def _refuse_rule(self, kind: type[Optimizer]) -> None:
        """Refuse what needs whole arrays, of which ranks have pieces."""
        rule = self.rule
        if rule.per or rule.kernel.by_shape:
            raise ArgumentTypeError(PIECES.format(kind.__name__))
        if self._transforms.measures:
            message = "clip_norm must be given without clip_value, which changes what "
            raise ArgumentTypeError(message + "is measured: give one of them")

    def _agree(self, kind: type[Optimizer]) -> None:
        agree = self.ranks.agree
        agree("replicas", self.replicas)
        agree("order", self._order)
        agree("the optimizer", {"class": kind.__name__, **described_optimizer(self)})
        agree("the parameter", dict(self.params))

    @property
    def rule(self) -> Rule:
        """The rule, with what goes around it."""
        return self.optimizer.rule

    @property
    def options(self) -> Options:
        """The options that are not hyper-parameters."""
        return self.optimizer.options

    @property
    def _transforms(self) -> Transforms:
        return self.optimizer._transforms  # noqa: SLF001

    @property
    def t(self) -> int:
        """Number of updates done; the next one is step `t` of a schedule."""
        return self.optimizer.t

    @property
    def grad_norm(self) -> Any:
        """The norm of the last gradients that ``clip_norm`` compared, of all ranks."""
        return self.optimizer.grad_norm

    @property
    def state_bytes(self) -> int:
        """Bytes of state on this rank, padding included."""
        return self.optimizer.state_bytes if self._owns else 0

    def add(self, grads: Any, part: Part) -> None:
        """Add the gradients of the mean loss of a part; a step takes those of all.

        Args:
            grads: as `gdopt.Optimizer.step` takes them, of all parameters; None for a
                part that has no examples.
            part: this rank's next one.

        Raises:
            ArgumentError: the part is another one, or a gradient does not fit.
            ArgumentTypeError: a gradient is not an array, or of another dtype.
        """
        check_kind("part", part, Part, "one that ranks.minibatches(...) yields")
        rest = self.own_replicas[self._added :]
        if part.replica not in rest[:1]:
            due = f"that of replica {rest[0]}" if rest else "added after step()"
            message = f"part must be {due}, got that of replica {part.replica}"
            raise ArgumentError(message)
        named = None
        if part.weight or grads is not None:
            named = self._checks.named(grads)
        with self._parameters.on_device():
            self._sums.add(part.replica, named if part.weight else None, part.weight)
        self._added += 1

    def discard(self) -> None:
        """Forget the gradients that were added since the last step."""
        self._sums.clear()
        self._added = 0

    def step(self) -> bool:
        """Add up the gradients of all ranks, and update all parameters once, in place.

        All ranks call it, after they have added their parts.

        Returns:
            Whether the update was done: False on all ranks where ``non_finite="skip"``
            skipped it.

        Raises:
            ArgumentError: a part was not added; gradients are not finite, on all ranks,
                and ``non_finite="raise"``.
            ParallelError: another rank did not come to this step.
        """
        if rest := self.own_replicas[self._added :]:
            message = f"add must be called before step for replicas {listed(rest)}"
            raise ArgumentError(message)
        with self._parameters.on_device():
            for group, total in self._totals.items():
                sums = [(n, arena.buffers[group]) for n, arena in self._sums.done]
                self._reduction.reduce(sums, self._bounds[group], total)
            self.discard()
            updated = self._update()
            if updated:
                self._gather(self.params.buffers)
        return updated

    def _update(self) -> bool:
        """Update this rank's slice, unless gradients of a rank are not finite."""
        if self._norms is None:
            return bool(self.optimizer.step(self._grads))
        nodes = self._norms.nodes(self._comm.rank, self._totals)
        peaks = [0.0]
        if self._careful:
            peaks += [largest(buffer) for buffer in self._grads.buffers.values()]
        shared = self._comm.share(np.append(nodes, np.max(peaks)))
        norm = None
        if self._transforms.takes_norm:
            norm = self._norms.norm(shared[:, :-1].reshape(-1, *nodes.shape))
        if not self._careful:
            return bool(self.optimizer.step(self._grads, norm=norm))
        peak = float(shared[:, -1].max())  # NaN is the largest
        finite, own = math.isfinite(peak), self.optimizer
        if not finite:
            shard = Parameters.of(own.params)
            names = Gradients(shard, {}).not_finite(self._grads)
            own._refuse(self._on_any_rank(names), NOT_FINITE)  # noqa: SLF001
        run = partial(own.step, self._grads, norm=norm, finite=finite)
        if not finite or peak <= safe_magnitude(own.rule, self._parameters, own.hyper):
            return bool(run())
        done = own._run_or_undo(run, agree=self._on_any_rank)  # noqa: SLF001
        return bool(done) or own._skip()  # noqa: SLF001

    def _on_any_rank(self, names: Sequence[str]) -> list[str]:
        """Return the arrays that any rank has named."""
        flags = np.array([name in names for name in self.params])
        found = self._comm.share(flags).sum(axis=0)
        return [name for name, count in zip(self.params, found, strict=True) if count]

    def _gather(self, buffers: Mapping[str, Array]) -> None:
        """Fill buffers of which every rank has written its slice."""
        for group, buffer in buffers.items():
            starts = [part.origin[group] for part in self._parts]
            self._comm.gather(buffer, [*starts, len(buffer)])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the parameters hold their averages within a block, on all ranks.

        Raises:
            ArgumentError: as `gdopt.Optimizer.averaged`.
        """
        buffers = self.params.buffers
        with self._parameters.on_device():
            kept = {group: buffer.copy() for group, buffer in buffers.items()}
        try:
            with self.optimizer.averaged():
                self._gather(buffers)
                yield
        finally:
            with self._parameters.on_device():
                for group, buffer in buffers.items():
                    buffer[...] = kept[group]

    def slices(self) -> dict[str, Any]:
        """Copy this rank's state: for each array the piece that it updates.

        Returns:
            by the names of the arrays ``start`` and ``stop``, the numbers of a piece's
            elements in its array, and the state's arrays.
        """
        if not self._owns:
            return {}
        state, slots = self.optimizer.state_dict()["state"], self._layout.slots
        found: dict[str, Any] = {}
        for name, slot in slots.items():
            stop = slot.first + slot.stop - slot.start
            found[name] = {"start": slot.first, "stop": stop, **state[name]}
        return found

    def head(self) -> dict[str, Any]:
        """Return what `state_dict` holds besides the state's arrays."""
        return self.optimizer.state_dict() | {"state": {}}

    def state_dict(self) -> dict[str, Any]:
        """Copy the whole state, as one optimizer of all parameters would; on all ranks.

        Each rank has all of it then: a checkpoint of a run takes `slices` instead.
        """
        own = self.optimizer
        whole = start_state(own.rule, self._parameters, own.options)
        for name, arena in whole.items():
            mine = own.state_arenas[name].buffers
            for group, bounds in self._cuts().items():
                low, high = bounds[self._comm.rank]
                if low < high:
                    arena.buffers[group][low:high] = mine[group]
            self._gather(arena.buffers)
        to_host = self.params.backend.to_host
        state = {
            key: {name: np.array(to_host(arena[key])) for name, arena in whole.items()}
            for key in self.params
        }
        return self.head() | {"state": state}

    def load_state_dict(self, saved: Mapping[str, Any], *, hyper: bool = True) -> Self:
        """Take over the state of one optimizer of all parameters; all or nothing.

        Args:
            saved: what `state_dict` gave on any number of ranks, or an optimizer's.
            hyper: whether to take over the hyper-parameters that are numbers.

        Raises:
            StateError: another rule, other names, shapes or dtypes.
        """
        saved = check_state("the saved state", saved, None)
        saved["state"] = self._pieces(saved.get("state"))
        self.optimizer.load_state_dict(saved, hyper=hyper)
        return self

    def _pieces(self, saved: Any) -> dict[str, dict[str, np.ndarray]]:
        """Check the state of all parameters, on every rank; return its own pieces."""
        own, dtype_of = self.optimizer, self.options.state_dtype_of
        check_state("state", saved, self.params)
        for key, slot in self.params.layout.slots.items():
            check_state(f"the state of {key!r}", saved[key], own.state_arenas)
            for name, array in saved[key].items():
                zero = np.zeros((), as_dtype(dtype_of(name, slot.group)))
                like = np.broadcast_to(zero, slot.shape)
                check_saved_array(f"the {name} of {key!r}", array, like)
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, slot in self._shard.layout.slots.items():
            piece = slice(slot.first, slot.first + slot.stop - slot.start)
            flat = {n: np.asarray(a).reshape(-1) for n, a in saved[key].items()}
            found[key] = {name: array[piece] for name, array in flat.items()}
        return found
