"""Nested arrays and numbers in one file, without pickle, with a checksum per array."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from gdopt.arrays.backend import common_backend
from gdopt.arrays.dtypes import as_dtype
from gdopt.checks import check_format, listed, name_differences
from gdopt.data.npz import members_of, read_member, refusing
from gdopt.errors import ArgumentError, ArgumentTypeError, StateError
from gdopt.files import check_path, digest, existing_file, replacing

FORMAT = 1
ARRAY = "$array"  # {"$array": name} is in the header where the tree has an array
HEADER, HEADER_DIGEST = "$header", "$header.sha256"  # members of the file
KINDS = "biufcSU"
LONGEST = 9999  # characters of a name: a ZIP archive has room for 65535 bytes
ROOM = 64  # for the SHA-256 of the file, at its end


def pack(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Take the arrays out of a tree, and add the header that says where they are."""
    if not isinstance(tree, Mapping):
        raise ArgumentTypeError(f"tree must be a dictionary, got {type(tree).__name__}")
    arrays: dict[str, np.ndarray] = {}
    stripped = _extract_arrays(tree, (), arrays)
    digests = {name: digest(array) for name, array in arrays.items()}
    content = {"format": FORMAT, "sha256": digests, "tree": stripped}
    header = np.frombuffer(json.dumps(content).encode(), np.uint8)
    own = np.frombuffer(bytes.fromhex(digest(header)), np.uint8)
    return {HEADER: header, HEADER_DIGEST: own, **arrays}


def parse(header: np.ndarray) -> dict[str, Any]:
    """Read a header; raise StateError where its format is newer or unknown."""
    content: Any = json.loads(header.tobytes())
    known = content.get("format") if isinstance(content, dict) else None
    check_format("it", known, FORMAT)
    if set(content) != {"format", "sha256", "tree"}:
        got = listed(sorted(content))
        raise StateError(f"header must hold format, sha256 and tree, got {got}")
    return dict(content)


