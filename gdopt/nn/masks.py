"""Which units are dropped: a hash of seed, batch, example and unit decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array
from gdopt.kernels.packing import WORD, random_keys, random_words

# Elements whose random bits are drawn at a time: on a CPU they stay in its cache.
DRAWN, DRAWN_ON_GPU = 1 << 16, 1 << 24


class DropoutMasks:
    """Draws what the hidden units of a batch are multiplied by: 0 or 1 / keep_prob.

    Which units of an example are dropped does not depend on which other examples of the
    batch are drawn with it, nor on the backend.

    Hidden layers that keep all units have no mask.
    """

    def __init__(
        self, sizes: Sequence[int], keep_prob: Sequence[float], seed: int, params: Arena
    ) -> None:
        self._seed, self._params = seed, params
        ends, dtype = np.cumsum(sizes), np.dtype(next(iter(params.buffers)))
        dropping = [k for k, keep in enumerate(keep_prob) if keep < 1]
        spans = [range(ends[k] - sizes[k], ends[k]) for k in dropping]
        most = [math.ceil(keep_prob[k] * 2**32) - 1 for k in dropping]
        factors = [1 / keep_prob[k] for k in dropping]
        self.layers = [k + 1 for k in dropping]
        widths = [len(span) for span in spans]
        ends = np.cumsum(widths).tolist()
        self._columns = [slice(e - w, e) for e, w in zip(ends, widths, strict=True)]
        each = [np.concatenate([*spans, []]), np.repeat(most, widths)]
        self._units, self._most = (self._send(values, np.uint32) for values in each)
        self._factors = self._send(np.repeat(factors, widths), dtype)

    def _send(self, values: Any, dtype: Any) -> Array:
        array = np.asarray(values).astype(dtype)
        return self._params.backend.from_host(array, self._params.device)

    def draw(self, batch: int, first: int, rows: int) -> dict[int, Array]:
        """Return masks (rows, n) by layers, of examples of a batch from `first` on."""
        backend, columns = self._params.backend, len(self._units)
        xp, most = backend.xp, DRAWN if backend.name == "numpy" else DRAWN_ON_GPU
        examples = (np.arange(first, first + rows) & WORD).astype(np.uint32)
        keys = self._send(random_keys(self._seed, batch, examples)[:, None], np.uint32)
        masks = xp.empty((rows, columns), self._factors.dtype)
        size = max(1, most // columns)
        for low in range(0, rows, size):
            part = slice(low, low + size)
            kept = random_words(keys[part], self._units) <= self._most
            xp.multiply(kept, self._factors, out=masks[part])
        layers = zip(self.layers, self._columns, strict=True)
        return {layer: masks[:, columns] for layer, columns in layers}
