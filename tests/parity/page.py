"""Writes the lines of other libraries into the guide, from the table of parity.

``PYTHONPATH=tests python -m parity.page`` in a checkout, with the extras bench and
bench-torch, writes the page again.
"""

import importlib
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracles import CASES, MATRIX_CASES

import gdopt

PAGE = Path(gdopt.__file__).parent / "guide" / "coming.md"
MODULES = {"torch": "torch.optim", "keras": "keras.optimizers", "optax": "optax"}
# Chainer is archived: its lines and defaults are those of its last source code.
CHAINER = {
    "sgd": ("SGD(lr)", {"lr": 0.01}),
    "momentum keras": ("MomentumSGD(lr, momentum)", {"lr": 0.01, "beta": 0.9}),
    "adagrad outside": ("AdaGrad(lr, eps)", {"lr": 0.001, "eps": 1e-8}),
    "adadelta": ("AdaDelta(rho, eps)", {"rho": 0.95, "eps": 1e-6}),
    "rmsprop outside": (
        "RMSprop(lr, alpha, eps)",
        {"lr": 0.01, "beta": 0.99, "eps": 1e-8},
    ),
    "rmsprop inside": (
        "RMSprop(lr, alpha, eps, eps_inside_sqrt=True)",
        {"lr": 0.01, "beta": 0.99, "eps": 1e-8},
    ),
    "rmsprop centered keras inside": (
        "RMSpropGraves(lr, alpha, momentum, eps)",
        {"lr": 0.0001, "beta": 0.95, "momentum": 0.9, "eps": 0.0001},
    ),
    "adam raw": (
        "Adam(alpha, beta1, beta2, eps)",
        {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    ),
    "adam amsgrad raw": (
        "AMSGrad(alpha, beta1, beta2, eps)",
        {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    ),
    "adamw raw": (
        "AdamW(1, beta1, beta2, eps, eta=lr, weight_decay_rate=decay)",
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    ),
    "adamw amsgrad raw": (
        "Adam(1, beta1, beta2, eps, eta=lr, weight_decay_rate=decay, amsgrad=True)",
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    ),
}
COURSE = {
    "sgd": "W = W - alpha dW",
    "momentum ewa": "v = beta v + (1 - beta) dW; W = W - alpha v",
    "momentum ewa corrected": "the same with v / (1 - beta^t)",
    "rmsprop outside": (
        "S = beta S + (1 - beta) dW^2; W = W - alpha dW / (sqrt(S) + eps)"
    ),
    "rmsprop inside": "the same with sqrt(S + eps)",
    "rmsprop without eps": "the same with sqrt(S)",
    "adam corrected": "W = W - alpha V_corrected / (sqrt(S_corrected) + eps)",
}


OF_KERAS = "eps is 1e-7 (1 - momentum), here for momentum 0.9"
LIMITS = {  # of rows that agree at some values alone
    ("optax", "adan at one half"): "for beta2 0.5: optax has 1 - beta2 in its place",
    ("keras", "muon as in keras"): OF_KERAS,
    ("keras", "muon as in keras without a ratio"): OF_KERAS,
}


class Name(str):
    """A hyper-parameter in a recorded call."""

    __slots__ = ()
    __repr__ = str.__str__

    def __neg__(self):
        return Name(f"-{self}")


@dataclass
class Call:
    """A recorded call of another library, by the names of hyper-parameters."""

    path: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)

    def __repr__(self):
        parts = [_text(one) for one in self.arguments]
        parts += [f"{name}={_text(one)}" for name, one in self.keywords.items()]
        return f"{self.path}({', '.join(parts)})"

    def names(self):
        """Return the hyper-parameters in the call."""
        found, parts = set(), [*self.arguments, *self.keywords.values()]
        for part in parts:
            if isinstance(part, tuple):
                parts += part
            elif isinstance(part, Call):
                found |= part.names()
            elif isinstance(part, Name):
                found.add(Name(part.lstrip("-")))
        return found

    def defaults(self):
        """Return the library's defaults by the names of hyper-parameters here."""
        module, _, name = self.path.rpartition(".")
        known = inspect.signature(getattr(importlib.import_module(module), name))
        bound = known.bind(*self.arguments, **self.keywords).arguments
        found = {}
        for parameter, value in bound.items():
            default = known.parameters[parameter].default
            if isinstance(value, Name) and value.startswith("-"):
                found[Name(value[1:])] = -default
            elif isinstance(value, Name):
                found[value] = default
            elif isinstance(value, tuple) and default is not inspect.Parameter.empty:
                found |= dict(zip(value, default, strict=False))
            nested = value if isinstance(value, tuple) else (value,)
            for call in (one for one in nested if isinstance(one, Call)):
                found |= call.defaults()
        return {
            name: one
            for name, one in found.items()
            if isinstance(name, Name) and isinstance(one, int | float)
        }


class Recorder:
    """Stands for a module of another library, and records the calls of its names."""

    def __init__(self, path):
        self._path = path

    def __getattr__(self, name):
        return Recorder(f"{self._path}.{name}")

    def __call__(self, *arguments, **keywords):
        return Call(self._path, arguments, keywords)


def _text(value):
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return repr(value)


def line_here(case, there):
    """Write how a row is made here; choices that are defaults are left out.

    Hyper-parameters that the other line does not name have the row's values.
    """
    shown = inspect.signature(case.kind).parameters
    parts = ["p", "lr"]
    parts += [
        f"{name}={name if name in there else format(value, 'g')}"
        for name, value in case.hyper.items()
        if name != "lr"
    ]
    parts += [
        f"{name}={value!r}"
        for name, value in case.choices.items()
        if shown[name].default != value
    ]
    return f"gdopt.{case.kind.__name__}({', '.join(parts)})"


def differences(case, there):
    """Write the defaults of another library that differ from those here."""
    shown = inspect.signature(case.kind).parameters
    here = {name: shown[name].default for name in there}
    return ", ".join(
        f"{name} {value if value is None else format(value, 'g')} "
        f"(here {here[name] if here[name] is None else format(here[name], 'g')})"
        for name, value in there.items()
        if value != here[name]
    )


def rows_of(library):
    """Yield a line of another library, the line here, and the defaults that differ."""
    for name, case in (CASES | MATRIX_CASES).items():
        if library == "course" and name in COURSE:
            yield COURSE[name], line_here(case, case.hyper), ""
        elif library == "chainer" and case.chainer:
            line, there = f"chainer.optimizers.{CHAINER[name][0]}", CHAINER[name][1]
            yield line, line_here(case, case.hyper), differences(case, there)
        elif library not in MODULES:
            continue
        elif make := getattr(case, library):
            hyper = {name: Name(name) for name in case.hyper}
            first = [Name("p")] if library == "torch" else []
            call = make(Recorder(MODULES[library]), *first, hyper)
            line = line_here(case, call.names())
            found = [
                differences(case, call.defaults()),
                LIMITS.get((library, name), ""),
            ]
            if library in case.fixed:
                found.append("at a fixed rate")
            if library == "torch" and name in MATRIX_CASES:
                found.append("torch computes in bfloat16")
            yield repr(call), line, "; ".join(filter(None, found))


def page():
    """Return the text of the page, with the present table of every library."""
    text = PAGE.read_text(encoding="utf-8")
    for library in ("torch", "keras", "optax", "chainer", "course"):
        rows = dict.fromkeys(rows_of(library))
        table = ["| there | here | defaults there that differ, and limits |"]
        table += ["| --- | --- | --- |"]
        table += [f"| `{there}` | `{here}` | {other} |" for there, here, other in rows]
        begin, end = (
            f"<!-- lines of {library}: {mark} -->" for mark in ("begin", "end")
        )
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = "\n".join([f"{head}{begin}", "", *table, "", f"{end}{tail}"])
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
