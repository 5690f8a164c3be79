"""The gradients of torch's parameters: those that they carry, and those given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.arrays.foreign import Tensors
from gdopt.optim.gradients import Gradients
from gdopt.optim.parameters import Parameters


class TensorGradients(Gradients):
    """Checks torch's gradients, and views them for the length of a step."""

    def __init__(
        self, parameters: Parameters, states: Mapping[str, Arena], tensors: Tensors
    ) -> None:
        super().__init__(parameters, states)
        self._tensors = tensors
        own, named = parameters.arrays, tensors.named
        self._alike = [
            [named[name].dtype for name in own if name in named],
            [array.strides for array in own.values()],
        ]
        self._below = np.array([below for _, below, _ in self._extents.values()])
        self._above = np.array([above for *_, above in self._extents.values()])

    def check(self, grads: Any) -> Arena | list[Array]:
        """See `Gradients.check`; None stands for those that the parameters carry."""
        self._tensors.refuse_moved()
        self._check_parameters()
        given = self._tensors.grads(self._names) if grads is None else grads
        return super().check(given)

    def _check_fresh(self, arrays: list[Array]) -> list[Array]:
        try:
            views = self._view_alike(arrays)
        except (AttributeError, RuntimeError, TypeError):  # not all are plain tensors
            views = None
        return super()._check_fresh(arrays) if views is None else views

    def _view_alike(self, arrays: list[Any]) -> list[Array] | None:
        """View tensors like their parameters; return None where some are not."""
        dtypes, strides = self._alike
        if [array.dtype for array in arrays] != dtypes:
            return None
        views = self._tensors.views(arrays)
        starts = np.array([array.data_ptr() for array in arrays])
        reached, _ = self._reached(starts + self._below, starts + self._above)
        alike = [view.shape for view in views] == self._wanted
        alike = alike and [view.strides for view in views] == strides
        return views if alike and not reached.any() else None
