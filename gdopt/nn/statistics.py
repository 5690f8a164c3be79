"""Averages of mean and variance, by which batch normalization works when in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array
from gdopt.averages import EWA
from gdopt.averages.formula import BETA
from gdopt.checks import check_flag, check_number, check_saved_array, check_state
from gdopt.errors import ArgumentError
from gdopt.interrupt import Uninterrupted

Pair = tuple[Array, Array]
Share = Callable[[np.ndarray], np.ndarray]  # from rows of a rank's parts to all rows


class Statistics:
    """Exponentially weighted averages of mean and variance, layer by layer.

    Before anything was seen they are 0 and 1, from which they start without correction.
    `fix` puts others in their place, as those of the whole training set, until the next
    batch is seen.
    """

    def __init__(
        self, sizes: tuple[int, ...], params: Arena, settings: dict[str, Any]
    ) -> None:
        self._sizes, self._params, self._settings = sizes, params, settings
        check_flag("statistics_bias_correction", settings["bias_correction"])
        check_number("statistics_beta", settings["beta"], BETA)
        self._averages = [self._pair() for _ in sizes]
        self._fixed: list[Pair] | None = None
        # Of the parts of a batch that were seen, by their first examples.
        self._parts: dict[int, tuple[float, list[Pair]]] = {}
        self._batch: int | None = None

    def _pair(self) -> tuple[EWA, EWA]:
        start = "zero" if self._settings["bias_correction"] else 1.0
        return EWA(**self._settings), EWA(**self._settings, initial=start)

    def check_part(self, batch: int, examples: int) -> None:
        """Refuse a part of one example, and one before the last batch was shared."""
        if examples == 1:
            message = "x must hold 2 examples or more of a part to be normalized over "
            message += "them, got 1: take fewer replicas, a larger batch_size, or "
            raise ArgumentError(message + "drop_last=True")
        if self._parts and batch != self._batch:
            message = (
                "share_statistics must be called after all parts of a batch: those "
            )
            message += f"of batch {self._batch} were not shared, got batch {batch}"
            raise ArgumentError(message)

    def see(self, layers: list[Pair], part: Any) -> None:
        """Take in mean and variance of a batch, for every layer, or keep a part's."""
        if part is None:
            self._update(layers)
        else:
            self._batch = part.batch
            self._parts[part.first] = float(part.weight), layers

    def share(self, share: Share | None) -> None:
        """Take in the mean over the parts of all ranks, in their order."""
        backend, width = self._params.backend, 1 + 2 * sum(self._sizes)
        rows = np.empty((len(self._parts), width))
        for row, (weight, layers) in zip(rows, self._parts.values(), strict=True):
            row[0], values = weight, [array for pair in layers for array in pair]
            with backend.on(self._params.device):
                row[1:] = backend.to_host(backend.xp.concatenate(values))
        rows = rows if share is None else share(rows)
        if not rows[:, 0].any():
            message = "share_statistics needs parts: give loss_and_grads their part="
            raise ArgumentError(message)
        total = np.zeros(width - 1)
        for row in rows:  # in this order
            total += row[0] * row[1:]
        own = backend.from_host(total.astype(self._dtype), self._params.device)
        ends = np.cumsum([size for size in self._sizes for _ in range(2)])[:-1]
        with Uninterrupted(), backend.on(self._params.device):
            found = backend.xp.split(own, ends.tolist())
            self._update(list(zip(found[::2], found[1::2], strict=True)))
            self._parts = {}

    @property
    def _dtype(self) -> Any:
        return next(iter(self._params.buffers))

    def _update(self, layers: list[Pair]) -> None:
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
        params, size = self._params, self._sizes[place]
        zeros = params.backend.zeros(size, self._dtype, params.device)
        return zeros, zeros + 1

    def state_dict(self) -> dict[str, Any]:
        """Copy the averages, by the numbers of their layers."""
        return self._settings | {
            str(place): {"mean": mean.state_dict(), "variance": variance.state_dict()}
            for place, (mean, variance) in enumerate(self._averages, start=1)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over averages of the same layers and settings; else change nothing."""
        numbers = [str(place + 1) for place in range(len(self._averages))]
        state = check_state("statistics", state, numbers, same=self._settings)
        with self._params.backend.on(self._params.device):
            loaded = [self._loaded(place, state[n]) for place, n in enumerate(numbers)]
        self._averages, self._fixed, self._parts = loaded, None, {}

    def _loaded(self, place: int, saved: Any) -> tuple[EWA, EWA]:
        names, params, own = ("mean", "variance"), self._params, self.of(place)[0]
        what = f"statistics of layer {place + 1}"
        saved = check_state(what, saved, names)
        averages = self._pair()
        for name, average in zip(names, averages, strict=True):
            part = check_state(f"{what}, {name}", saved[name], ("t", "value"))
            if part["value"] is not None:
                array = check_saved_array(f"{what}, {name}", part["value"], own)
                part["value"] = params.backend.from_host(array, params.device)
            average.load_state_dict(part)
        return averages
