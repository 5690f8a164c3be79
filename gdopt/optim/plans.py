"""What an optimizer makes for some of its arrays, by those that are left out."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gdopt.kernels.packing import group_seed
from gdopt.optim.hyper import Hyper, StepCounter
from gdopt.optim.options import Options
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule

MOST = 16  # that are kept, as any arrays may be left out
Plan = TypeVar("Plan")


@dataclass(eq=False)
class RuleRunner:
    """A rule, and what it runs on."""

    rule: Rule
    parameters: Parameters
    states: Mapping[str, Any]  # its state, and perhaps more
    hyper: Hyper  # its own, and perhaps more
    counter: StepCounter  # the steps done
    options: Options  # how arrays are stored
    direct = False  # whether the last step was one compiled call

    def compiled_view(self, grads: Any) -> Any:
        """Return what a step that is one compiled call takes; None without one."""

    def run_compiled(self, grads: Any) -> bool:  # noqa: ARG002
        """Return False: a step is more than one call."""
        return False

    def seed_of(self, group: str) -> int:
        """Return the seed of the random bits for arrays of a dtype."""
        number = list(self.parameters.layout.groups).index(group)
        return group_seed(self.options.seed, number)

    def origin_of(self, group: str) -> int:
        """Return from where on such bits are counted: the start in a whole arena."""
        return self.parameters.layout.origin.get(group, 0)


def weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that does not keep its object, which owns its caller, alive.

    Without a reference cycle, the memory of an optimizer is free as soon as it is gone.
    """
    own = weakref.WeakMethod(method)

    def call(*given: Any) -> Any:
        return own()(*given)  # type: ignore[misc]

    return call


class Plans(Generic[Plan]):
    """Makes executors, or other things, for some of the arrays; keeps the latest."""

    def __init__(
        self, parameters: Parameters, make: Callable[[Parameters], Plan]
    ) -> None:
        self._parameters, self._make = parameters, make
        self._made: dict[tuple[str, ...], Plan] = {}

    def of(self, left_out: tuple[str, ...] = ()) -> Plan:
        """Return the one for all arrays but those named."""
        found = self._made.pop(left_out, None)
        if found is None:
            own = self._parameters
            found = self._make(own.without({*left_out}) if left_out else own)
        self._made[left_out] = found
        if len(self._made) > MOST:
            del self._made[next(iter(self._made))]
        return found
