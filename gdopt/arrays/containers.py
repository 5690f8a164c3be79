"""Lists, tuples and mappings of arrays, nested, which are named by their paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gdopt.errors import ArgumentError, ArgumentTypeError

Array = Any  # of any library


class Container:
    """What a list, tuple or mapping held when it was read, of arrays and of others.

    An array is named by its path, such as ``"layers.0.W"``: keys of mappings, fields of
    named tuples and positions, in the order of the containers, depth first. `nested`
    says whether it holds other containers. With `keys`, it is read as when it was read
    before: keys that have been added since are left out.
    """

    def __init__(
        self,
        given: Any,
        place: str,
        outer: tuple[Any, ...] = (),
        keys: Mapping[Any, Any] | None = None,
    ) -> None:
        if any(given is one for one in outer):
            message = f"containers must not be inside themselves, but {place} is"
            raise ArgumentError(message)
        self.given, self._place = given, place
        self._is_mapping = isinstance(given, Mapping)
        named = isinstance(given, tuple)
        self._fields = getattr(given, "_fields", None) if named else None
        own = list(given) if self._is_mapping else list(range(len(given)))
        self._keys = own if keys is None else [key for key in keys if key in own]
        self._key_set = dict.fromkeys(self._keys).keys()
        self._parts = [self._part(key) for key in self._keys]
        self._held = [given[key] for key in self._keys]
        self._in_order = True  # whether a mapping still gives its entries so
        if not self._is_mapping and self._held and all(map(_is_pair, self._held)):
            message = f"{place} must not be a list of pairs: write dict({place})"
            raise ArgumentTypeError(message)
        self._inner = [
            Container(entry, self._place_of(key), (*outer, given), keys and keys[key])
            if is_container(entry)
            else None
            for key, entry in zip(self._keys, self._held, strict=True)
        ]
        self.nested = any(self._inner)

    def keys(self) -> dict[Any, Any]:
        """Return the keys that were read, each with those of a container inside."""
        pairs = zip(self._keys, self._inner, strict=True)
        return {key: inner and inner.keys() for key, inner in pairs}

    def __reduce__(self) -> Any:
        given = self.given
        given = dict(given) if isinstance(given, MappingProxyType) else given
        return _read_again, (given, self._place, self.keys())

    def _part(self, key: Any) -> str:
        if self._fields is not None:
            return str(self._fields[key])
        if isinstance(key, str) or type(key) is int:
            return str(key)
        message = f"names in {self._place} must be strings or whole numbers, got "
        raise ArgumentTypeError(message + repr(key))

    def _place_of(self, key: Any) -> str:
        """Return the Python expression of an entry."""
        field = f".{self._fields[key]}" if self._fields else f"[{key!r}]"
        return self._place + field

    def named(self) -> dict[str, Array]:
        """Return all arrays by name; refuse a name that two have."""
        found: dict[str, Array] = {}
        for name, array in self.leaves():
            if name in found:
                message = f"names in {self._place} must differ, but two arrays are "
                message += f"called {name!r}"
                raise ArgumentError(message)
            found[name] = array
        return found

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """Iterate over names and arrays; names may come twice."""
        entries = zip(self._parts, self._held, self._inner, strict=True)
        for part, entry, inner in entries:
            if inner is None:
                yield prefix + part, entry
            else:
                yield from inner.leaves(f"{prefix}{part}.")

    def collect(self, given: Any, into: list[Any]) -> bool:
        """Append the entries of containers like these; return whether they are.

        Mappings have to have the same keys, in any order, and sequences that length.
        """
        if self._is_mapping:
            if not isinstance(given, Mapping) or given.keys() != self._key_set:
                return False
        elif (
            not isinstance(given, list | tuple)
            or len(given) != len(self._keys)
            or getattr(given, "_fields", None) != self._fields
        ):
            return False
        if not self.nested:
            into += map(given.__getitem__, self._keys)
            return True
        for key, inner in zip(self._keys, self._inner, strict=True):
            if inner is None:
                into.append(given[key])
            elif not inner.collect(given[key], into):
                return False
        return True

    def current(self) -> Iterable[Any]:
        """Return what lies now where the arrays lay, in their order."""
        if not self._in_order or len(self.given) != len(self._keys):
            entries: Iterable[Any] = map(self._entry, self._keys)
        else:
            entries = self.given.values() if self._is_mapping else self.given
        if not self.nested:
            return entries
        found: list[Any] = []
        places = zip(entries, self._held, self._inner, strict=True)
        for entry, held, inner in places:
            if inner is None or entry is not held:  # another container has no arrays
                found += [entry] if inner is None else [None] * len(inner.named())
            else:
                found += inner.current()
        return found

    def _entry(self, key: Any) -> Any:
        """Return what a key stands for now; None if there is nothing."""
        if self._is_mapping:
            return self.given.get(key)
        return self.given[key] if key < len(self.given) else None

    def refuse_changed(
        self, names: Collection[str] | None = None, prefix: str = ""
    ) -> None:
        """Refuse arrays of these names that are not what they were, and containers.

        Entries may have been added, and be in another order. Without names, the arrays
        have just been read, and a mapping that has others by now makes them each time.
        """
        entries = zip(self._keys, self._parts, self._held, self._inner, strict=True)
        for key, part, held, inner in entries:
            name, place = prefix + part, self._place_of(key)
            checked = names is None or name in names or inner is not None
            if checked and self._entry(key) is not held:
                line = "to the arrays it held" if inner else f"{place}[...] = value"
                message = (
                    f"{place} is another {'container' if inner else 'array'} than when "
                    f"the optimizer was made, and would not be updated: write {line}"
                )
                if names is None:
                    message = (
                        f"{self._place} gives another array each time {key!r} is read "
                        f"({type(self.given).__name__}): write dict({self._place})"
                    )
                raise ArgumentError(message)
            if inner is not None:
                inner.refuse_changed(names, f"{name}.")
        self._in_order = not self._is_mapping or list(self.given) == self._keys

    def put(self, name: str, array: Array) -> bool:
        """Write an array to the place of that name; return whether there is one."""
        entries = zip(self._keys, self._parts, self._inner, strict=True)
        for k, (key, part, inner) in enumerate(entries):
            if inner is not None and name.startswith(f"{part}."):
                if inner.put(name.removeprefix(f"{part}."), array):
                    return True
            elif inner is None and name == part:
                if not hasattr(self.given, "__setitem__"):
                    kind = type(self.given).__name__
                    place = self._place_of(key)
                    message = f"{place} must be in a list or a mapping to be replaced, "
                    raise ArgumentTypeError(message + f"got {kind}")
                self.given[key] = self._held[k] = array
                return True
        return False


def _read_again(given: Any, place: str, keys: Mapping[Any, Any]) -> Container:
    """Read a container that was copied, with arrays that can be written."""
    container = Container(given, place, keys=keys)
    for name, array in container.named().items():
        own = writeable(array)
        if own is not array:
            container.put(name, own)
    return container


def writeable(array: Any) -> Any:
    """Return an array that was sent by read-only memory, as joblib's, as a copy."""
    flags = getattr(array, "flags", None)
    return array if getattr(flags, "writeable", True) else np.array(array)


