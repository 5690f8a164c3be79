"""Keeps on disk what Numba compiled, for the next process.

A function compiled for some types has a folder of its own, named by what decides its
code: the text, the types, the versions and the processor. It holds the code, and a
manifest of SHA-256 sums, of that name too, that is checked before the code is used.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import pkgutil
import shutil
import stat
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.files import building, cache_folder, made_folder
from gdopt.interrupt import Uninterrupted

with Uninterrupted():  # see `imports.import_module`
    import llvmlite
    import numba
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps

REBUILD: Any = CompileResult._rebuild  # noqa: SLF001 - as Numba does
DUMP: Any = dumps
CODE, MANIFEST = "code.nbc", "manifest.json"
FORMAT = 2  # of the folder


@functools.cache
def _versions() -> tuple[object, ...]:
    """Return what decides the code of a text, in addition to types and processor."""
    calls = pkgutil.get_data(__package__, "numba_calls.py")  # which texts import
    return sys.version, numba.__version__, llvmlite.__version__, np.__version__, calls


class LoopCache(NullCache):
    """The cache of a Numba function: what it cannot read or keep is compiled."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def _place(self, signature: Any, codegen: Any) -> Path:
        parts = self._name, self._source, str(signature), codegen.magic_tuple()
        digest = hashlib.sha256(
            repr((FORMAT, *parts, *_versions())).encode()
        ).hexdigest()
        return cache_folder() / f"{self._name[:50]}-{digest[:32]}"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return what was compiled for a signature; None if it is not kept."""
        context.refresh()
        try:
            place = self._place(signature, context.codegen())
            if not place.is_dir():
                return None
            _refuse_foreign(place.parent)
            _refuse_foreign(place)
        except (OSError, RuntimeError) as error:  # as without a home
            _warn(error)
            return None
        try:
            kept = pickle.loads(_read(place))  # noqa: S301 - verified, and the user's own
            return REBUILD(context, *kept)
        except Exception as error:  # noqa: BLE001 - whatever damage raises
            shutil.rmtree(place, ignore_errors=True)
            _warn(error)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled for a signature."""
        try:
            place = self._place(signature, compiled.codegen)
            _write(place, DUMP(compiled._reduce()))  # noqa: SLF001 - as Numba does
        except Exception as error:  # noqa: BLE001 - as of a full disk
            _warn(error)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that another user could have written to."""
    if not hasattr(os, "getuid"):
        return
    found = folder.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(f"'{folder}' belongs to another user")
    if found.st_mode & stat.S_IWOTH:
        raise PermissionError(f"'{folder}' may be written by others")


def _read(place: Path) -> bytes:
    files = [path for path in place.iterdir() if path.is_file()]  # a pipe would wait
    contents = {path.name: path.read_bytes() for path in files}
    manifest, code = contents.pop(MANIFEST, b"null"), contents.pop(CODE, b"")
    if contents or json.loads(manifest) != _sums(place, code):
        raise ValueError(f"'{place}' is damaged")
    return code


def _sums(place: Path, code: bytes) -> dict[str, str]:
    return {CODE: hashlib.sha256(place.name.encode() + code).hexdigest()}


def _write(place: Path, code: bytes) -> None:
    manifest = json.dumps(_sums(place, code))
    with made_folder(place.parent, 0o700):
        _refuse_foreign(place.parent)
        with building(place) as folder:
            (folder / CODE).write_bytes(code)
            (folder / MANIFEST).write_text(manifest, encoding="ascii")


_warned: list[Exception] = []  # one warning is enough


def _warn(error: Exception) -> None:
    if not _warned:
        _warned.append(error)
        warnings.warn(
            f"compiled loops could not be cached on disk: {error!r}; "
            "GDOPT_CACHE_DIR names another folder",
            RuntimeWarning,
            stacklevel=2,
        )
