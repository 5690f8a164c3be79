"""A network with its optimizer, which can be copied and sent to other processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.optim import Optimizer


class Model:
    """A network and the optimizer of its parameters.

    Copies and pickles are made of the parts' settings, parameters and state, as NumPy
    arrays, and have the bits of the original.

    Args:
        network: class of the network.
        optimizer: called with the parameters and ``lr=``.
        lr: learning rate, or its schedule.
        settings: what the network is made with.

    >>> import copy
    >>> import gdopt
    >>> model = Model(gdopt.nn.Network, gdopt.Adam, 0.1, sizes=(2, 2), seed=0)
    >>> twin = copy.deepcopy(model)
    >>> bool((twin.network.params.flat == model.network.params.flat).all())
    True
    """

    def __init__(
        self,
        network: Callable[..., Any],
        optimizer: Callable[..., Optimizer],
        lr: Any,
        **settings: Any,
    ) -> None:
        self._recipe = network, optimizer, lr, settings
        self.network = network(**settings)
        self.restart()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the input and of every layer."""
        sizes: tuple[int, ...] = self.network.sizes
        return sizes

    @property
    def weights(self) -> list[np.ndarray]:
        """The weights of each layer, on the host."""
        return self._arrays("W")

    @property
    def biases(self) -> list[np.ndarray]:
        """The biases of each layer, on the host."""
        return self._arrays("b")

    def restart(self) -> None:
        """Give the parameters a new optimizer, which has no state yet."""
        _, optimizer, lr, _ = self._recipe
        self.optimizer = optimizer(self.network.params, lr=lr)

    def to_device(self, array: np.ndarray) -> Array:
        """Copy an array of the host to where the parameters are."""
        params = self.network.params
        return params.backend.from_host(array, params.device)

    def to_host(self, array: Array) -> np.ndarray:
        """Copy an array back to the host."""
        host: np.ndarray = self.network.params.backend.to_host(array)
        return host

    def _arrays(self, letter: str) -> list[np.ndarray]:
        layers = range(1, len(self.sizes))
        return [self.to_host(self.network.params[f"{letter}{k}"]) for k in layers]

    def __getstate__(self) -> dict[str, Any]:
        params = self.network.params
        return {
            "recipe": self._recipe,
            "params": {name: np.array(self.to_host(a)) for name, a in params.items()},
            "optimizer": self.optimizer.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        network, optimizer, lr, settings = state["recipe"]
        self.__init__(network, optimizer, lr, **settings)  # type: ignore[misc]
        for name, array in state["params"].items():
            self.network.params[name] = self.to_device(array)
        self.optimizer.load_state_dict(state["optimizer"])