def is_container(value: Any) -> bool:
    """Return whether a value holds arrays under keys, or in order."""
    return isinstance(value, Mapping | list | tuple)


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)


class LoneName(str):
    """The name of an array in no container, which messages call by the argument."""

    __slots__ = ()


LONE = LoneName("0")


def read_arrays(arrays: Any, what: str) -> tuple[dict[str, Array], Container | None]:
    """Name every array by its path, or ``"0"``; return its container, too."""
    container = arrays if isinstance(arrays, Container) else None
    if is_container(arrays):
        container = Container(arrays, what)
    is_array = hasattr(arrays, "dtype") and hasattr(arrays, "shape")
    if container is None and not is_array:
        kind = "an unordered " if isinstance(arrays, set | frozenset) else "a "
        rule = f"{what} must be an array, a list or a mapping of arrays"
        message = f"{rule}, got {kind}{type(arrays).__name__}{_hint(what, arrays)}"
        raise ArgumentTypeError(message)
    named: dict[str, Array] = {LONE: arrays}
    if container is not None:
        named = container.named()
    if not named:
        raise ArgumentError(f"{what} must hold at least one array, got none")
    return named, container


def named_arrays(arrays: Any, what: str) -> dict[str, Array]:
    """Name every array, as `read_arrays`."""
    return read_arrays(arrays, what)[0]


def refuse_other_kinds(labelled: Mapping[str, Any]) -> None:
    """Refuse what is not an array of some library, with what to write instead."""
    for label, value in labelled.items():
        scalar = isinstance(value, np.generic)
        if scalar or not (hasattr(value, "dtype") and hasattr(value, "shape")):
            message = f"{label} must be a NumPy or CuPy array, got "
            message += type(value).__name__ + _hint("it", value)
            raise ArgumentTypeError(message)


def _hint(what: str, value: Any) -> str:
    """Say what to write instead of a value, if that is known."""
    model = "list(model.parameters()) or dict(model.named_parameters())"
    is_model = hasattr(value, "named_parameters")
    is_text = isinstance(value, str | bytes)
    lines = [
        (value is None and what == "it", "leave it out"),
        (isinstance(value, np.generic), "it cannot be updated: write np.array(it)"),
        (isinstance(value, int | float), f"write np.array({value!r}, float)"),
        (dataclasses.is_dataclass(value), f"write vars({what})"),
        (is_model or isinstance(value, Iterator), f"write {model}"),
        (isinstance(value, ItemsView), f"write dict({what})"),
        (isinstance(value, Iterable) and not is_text, f"write list({what})"),
    ]
    return next((f": {line}" for holds, line in lines if holds), "")
