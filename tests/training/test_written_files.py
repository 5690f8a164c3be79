"""Files are written whole, at their targets, and are checked when they are read."""

import os
import subprocess
import sys

import numpy as np
import pytest

import gdopt
from gdopt import files
from gdopt.plots import series

WRITERS = {
    "save": lambda path: gdopt.save(path, {"W": np.ones(2)}),
    "json": lambda path: files.write_json(path, {"a": 1}),
    "text": lambda path: files.write_whole(path, "text"),
}


def picture(path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    series.save(figure, path, "")


WRITERS["picture"] = picture


@pytest.mark.parametrize("name", WRITERS)
def test_a_symbolic_link_stays_one_and_its_target_is_replaced(name, tmp_path):
    target, link = tmp_path / "there" / "target.png", tmp_path / "link.png"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    WRITERS[name](link)
    assert link.is_symlink()
    assert target.read_bytes() != b"old"
    assert [path.name for path in target.parent.iterdir()] == ["target.png"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_fails_leaves_the_old_file(name, tmp_path, monkeypatch):
    path = tmp_path / "file.png"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[name](path)
    assert path.read_text() == "old"
    assert len([*tmp_path.iterdir()]) == 1


KILLED = """
import os, pathlib, sys
from gdopt.files import replacing
with replacing(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""


def test_temporary_files_of_dead_processes_alone_are_removed(tmp_path):
    path = tmp_path / "a[1]*.npz"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert len([*tmp_path.iterdir()]) == 1
    with files.replacing(path) as file:
        gdopt.save(path, {"W": np.ones(2)})  # while this process writes, too
        file.write(b"later")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"later"


def test_bfloat16_is_saved(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    tree = {
        "half": bits.view(ml_dtypes.bfloat16),
        "number": bits[0, 3:4].reshape(()).view(ml_dtypes.bfloat16),
        "turned": bits.T[::2].view(ml_dtypes.bfloat16),
    }
    gdopt.save(tmp_path / "half.npz", tree)
    loaded = gdopt.load(tmp_path / "half.npz")
    for name, array in tree.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(
            loaded[name].view(np.uint16), array.view(np.uint16)
        )


def test_no_name_in_a_file_leads_out_of_a_folder(tmp_path):
    tree = {"..": {"..": np.ones(1)}, ".": np.ones(2), "a": {"...": np.ones(3)}}
    gdopt.save(tmp_path / "file.npz", tree)
    with np.load(tmp_path / "file.npz") as found:
        parts = {part for name in found for part in name.split("/")}
    assert not {".", "..", "..."} & parts
    loaded = gdopt.load(tmp_path / "file.npz")
    assert loaded[".."][".."].shape == (1,)
    assert loaded["a"]["..."].shape == (3,)