def unpack(
    content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Put arrays back into the tree of a header, each checked by its SHA-256."""
    expected = content["sha256"]
    if set(expected) != set(arrays):
        wrong = name_differences(sorted(expected), sorted(arrays))
        raise StateError(f"arrays must be those that its header names: {wrong}")
    for name, array in arrays.items():
        if digest(array) != expected[name]:
            message = f"the SHA-256 of {name} must match the header's: it is damaged"
            raise StateError(message)
    tree: dict[str, Any] = _insert_arrays(content["tree"], arrays)
    return tree


def _extract_arrays(
    value: Any, place: tuple[str, ...], arrays: dict[str, np.ndarray]
) -> Any:
    """Return a part of the tree as JSON knows it; its arrays go to `arrays`."""
    at = f"tree[{'/'.join(place)}]"
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ArgumentTypeError(f"keys of {at} must be text, got {key!r}")
            if key.startswith("$"):
                raise ArgumentError(f"keys must not begin with $, got {key!r} in {at}")
        return {k: _extract_arrays(v, (*place, k), arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        parts = enumerate(value)
        return [_extract_arrays(part, (*place, str(k)), arrays) for k, part in parts]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    array = common_backend([(at, value)]).to_host(value)
    half = array.dtype.name == "bfloat16"  # which npy does not know
    if array.dtype.kind not in KINDS and not half:
        message = f"{at} must hold numbers, truth values or text, got {array.dtype}"
        raise ArgumentTypeError(message)
    name = _free_name(place, arrays)
    arrays[name] = np.asarray(array.view(np.uint16) if half else array, order="C")
    return {ARRAY: name, "dtype": "bfloat16"} if half else {ARRAY: name}


def _free_name(place: tuple[str, ...], taken: Mapping[str, Any]) -> str:
    """Name an array by its place, in letters that every zip program keeps."""
    parts = (re.sub(r"[^\w.+-]|^\.+$", "_", key) for key in place)
    wanted = name = "/".join(parts)[:LONGEST]
    number = 2
    while name in taken:
        name, number = f"{wanted}~{number}", number + 1
    return name


def _insert_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if ARRAY in value:
            array = arrays[value[ARRAY]]
            return array.view(as_dtype(value["dtype"])) if "dtype" in value else array
        return {key: _insert_arrays(part, arrays) for key, part in value.items()}
    if isinstance(value, list):
        return [_insert_arrays(part, arrays) for part in value]
    return value


def save(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write nested dictionaries of arrays and numbers to a file, all or nothing.

    The file is an ``.npz``, which ``numpy.load(path)`` opens too: an array at
    ``tree["params"]["W1"]`` is its ``params/W1``. The rest, and the SHA-256 of every
    array, is JSON in its ``$header``; the archive's comment is the SHA-256 of all other
    bytes. The same tree gives the same bytes.

    It is written to a temporary file in the same folder, which then replaces the old
    one: if writing fails, the old file stays intact.

    Args:
        path: of the file; the folder must exist.
        tree: dictionaries with text as keys, lists, arrays of numbers, truth values or
            text (those on a GPU are copied to the host), numbers, text, None. A tuple
            comes back as a list, and NumPy's numbers as Python's.

    Raises:
        ArgumentTypeError: something in the tree is of another kind; it is named.
        ArgumentError: a key begins with ``$``.
        OSError: the file cannot be written.

    >>> import numpy as np, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "model.npz")
    >>> save(path, {"params": {"W": np.ones((2, 2))}, "t": 7, "note": None})
    >>> load(path)
    {'params': {'W': array([[1., 1.],
           [1., 1.]])}, 't': 7, 'note': None}
    >>> folder.cleanup()
    """
    members = pack(tree)
    # Stored, as compression gains little.
    with replacing(check_path("path", path)) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = bytes(ROOM)
            for name, array in members.items():
                member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, not now
                with archive.open(member, "w", force_zip64=True) as out:
                    np.lib.format.write_array(out, array, allow_pickle=False)
        own = _frame_digest(file, archive, members.values())
        file.seek(-ROOM, os.SEEK_END)
        file.write(own)


def _frame_digest(
    file: BinaryIO, archive: zipfile.ZipFile, arrays: Iterable[np.ndarray]
) -> bytes:
    """Return the SHA-256 of a file without its arrays' elements and its comment."""
    starts = [member.header_offset for member in archive.infolist()]
    sha256, place = hashlib.sha256(), 0
    for end, array in zip([*starts[1:], archive.start_dir], arrays, strict=True):
        file.seek(place)
        sha256.update(file.read(max(0, end - array.nbytes - place)))
        place = end
    file.seek(place)
    sha256.update(file.read()[:-ROOM])
    return sha256.hexdigest().encode()


def load(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Any]:
    """Read what `save` wrote, as NumPy arrays on the host; nothing is unpickled.

    Args:
        path: of the file.
        sha256: what the SHA-256 of the file must be, 64 hexadecimal digits, if it is
            known from elsewhere; by default the checksums in the file are compared.

    Raises:
        ArgumentError: there is no such file, or its SHA-256 is not the given one.
        StateError: the file is truncated or damaged, holds Python objects, is not
            a checkpoint, or was written by a newer gdopt; the message names it and says
            what was wrong.
    """
    file = existing_file(path, sha256)

    def refuse(why: object) -> StateError:
        return StateError(f"{file}: must be a whole checkpoint, but is damaged: {why}")

    with (
        refusing(refuse),
        file.open("rb") as content,
        zipfile.ZipFile(content) as archive,
    ):
        try:
            return _read(content, archive)
        except StateError as error:
            raise StateError(f"{file}: {error}") from error


def _read(file: BinaryIO, archive: zipfile.ZipFile) -> dict[str, Any]:
    members = members_of(archive)
    if HEADER not in members or HEADER_DIGEST not in members:
        raise StateError(f"must be a checkpoint of gdopt, got no {HEADER} in it")
    if any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
        raise StateError("must hold its arrays uncompressed, got compressed ones")
    arrays = {name: read_member(archive, m) for name, m in members.items()}
    whole = _frame_digest(file, archive, arrays.values())
    header, own = arrays.pop(HEADER), arrays.pop(HEADER_DIGEST)
    if digest(header) != own.tobytes().hex():
        message = f"the SHA-256 of {HEADER} must match the saved one: it is damaged"
        raise StateError(message)
    tree = unpack(parse(header), arrays)
    if whole != archive.comment:
        raise StateError(
            "must be a whole checkpoint, but its SHA-256 is not that in its comment"
        )
    return tree
