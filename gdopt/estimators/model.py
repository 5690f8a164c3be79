"""A network with its optimizer, which can be copied and sent to other processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.nn import Network
from gdopt.optim import Optimizer


class Model:
    """A network and the optimizer of its parameters.

    Copies and pickles are made of the parts' settings, parameters and state, as NumPy
    arrays, and have the bits of the original.

    Args:
        optimizer: called with the parameters and ``lr=``.
        lr: learning rate, or its schedule.
        settings: what the network is made with.

    >>> import copy
    >>> import gdopt
    >>> model = Model(gdopt.Adam, 0.1, sizes=(2, 2), seed=0)
    >>> twin = copy.deepcopy(model)
    >>> bool((twin.network.params.flat == model.network.params.flat).all())
    True
    """

    def __init__(
        self,
        optimizer: Callable[..., Optimizer],
        lr: Any,
        **settings: Any,
    ) -> None:
        self._recipe = optimizer, lr, settings
        self.network = Network(**settings)
        self.restart()

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
        optimizer, lr, _ = self._recipe
        self.optimizer = optimizer(self.network.params, lr=lr)

    def to_device(self, array: np.ndarray) -> Array:
        """Copy an array of the host to where the parameters are."""
        params = self.network.params
        return params.backend.from_host(array, params.device)

    def to_host(self, array: Array) -> np.ndarray:
        """Copy an array back to the host."""
        host: np.ndarray = self.network.params.backend.to_host(array)
        return host

    def ask(self, question: str, X: np.ndarray) -> np.ndarray:
        """Call a method of the network, by its name, with examples of the host."""
        return self.to_host(getattr(self.network, question)(self.to_device(X)))

    def _arrays(self, letter: str) -> list[np.ndarray]:
        layers = range(1, len(self.network.sizes))
        return [self.to_host(self.network.params[f"{letter}{k}"]) for k in layers]

    def __getstate__(self) -> dict[str, Any]:
        params = self.network.params
        return {
            "recipe": self._recipe,
            "params": {name: np.array(self.to_host(a)) for name, a in params.items()},
            "optimizer": self.optimizer.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        optimizer, lr, settings = state["recipe"]
        self.__init__(optimizer, lr, **settings)  # type: ignore[misc]
        for name, array in state["params"].items():
            self.network.params[name] = self.to_device(array)
        self.optimizer.load_state_dict(state["optimizer"])
