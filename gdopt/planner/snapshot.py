"""What trial steps change, copied before them and restored after them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array, backend_of
from gdopt.arrays.backend import Backend, byte_bounds
from gdopt.averages import EWA
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError, StateError
from gdopt.interrupt import Uninterrupted
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.planner.reach import PLAIN, reachable


class Snapshot:
    """Copies of what a step may change; `restore` restores all of it.

    NumPy's and Python's global generators are kept in any case. What `functions` reach
    is kept too, except for `data`, and `check` refuses changes of it. Copies of arrays
    on a device lie in main memory. Restoring them allocates nothing there, so that it
    works if the device is full.
    """

    def __init__(
        self,
        state: Any,
        own: Any = None,
        *,
        functions: Mapping[str, Any] | None = None,
        data: Iterable[Array] = (),
    ) -> None:
        self._restores: list[Callable[[], None]] = []
        # Of what no state names: its name, and whether it is as it was.
        self._unnamed: list[tuple[str, Callable[[], bool]]] = []
        self._root = ""  # the name of what is being kept, if no state names it
        self.apart: list[Array] = []  # arrays that no state names
        self._seen: dict[int, Any] = {}  # held, so that no other gets the same id
        self.arrays: list[Array] = []
        self._backends: set[Backend] = set()
        self._keepers: dict[Any, Callable[[str, Any], None]] = {
            np.ndarray: self._keep_array,
            Optimizer: self._keep_optimizer,
            Network: self._keep_network,
            Arena: self._keep_arena,
            MiniBatches: self._keep_attributes,
            EWA: self._keep_attributes,
            np.random.Generator: self._keep_generator,
            np.random.BitGenerator: self._keep_generator,
            np.random.RandomState: self._keep_legacy,
            random.Random: self._keep_python_random,
            Mapping: self._keep_mapping,
            (list, tuple): self._keep_sequence,
        }
        self._keep("state", state)
        self._keep("step", own)
        shared: tuple[Any, ...] = (random.gauss, np.random.normal)
        for method in shared:
            self._keep("the global generator", method.__self__)
        named = set(self._seen)
        self._known = [_span(array) for array in [*self.arrays, *data]]
        containers = {Mapping, (list, tuple)}
        kinds = tuple(kind for kind in self._keepers if kind not in containers)
        for self._root, thing in reachable(functions or {}, kinds, named):
            self._keep(self._root, thing)

    def check(self) -> None:
        """Refuse changes of what functions reach and no state names."""
        changed = {name: None for name, same in self._unnamed if not same()}
        if changed:
            raise ArgumentError(
                "state must name everything that the step changes, but it changed "
                f"{', '.join(changed)} too; everything is again as it was"
            )

    def restore(self) -> None:
        """Restore everything, whatever fails; Ctrl-C waits until it is done."""
        failures = []
        waits = [backend.synchronize for backend in self._backends]
        with Uninterrupted():
            for restore in (*self._restores, *waits):
                try:
                    restore()
                except Exception as error:  # noqa: BLE001 - raised below, after the rest
                    failures.append(error)
        if failures:
            message = f"the state could not be restored: {failures[0]}"
            raise StateError(message) from failures[0]

    def resident_bytes(self, device: str, also: Any = ()) -> int:
        """Return the bytes of a device's memory that the arrays lie in, each once."""
        spans = sorted(_span(array) for array in [*self.arrays, *also])
        total = end = 0
        for low, high in (span[1:] for span in spans if span[0] == device):
            total += max(0, high - max(low, end))
            end = max(end, high)
        return total

    def _keep(self, name: str, thing: Any) -> None:
        if isinstance(thing, PLAIN) or id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        for kind, keep in self._keepers.items():
            if isinstance(thing, kind):
                keep(name, thing)
                return
        if hasattr(thing, "__cuda_array_interface__"):
            self._keep_array(name, thing)
        elif hasattr(thing, "planned_state"):
            self._keep(f"{name}.planned_state", thing.planned_state)
        elif hasattr(thing, "load_state_dict") and not isinstance(thing, type):
            saved = copy.deepcopy(thing.state_dict())
            load = thing.load_state_dict  # which may keep what it is given
            self._restores.append(lambda: load(copy.deepcopy(saved)))
        else:
            raise ArgumentTypeError(
                f"{name} must be an array, an optimizer, a random generator, anything "
                "with state_dict and load_state_dict, or a container of these, got "
                f"{type(thing).__name__}"
            )

    def _keep_array(self, name: str, array: Array) -> None:
        try:
            backend = backend_of(array)
        except GdoptError as error:
            raise ArgumentTypeError(f"{name}: {error}") from error
        if self._root and any(_overlap(_span(array), other) for other in self._known):
            return
        (self.apart if self._root else self.arrays).append(array)
        self._backends.add(backend)
        if not backend.writeable(array):
            return
        saved: Any
        if isinstance(array, np.ndarray):
            saved = array.copy()
            self._restores.append(lambda: np.copyto(array, saved))
        elif array.flags.c_contiguous:
            saved = backend.to_host(array)
            self._restores.append(lambda: array.set(saved))
        else:  # CuPy sends to contiguous memory alone; from there it needs no more
            saved = array.copy()
            array[...] = saved  # which also compiles what will be needed
            self._restores.append(lambda: array.__setitem__(..., saved))
        self._expect(lambda: _bytes(array) == _bytes(saved))

    def _keep_mapping(self, name: str, thing: Mapping[Any, Any]) -> None:
        if isinstance(thing, dict):
            self._restores += [thing.clear, partial(thing.update, dict(thing))]
        for key, part in thing.items():
            self._keep(f"{name}[{key!r}]", part)

    def _keep_sequence(self, name: str, thing: Any) -> None:
        if isinstance(thing, list):
            entries = list(thing)
            self._restores.append(lambda: thing.__setitem__(slice(None), entries))
        for k, part in enumerate(thing):
            self._keep(f"{name}[{k}]", part)

    def _keep_arena(self, name: str, arena: Arena) -> None:
        for group, buffer in arena.buffers.items():
            self._keep(f"{name}.buffers[{group!r}]", buffer)

    def _keep_network(self, name: str, network: Network) -> None:
        self._keep(f"{name}.params", network.params)
        self._keep(f"{name}.grads", network.grads)
        state = network.state_dict()
        self._restores.append(lambda: network.load_state_dict(state))

    def _keep_optimizer(self, name: str, optimizer: Optimizer) -> None:
        self._keep(f"{name}.params", optimizer.params)
        for part, arena in optimizer.state_arenas.items():
            self._keep(f"{name}.state[{part!r}]", arena)
        for key, setting in optimizer.hyper.settings.items():
            if hasattr(setting, "state_dict"):  # a schedule that remembers
                self._keep(f"{name}.hyper[{key!r}]", setting)
        self._restores.append(optimizer.snapshot())
        steps = optimizer.t
        self._expect(lambda: optimizer.t == steps)

    def _keep_attributes(self, name: str, thing: Any) -> None:
        before = dict(vars(thing))
        self._restores.append(lambda: vars(thing).update(before))
        self._expect(lambda: _same(vars(thing), before))
        for key, part in before.items():
            if hasattr(part, "ndim"):
                self._keep(f"{name}.{key}", part)

    def _keep_generator(self, _name: str, generator: Any) -> None:
        bits = getattr(generator, "bit_generator", generator)
        saved = copy.deepcopy(bits.state)
        self._restores.append(partial(setattr, bits, "state", saved))
        self._expect(lambda: _same(bits.state, saved))

    def _keep_legacy(self, _name: str, generator: Any) -> None:
        state = generator.get_state(legacy=False)
        self._restores.append(partial(generator.set_state, state))
        self._expect(lambda: _same(generator.get_state(legacy=False), state))

    def _keep_python_random(self, _name: str, generator: Any) -> None:
        state = generator.getstate()
        self._restores.append(partial(generator.setstate, state))
        self._expect(lambda: generator.getstate() == state)

    def _expect(self, same: Callable[[], bool]) -> None:
        """Have `check` call what says whether an unnamed thing is as it was."""
        if self._root:
            self._unnamed.append((self._root, same))


def _span(array: Array) -> tuple[str, int, int]:
    """Return the device of an array, and the bounds of its bytes there."""
    backend = backend_of(array)
    return (backend.device(array), *byte_bounds(backend, array))


def _overlap(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def _bytes(array: Array) -> bytes:
    return backend_of(array).to_host(array).tobytes()


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _same(part, other[key]) for key, part in one.items()
        )
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return one is other or (not hasattr(one, "ndim") and bool(one == other))
