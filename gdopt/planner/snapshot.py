"""What trial steps change, copied before them and restored after them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array, backend_of
from gdopt.arrays.backend import Backend, byte_bounds
from gdopt.averages import EWA
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentTypeError, GdoptError, StateError
from gdopt.interrupt import Uninterrupted
from gdopt.nn import Network
from gdopt.optim import Optimizer

PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic)


class Snapshot:
    """Copies of what a step may change; `restore` restores all of it.

    NumPy's and Python's global generators are kept in any case. Copies of arrays on a
    device lie in main memory. Restoring them allocates nothing there, so that it works
    if the device is full.
    """

    def __init__(self, state: Any, own: Any = None) -> None:
        self._restores: list[Callable[[], None]] = []
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
        self._keep_python_random("random", random)
        self._keep_legacy("numpy.random", np.random)

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
        spans = []
        for array in [*self.arrays, *also]:
            backend = backend_of(array)
            if backend.device(array) == device:
                spans.append(byte_bounds(backend, array))
        total = end = 0
        for low, high in sorted(spans):
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
        elif hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
            saved = copy.deepcopy(thing.state_dict())
            load = thing.load_state_dict  # which may keep what it is given
            self._restores.append(lambda: load(copy.deepcopy(saved)))
        else:
            message = (
                f"{name} must be an array, an optimizer, a random generator, anything "
                "with state_dict and load_state_dict, or a container of these, got "
                f"{type(thing).__name__}"
            )
            raise ArgumentTypeError(message)

    def _keep_array(self, name: str, array: Array) -> None:
        try:
            backend = backend_of(array)
        except GdoptError as error:
            message = f"{name}: {error}"
            raise ArgumentTypeError(message) from error
        self.arrays.append(array)
        self._backends.add(backend)
        if not backend.writeable(array):
            return
        if isinstance(array, np.ndarray):
            saved = array.copy()
            self._restores.append(lambda: np.copyto(array, saved))
        elif array.flags.c_contiguous:
            host = backend.to_host(array)
            self._restores.append(lambda: array.set(host))
        else:  # CuPy sends to contiguous memory alone; from there it needs no more
            twin = array.copy()
            array[...] = twin  # which also compiles what will be needed
            self._restores.append(lambda: array.__setitem__(..., twin))

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

    def _keep_attributes(self, name: str, thing: Any) -> None:
        before = dict(vars(thing))
        self._restores.append(lambda: vars(thing).update(before))
        for key, part in before.items():
            if hasattr(part, "ndim"):
                self._keep(f"{name}.{key}", part)

    def _keep_generator(self, _name: str, generator: Any) -> None:
        bits = getattr(generator, "bit_generator", generator)
        saved = copy.deepcopy(bits.state)
        self._restores.append(partial(setattr, bits, "state", saved))

    def _keep_legacy(self, _name: str, generator: Any) -> None:
        state = generator.get_state(legacy=False)
        self._restores.append(partial(generator.set_state, state))

    def _keep_python_random(self, _name: str, generator: Any) -> None:
        self._restores.append(partial(generator.setstate, generator.getstate()))
