"""What a run descends: a function of parameters, or a model that has some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdopt.arrays.backend import backend_of, on_their_device
from gdopt.arrays.foreign import as_array, is_exported
from gdopt.checks import check_function, check_state, shown
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError
from gdopt.nn import Network
from gdopt.optim.gradients import finite
from gdopt.training.graph import check_pair

Function = Callable[..., tuple[Any, Any]]


class Objective:
    """A function ``fg(params, *batch)`` that returns a value and its gradient."""

    _name = "fg"
    measures = "dev_loss"  # or "dev_accuracy": what `measure` returns

    def __init__(self, fg: Function, params: Any) -> None:
        self._fg = check_function("fg", fg, "a function of the parameters")
        self.params = params
        self.evaluations = 0  # calls for a gradient

    def evaluate(
        self, batch: tuple[Any, ...] = (), part: Any = None
    ) -> tuple[Any, Any]:
        """Return the value and the gradients at the parameters, maybe of a part."""
        self.evaluations += 1
        found = self._call(batch, part)
        if isinstance(found, tuple | list) and len(found) == 2:
            return found[0], found[1]
        rule = f"{self._name} must return a pair (value, gradients)"
        raise ArgumentTypeError(f"{rule}, got {shown(found)}")

    def _call(self, batch: tuple[Any, ...], _part: Any = None) -> Any:
        return self._fg(self.params, *batch)

    def share(self, rows: Callable[[np.ndarray], np.ndarray]) -> None:
        """Share with other ranks what was learned besides the gradients."""

    def measure(self, dev: tuple[Any, ...]) -> dict[str, float]:
        """Return what is measured on the dev examples, by the names of a record."""
        return {self.measures: read_value(self._fg(self.params, *dev)[0])}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs in addition to the parameters."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        check_state("objective", state)


class ModelObjective(Objective):
    """A model with ``params`` and ``loss_and_grads(*batch)``.

    If it has them, ``accuracy(*dev)``, or else ``loss(*dev)``, measures on the dev
    examples, and ``state_dict`` and ``load_state_dict`` keep what else it has learned.
    """

    _name = "network.loss_and_grads"

    def __init__(self, model: Any, **options: Any) -> None:
        for name in ("params", "loss_and_grads"):
            if not hasattr(model, name):
                rule = "must have params and loss_and_grads(*batch)"
                message = f"network {rule}, got {type(model).__name__} without {name}"
                raise ArgumentTypeError(message)
        super().__init__(model.loss_and_grads, model.params)
        self.model, self._options = model, options
        linear = getattr(model, "output", None) == "linear"
        if hasattr(model, "accuracy") and not linear:
            self.measures = "dev_accuracy"

    def _call(self, batch: tuple[Any, ...], _part: Any = None) -> Any:
        return self._fg(*batch, **self._options)

    def measure(self, dev: tuple[Any, ...]) -> dict[str, float]:
        """See `Objective.measure`."""
        if self.measures == "dev_accuracy":
            value = self.model.accuracy(*dev)
        elif hasattr(self.model, "loss"):
            value = self.model.loss(*dev)
        else:
            value = self._call(dev)[0]
        return {self.measures: read_value(value)}

    def state_dict(self) -> dict[str, Any]:
        """See `Objective.state_dict`."""
        save = getattr(self.model, "state_dict", dict)
        return dict(save())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Objective.load_state_dict`."""
        if hasattr(self.model, "state_dict"):
            self.model.load_state_dict(state)
        else:
            super().load_state_dict(state)


class NetworkLoss(ModelObjective):
    """A network of gdopt, whose batches are pairs of examples (rows) and labels."""

    def __init__(
        self, network: Network, batches: MiniBatches, *, batch_size: int, validate: bool
    ) -> None:
        super().__init__(network, batch_size=batch_size, validate=validate)
        if batches.axis != 0:
            message = "network takes examples as rows, got batches of columns "
            message += "(axis=1): write minibatches(X.T, y.ravel(), ...) without axis"
            raise ArgumentError(message)
        examples, _ = check_pair(batches.arrays)
        last = len(examples) - (len(batches) - 1) * batches.batch_size
        last = min(last, batches.batch_size)
        replicas = getattr(batches, "replicas", 1)
        if network.batch_norm and last < 2 * replicas:
            size, of = batches.batch_size, "batch"
            got = f"the last one of {len(examples)} examples in batches of {size} holds"
            got, fix = f"{got} one", "minibatches(..., drop_last=True)"
            if replicas > 1:
                of, fix = "part", f"fewer replicas, or {fix} and a larger batch_size"
                got = f"a batch of {last} in {replicas} replicas has parts of one"
            rule = f"batch_norm needs 2 examples or more in every {of}"
            raise ArgumentError(f"{rule}, but {got}: write {fix}")

    def _call(self, batch: tuple[Any, ...], part: Any = None) -> Any:
        return self._fg(*batch, part=part, **self._options)

    def share(self, rows: Callable[[np.ndarray], np.ndarray]) -> None:
        """See `Objective.share`."""
        if self.model.batch_norm:
            self.model.share_statistics(rows)

    def measure(self, dev: tuple[Any, ...]) -> dict[str, float]:
        """See `Objective.measure`."""
        found = self.model.measure(*dev)
        return {f"dev_{name}": value for name, value in found.items()}


def read_value(value: Any) -> float:
    """Return a value that is a number, or an array of one element, as a float."""
    try:
        return _number(value)
    except BackendError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"the value of fg must be one real number, got {shown(value)}"
        raise ArgumentTypeError(message) from error


@on_their_device
def _number(value: Any) -> float:
    if isinstance(value, str):  # float() would read it
        raise TypeError
    return float(value.item() if hasattr(value, "item") else value)


def not_finite_in(batch: Any, names: str) -> str | None:
    """Say which array of a batch holds NaN or infinity, if one does."""
    for k, given in enumerate(batch if isinstance(batch, tuple) else (batch,)):
        array = as_array(given) if is_exported(given) else given
        if getattr(getattr(array, "dtype", None), "kind", "") in tuple("fcV"):
            backend = backend_of(array)
            if not finite(backend, array):
                value = array[~backend.xp.isfinite(array)].ravel()[0]
                return f"array {k} of {names} holds {float(value.real)}"
    return None
