"""Hyper-parameters as attributes of an optimizer; other attributes are declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gdopt.checks import listed
from gdopt.optim.hyper import Hyper
from gdopt.optim.options import SHARED, suggest
from gdopt.optim.transforms import HYPER

INSTEAD = {  # of members of torch's optimizers
    "zero_grad": "gradients are passed to step: there is nothing to zero",
    "param_groups": "did you mean lr? opt.lr = {'*bias': 0.2, '*': 0.1} is by name",
    "add_param_group": "make an optimizer of its own for other arrays",
}
PARTS = {name: list(own) for name, own in HYPER.items() if name not in own}
FIXED = {  # what to write in place of an assignment
    "hyper": ": write opt.hyper[name] = value",
    "t": ": load_state_dict sets it",
    "params": ": write opt.params[name][...] = value",
    "state": ": write opt.state[name][part][...] = value",
    "average": ": write opt.average[name][...] = value",
}


class HyperAttributes:
    """Lets hyper-parameters be read and set as attributes: ``opt.lr = 0.5``.

    Reading gives the value at the next step, and setting takes effect with it, as in
    `hyper`. Any other attribute has to be declared in the body of a class, by an
    annotation, a value, a property or ``__slots__``, as ``pace: float``: a name with a
    typing error is an AttributeError, in subclasses as well.
    """

    hyper: Hyper

    def __getattr__(self, name: str) -> Any:
        hyper = self.__dict__.get("hyper", {})
        if name in hyper:
            return hyper[name]
        raise AttributeError(self._explain(name), name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if name in own and name != "hyper":
            own[name] = value
        elif name in own.get("hyper", ()):
            self.hyper[name] = value
        elif _is_declared(type(self), name):
            declared = getattr(type(self), name, None)
            fixed = isinstance(declared, property) and declared.fset is None
            if fixed or (name == "hyper" and not isinstance(value, Hyper)):
                line = FIXED.get(name, "")
                message = f"{type(self).__name__}.{name} cannot be assigned to{line}"
                raise AttributeError(message, name=name, obj=self)
            object.__setattr__(self, name, value)
        else:
            message = self._explain(name)
            if "hyper" not in self.__dict__:
                message += " before super().__init__(...)"
            elif not type(self).__module__.startswith("gdopt."):
                message += f"; a class declares its own in its body, as {name}: Any"
            raise AttributeError(message, name=name, obj=self)

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self.__dict__.get("hyper", ())]

    def _explain(self, name: str) -> str:
        """Say that an attribute does not exist, and what may be meant."""
        kind = type(self).__name__
        if callable(getattr(type(self), name, None)):
            return f"{name} is a method of {kind}, which cannot be replaced"
        message = f"{kind} has no attribute {name!r}"
        rule = self.__dict__.get("rule")
        if rule is not None and name in rule.scalars:
            return f"{message}: it is given to each step, as step(grads, {name}=...)"
        if name in INSTEAD:
            return f"{message}: {INSTEAD[name]}"
        if name in SHARED:
            own = f", with {listed(PARTS[name])} to set later" if name in PARTS else ""
            return f"{message}: it is given as {kind}(params, {name}=...){own}"
        known = [one for one in dir(self) if not one.startswith("_")]
        near = [] if name.startswith("_") else suggest(name, known)
        return message + (f"; did you mean {', '.join(near)}?" if near else "")


def _is_declared(kind: type, name: str) -> bool:
    """Return whether a class declares an attribute that is not a method."""
    if any(name in getattr(base, "__annotations__", ()) for base in kind.__mro__):
        return True
    return hasattr(kind, name) and not callable(getattr(kind, name))
