import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
from training.trees import TREE, same

import gdopt
from gdopt.training import load, save
from gdopt.training.checkpoint import digest


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.npz"
    save(path, TREE)
    return path


def rewrite(path, change):
    """Write a checkpoint anew with its members changed, with right checksums."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array, *, allow_pickle=False):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def with_header(members, **changes):
    """Change entries of the header, and its digest with it."""
    content = json.loads(np.load(io.BytesIO(members["$header.npy"])).tobytes())
    header = np.frombuffer(json.dumps(content | changes).encode(), np.uint8)
    sha256 = np.frombuffer(bytes.fromhex(digest(header)), np.uint8)
    return members | {"$header.npy": npy(header), "$header.sha256.npy": npy(sha256)}


def test_a_flipped_bit_is_refused_or_without_effect(saved):
    tree = {"W": np.arange(3.0), "t": 7}
    save(saved, tree)
    content = saved.read_bytes()
    harmless = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        saved.write_bytes(damaged)
        with contextlib.suppress(gdopt.StateError):
            assert same(tree, load(saved))
            harmless += 1
    # Dates, say, and what zip says twice and its reader reads once, have no effect.
    assert harmless < len(content) / 2


def test_a_truncated_file_is_refused(saved):
    content = saved.read_bytes()
    for length in range(0, len(content), 7):
        saved.write_bytes(content[:length])
        with pytest.raises(gdopt.StateError, match=r"model\.npz: must be a whole"):
            load(saved)


def test_an_array_that_was_exchanged_is_refused(saved):
    rewrite(saved, lambda members: members | {"params/b.npy": npy(np.float32([1, 2]))})
    with pytest.raises(gdopt.StateError, match=r"SHA-256 of params/b .* is damaged"):
        load(saved)


def test_a_header_that_was_exchanged_is_refused(saved):
    old = saved.read_bytes()
    save(saved, TREE | {"t": 4})
    with zipfile.ZipFile(saved) as archive:
        other = archive.read("$header.npy")
    saved.write_bytes(old)
    rewrite(saved, lambda members: members | {"$header.npy": other})
    with pytest.raises(gdopt.StateError, match=r"SHA-256 of \$header must match"):
        load(saved)


def test_objects_are_neither_saved_nor_loaded(saved):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    trap = np.array([Trap()], dtype=object)
    with pytest.raises(gdopt.ArgumentTypeError, match=r"tree\[a\] must hold numbers"):
        save(saved, {"a": trap})
    rewrite(saved, lambda members: members | {"t.npy": npy(trap, allow_pickle=True)})
    with pytest.raises(gdopt.StateError, match="Object arrays cannot be loaded"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: with_header(m, format=2), "format 1 or older, got 2: a newer gdopt"),
        (lambda m: with_header(m, format=None), "format 1 or older, got None"),
        (lambda m: with_header(m, more=1), "header must hold format, sha256 and tree"),
        (
            lambda m: with_header(m, sha256={}),
            "arrays must be those that its header names: unk",
        ),
        (
            lambda m: m | {"more.npy": npy(np.zeros(1))},
            "arrays must be .*: unknown 'more",
        ),
        (lambda m: {k: v for k, v in m.items() if k != "empty.npy"}, "arrays must be"),
        (lambda m: {"a.npy": npy(np.zeros(1))}, r"must be a checkpoint of gdopt"),
        (lambda m: m | {"empty": m["empty.npy"]}, "every name once, got duplicates"),
    ],
)
def test_a_file_of_another_form_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(gdopt.StateError, match=message):
        load(saved)


def test_compressed_arrays_are_refused_before_they_fill_the_memory(saved):
    with zipfile.ZipFile(saved, "a") as archive:
        bomb = npy(np.zeros(10**6))
        archive.writestr("bomb.npy", bomb, compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(gdopt.StateError, match="got compressed ones"):
        load(saved)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(gdopt.ArgumentError, match=r"got nothing at .*model\.npz"):
        load(tmp_path / "model.npz")


def test_an_error_of_the_disk_while_loading_is_not_taken_for_damage(saved, monkeypatch):
    def fail(*_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "infolist", fail)
    with pytest.raises(OSError, match="Input/output error"):
        load(saved)
