import os
import shutil
import stat
import zipfile

import numpy as np
import pytest
from training.trees import TREE, same

import gdopt
from gdopt.training import load, save


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.npz"
    save(path, TREE)
    return path


def test_what_was_saved_is_loaded(saved):
    assert same(TREE, load(saved))


def test_tuples_become_lists_and_numbers_of_numpy_those_of_python(saved):
    save(saved, {"shape": (2, 3), "t": np.int64(4), "x": np.float32(0.5)})
    assert same({"shape": [2, 3], "t": 4, "x": 0.5}, load(saved))


def test_numpy_opens_the_file_and_finds_arrays_under_their_names(saved):
    with np.load(saved, allow_pickle=False) as archive:
        np.testing.assert_array_equal(TREE["params"]["W"], archive["params/W"])
        assert "list/4/deep" in archive.files


def test_the_same_tree_gives_the_same_bytes(saved, tmp_path):
    save(tmp_path / "again.npz", TREE)
    assert saved.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_arrays_whose_names_fall_together_stay_apart(saved):
    tree = {"a": {"b": np.array([1])}, "a/b": np.array([2]), "a?b": np.array([3])}
    tree |= {"a_b": np.array([4]), "../x": np.array([5])}
    save(saved, tree)
    assert same(tree, load(saved))
    with zipfile.ZipFile(saved) as archive:
        assert not any("?" in name for name in archive.namelist())


def test_strided_arrays_are_saved_as_what_they_show(saved):
    array = np.arange(12.0).reshape(3, 4).T[::-2]
    save(saved, {"a": array})
    np.testing.assert_array_equal(array, load(saved)["a"])


def test_an_arena_is_saved_as_its_arrays(saved):
    arena = gdopt.Arena.of({"W": np.ones((2, 2)), "b": np.zeros(3, np.float32)})
    save(saved, {"params": arena})
    assert same(
        {"W": np.ones((2, 2)), "b": np.zeros(3, np.float32)}, load(saved)["params"]
    )


@pytest.mark.gpu
def test_arrays_on_a_gpu_come_back_on_the_host(saved):
    cupy = pytest.importorskip("cupy")
    save(saved, {"a": cupy.arange(3.0)})
    assert same({"a": np.arange(3.0)}, load(saved))


@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        ([1], gdopt.ArgumentTypeError, "tree must be a dictionary, got list"),
        ({"a": {1: 2}}, gdopt.ArgumentTypeError, r"keys of tree\[a\] must be text"),
        (
            {"$array": "W"},
            gdopt.ArgumentError,
            r"must not begin with \$, got '\$array'",
        ),
        ({"a": [{2}]}, gdopt.ArgumentTypeError, r"tree\[a/0\] must be a NumPy or CuPy"),
        (
            {"a": np.ma.masked_array([1])},
            gdopt.ArgumentTypeError,
            r"tree\[a\] must be a plain array",
        ),
    ],
)
def test_what_cannot_be_saved_is_refused_and_the_old_file_stays(
    saved, tree, error, message
):
    with pytest.raises(error, match=message):
        save(saved, tree)
    assert same(TREE, load(saved))
    assert [entry.name for entry in saved.parent.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("broken", ["fsync", "write"])
def test_the_old_file_survives_a_write_that_fails(saved, monkeypatch, broken):
    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="No space left"):
        save(saved, {"t": 4})
    monkeypatch.undo()
    assert same(TREE, load(saved))
    assert [entry.name for entry in saved.parent.iterdir()] == ["model.npz"]


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "none" / "model.npz", TREE)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
def test_permissions_of_the_old_file_are_kept(saved):
    saved.chmod(0o640)
    save(saved, {"t": 4})
    assert stat.S_IMODE(saved.stat().st_mode) == 0o640


def test_a_copy_elsewhere_loads_alike(saved, tmp_path):
    other = shutil.copy(saved, tmp_path / "other name.npz")
    assert same(TREE, load(other))
