"""Means and variances of a network's layers, for use when it is not trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gdopt.arrays import Arena, Array
from gdopt.averages import EWA
from gdopt.checks import check_saved_array, check_state

Pair = tuple[Array, Array]


class Statistics:
    """Exponentially weighted averages of mean and variance, layer by layer.

    Before anything was seen they are 0 and 1. `fix` puts others in their place, as
    those of the whole training set, until the next batch is seen.

    Args:
        sizes: units of each layer that is normalized.
        params: whose device and dtype the averages have.
        beta: of the averages, in [0, 1).
    """

    def __init__(self, sizes: tuple[int, ...], params: Arena, beta: float) -> None:
        self._sizes, self._params, self._beta = sizes, params, beta
        self._averages = [(EWA(beta), EWA(beta)) for _ in sizes]
        self._fixed: list[Pair] | None = None

    def see(self, layers: list[Pair]) -> None:
        """Take in mean and variance of a batch, for every layer."""
        self._fixed = None
        for pair, seen in zip(self._averages, layers, strict=True):
            for average, value in zip(pair, seen, strict=True):
                average.update(value)

    def fix(self, layers: list[Pair]) -> None:
        """Use these until the next batch is seen."""
        self._fixed = layers

    def of(self, place: int) -> Pair:
        """Return mean and variance of a layer, by its place."""
        if self._fixed is not None:
            return self._fixed[place]
        mean, variance = (average.value for average in self._averages[place])
        if mean is not None:
            return mean, variance
        params = self._params
        zeros = params.backend.zeros(
            self._sizes[place], next(iter(params.buffers)), params.device
        )
        return zeros, zeros + 1

    def state_dict(self) -> dict[str, Any]:
        """Copy the averages, by the numbers of their layers."""
        return {
            str(place): {"mean": mean.state_dict(), "variance": variance.state_dict()}
            for place, (mean, variance) in enumerate(self._averages, start=1)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over averages.

        Raises:
            StateError: they are of other layers; nothing has changed.
        """
        numbers = [str(place + 1) for place in range(len(self._averages))]
        state = check_state("statistics", state, numbers)
        loaded = [self._loaded(place, state[n]) for place, n in enumerate(numbers)]
        self._averages, self._fixed = loaded, None

    def _loaded(self, place: int, saved: Any) -> tuple[EWA, EWA]:
        """Make the averages of a layer from saved ones."""
        names, params, own = ("mean", "variance"), self._params, self.of(place)[0]
        what = f"statistics of layer {place + 1}"
        saved = check_state(what, saved, names)
        averages = EWA(self._beta), EWA(self._beta)
        for name, average in zip(names, averages, strict=True):
            part = check_state(f"{what}, {name}", saved[name], ("t", "value"))
            if part["value"] is not None:
                array = check_saved_array(f"{what}, {name}", part["value"], own)
                part["value"] = params.backend.from_host(array, params.device)
            average.load_state_dict(part)
        return averages
