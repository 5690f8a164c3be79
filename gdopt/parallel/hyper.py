"""Hyper-parameters of all parameters, of which each rank's optimizer takes its part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gdopt.checks import as_number
from gdopt.optim.hyper import Hyper
from gdopt.optim.settings import NUMBERS


class ShardedHyper(Mapping[str, Any]):
    """The hyper-parameters of all parameters, of which a slice takes its part."""

    def __init__(
        self, own: Hyper, cut: Callable[[str, Any], Any], given: Mapping[str, Any]
    ) -> None:
        self._own, self.cut = own, cut
        self._whole = dict[str, Any]()
        self.note(given)

    def note(self, given: Mapping[str, Any]) -> None:
        """Keep what differs between slices, as it was given."""
        for name, value in given.items():
            self._whole.pop(name, None)
            if name in self._own and _is_cut(value):
                self._whole[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._whole[name] if name in self._whole else self._own[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._own[name] = self.cut(name, value)
        self.note({name: value})

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as they were given."""
        return self._own.settings | self._whole

    def numbers(self) -> dict[str, Any]:
        """Return the settings by name that are numbers."""
        return {
            name: {key: as_number(name, part) for key, part in value.items()}
            for name, value in self._whole.items()
            if isinstance(value, Mapping) and {*map(type, value.values())} <= NUMBERS
        }


def _is_cut(value: Any) -> bool:
    """Return whether a setting is not the same for every slice."""
    return isinstance(value, Mapping) or getattr(value, "ndim", 0) > 0
