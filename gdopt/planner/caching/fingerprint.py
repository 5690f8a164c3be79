"""What a step is, as a hash: its code, its settings, the shapes of its arrays."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.planner.steps import FunctionStep, NetworkStep

DEEP, MANY = 60, 20_000  # parts within parts, and parts in all


class UnknownCodeError(Exception):
    """Something has no code that could be compared."""


def fingerprint(*things: Any) -> str:
    """Hash functions by their code, arrays by shape and dtype, numbers by value.

    A function stands for its byte code, its constants, its defaults, what it encloses,
    and what it names: other functions alike, modules by their version, or by their file
    where they have none. The values of arrays do not count, nor numbers in lists.

    Raises:
        UnknownCodeError: a part is of another kind.
    """
    digest = hashlib.sha256()
    _Walk(digest).add(things, 0)
    return digest.hexdigest()


class _Walk:
    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._seen: dict[int, Any] = {}
        self._adders: dict[Any, Callable[[Any, int], None]] = {
            types.ModuleType: self._add_module,
            type: self._add_class,
            (types.BuiltinFunctionType, np.ufunc, np.dtype): self._add_builtin,
            functools.partial: self._add_partial,
            types.MethodType: self._add_method,
            types.FunctionType: self._add_function,
            types.CodeType: self._add_code,
            FunctionStep: self._add_step,
            NetworkStep: self._add_network_step,
            Network: self._add_network,
            Optimizer: self._add_optimizer,
            Mapping: self._add_mapping,
            tuple: self._add_tuple,
            list: self._add_list,
            (set, frozenset): self._add_set,
        }

    def _put(self, *words: Any) -> None:
        self._digest.update(repr(words).encode() + b"\n")

    def add(self, thing: Any, depth: int) -> None:
        if thing is None or isinstance(thing, str | bytes | int | float | np.generic):
            self._put(type(thing).__name__, thing)
        elif id(thing) in self._seen:
            self._put("again", list(self._seen).index(id(thing)))
        else:
            self._seen[id(thing)] = thing
            if depth > DEEP or len(self._seen) > MANY:
                message = "the step refers to too many things to compare them"
                raise UnknownCodeError(message)
            self._add_new(thing, depth)

    def _add_new(self, thing: Any, depth: int) -> None:
        if hasattr(thing, "ndim") and hasattr(thing, "dtype"):
            self._put("array", type(thing).__name__, thing.shape, str(thing.dtype))
            return
        for kinds, add in self._adders.items():
            if isinstance(thing, kinds):
                add(thing, depth + 1)
                return
        self._put("object", type(thing).__module__, type(thing).__qualname__)
        self._add_call(thing, depth + 1)
        self.add(dict(getattr(thing, "__dict__", {})), depth + 1)

    def _add_class(self, kind: type, _depth: int) -> None:
        self._put("class", kind.__module__, kind.__qualname__)

    def _add_module(self, module: types.ModuleType, _depth: int) -> None:
        self._put("module", module.__name__, _version(module))

    def _add_builtin(self, function: Any, _depth: int) -> None:
        self._put("built in", getattr(function, "__name__", str(function)))

    def _add_partial(self, partial: Any, depth: int) -> None:
        self.add((partial.func, partial.args, partial.keywords), depth)

    def _add_method(self, method: types.MethodType, depth: int) -> None:
        self.add((method.__func__, method.__self__), depth)

    def _add_mapping(self, mapping: Mapping[Any, Any], depth: int) -> None:
        for key, part in mapping.items():
            self._put("key", str(key))
            self.add(part, depth)

    def _add_tuple(self, parts: tuple[Any, ...], depth: int) -> None:
        self._put("tuple", len(parts))
        for part in parts:
            self.add(part, depth)

    def _add_list(self, parts: list[Any], depth: int) -> None:
        # Numbers are what a step has written down: costs, counts.
        parts = [part for part in parts if not isinstance(part, int | float)]
        self._put("list", len(parts))
        for part in parts:
            self.add(part, depth)

    def _add_set(self, members: Any, _depth: int) -> None:
        self._put("set", sorted(map(repr, members)))

    def _add_function(self, function: types.FunctionType, depth: int) -> None:
        self._put("function", function.__module__, function.__qualname__)
        self._add_code(function.__code__, depth)
        self.add(function.__defaults__, depth)
        self.add(function.__kwdefaults__, depth)
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents, depth)
            except ValueError:  # not filled yet
                self._put("empty")
        for name in function.__code__.co_names:
            if name in function.__globals__:
                self._put("global", name)
                self.add(function.__globals__[name], depth)

    def _add_code(self, code: types.CodeType, depth: int) -> None:
        self._put("code", code.co_code, code.co_names, code.co_varnames)
        for constant in code.co_consts:
            self.add(constant, depth)

    def _add_step(self, step: FunctionStep, depth: int) -> None:
        self.add((step.function, step.evaluate), depth)

    def _add_network_step(self, step: NetworkStep, depth: int) -> None:
        dev = None if step.dev is None else list(step.dev)
        self.add((step.network, step.optimizer, step.penalty, step.checked, dev), depth)

    def _add_network(self, network: Network, _depth: int) -> None:
        settings = network.sizes, network.activation, network.output
        self._put(settings, network.keep, network.batch_norm, str(network.dtype))

    def _add_optimizer(self, optimizer: Optimizer, depth: int) -> None:
        self.add((optimizer.rule.name, vars(optimizer.options)), depth)
        self.add(optimizer.params, depth)
        self._put({k: a.nbytes for k, a in optimizer.state_arenas.items()})

    def _add_call(self, thing: Any, depth: int) -> None:
        """Add what is done where an object is called."""
        if not callable(thing):
            return
        call = type(thing).__call__
        inner = getattr(thing, "__wrapped__", getattr(thing, "py_func", None))
        if inner is None and not isinstance(call, types.FunctionType):
            message = f"a {type(thing).__name__} has no code that could be compared"
            raise UnknownCodeError(message)
        self.add(call if inner is None else inner, depth)


def _version(module: types.ModuleType) -> str:
    """Give a module's version, or a hash of its file where it has none."""
    version = getattr(module, "__version__", None)
    path = getattr(module, "__file__", None)
    if version is not None or path is None or not Path(path).is_file():
        return str(version)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
