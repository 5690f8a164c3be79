"""Optional and late imports: extras, and the public names of a package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gdopt.errors import MissingExtraError
from gdopt.interrupt import uninterrupted

# A module whose import a signal has interrupted cannot be imported again.
import_module = uninterrupted(importlib.import_module)


def load_extra(module: str, extra: str, purpose: str) -> Any:
    """Import an optional module, or say which extra brings it, and for what purpose."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != package:
            raise
        message = f"{purpose} needs {package}, which is not installed: {install(extra)}"
        raise MissingExtraError(message, name=package) from None


def install(extra: str) -> str:
    """Return the line that installs an extra: no index of packages has gdopt yet."""
    return f'pip install -e ".[{extra}]" in a checkout of gdopt'


def public_dir(package: str) -> Callable[[], list[str]]:
    """Return the `__dir__` of a package: what its `__all__` lists, and Python's own.

    Tab completion then offers every public name, also one that is not imported yet,
    and neither the package's own imports nor the modules that it is made of.

    >>> import gdopt
    >>> "read_csv" in dir(gdopt.data), "importlib" in dir(gdopt.data)
    (True, False)
    """

    def names() -> list[str]:
        own = vars(sys.modules[package])
        return sorted({*own["__all__"], *(name for name in own if name[:2] == "__")})

    return names


def lazy_getattr(
    package: str, names: Mapping[str, str], foreign: str = ""
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package, which imports names on first use.

    `names` maps each module to what it defines, separated by spaces; what the package
    itself does is a submodule. `foreign` is a module whose `LINES` say what to write
    for names of other libraries.
    """
    modules = {name: module for module in names for name in names[module].split()}

    def load(name: str) -> Any:
        if name not in modules:
            message = f"module {package!r} has no attribute {name!r}"
            lines = import_module(foreign).LINES if foreign else {}
            if name in lines:
                message += f"; with gdopt.schedules, write {lines[name]}"
            raise AttributeError(message)
        if modules[name] == package:
            return import_module(f"{package}.{name}")
        return getattr(import_module(modules[name]), name)

    return load
