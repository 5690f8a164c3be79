"""Loops are kept on disk where they can be, which never fails a step."""

import importlib
import os
import stat
import warnings
from pathlib import Path

import numpy as np
import pytest

import gdopt
from gdopt.kernels.cpu import loops

pytest.importorskip("numba")


def no_home(folder, monkeypatch):
    monkeypatch.delenv("GDOPT_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        message = "Could not determine home directory."
        raise RuntimeError(message)

    monkeypatch.setattr(Path, "home", home)


def full_disk(folder, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        importlib.import_module("numba.core.caching").os, "replace", full
    )


def disk_that_fills(folder, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    caching = importlib.import_module("numba.core.caching")
    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)


def another_owner(folder, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)


def a_file(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("GDOPT_CACHE_DIR", str(folder / "file"))


def filled(folder, content):
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".nbi" for path in kept)
    for path in kept:
        path.write_bytes(content(path))


FAULTS = {
    "no home": no_home,
    "full disk": full_disk,
    "disk that fills": disk_that_fills,
    "another owner": another_owner,
    "a file": a_file,
    "empty files": lambda folder, _: filled(folder, lambda path: b""),
    "damaged files": lambda folder, _: filled(
        folder, lambda path: b"\xff\xfe" + path.read_bytes()[7:-3]
    ),
}


def stepped():
    def rule(p, v, g, *, lr):
        v = 0.75 * v + g
        return p - lr * v, v

    p = np.arange(5.0)
    gdopt.Optimizer(p, rule, lr=0.5).step(np.ones(5))
    return p.tolist()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cache_that_fails_is_said_once_and_alters_no_step(
    fault, tmp_path, monkeypatch
):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")
    folder = tmp_path / "cache"
    monkeypatch.setenv("GDOPT_CACHE_DIR", str(folder))
    expected = [-0.5, 0.5, 1.5, 2.5, 3.5]
    if "disk" in fault:
        folder.mkdir()
    else:
        assert stepped() == expected
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setattr(loops, "_warned", [])
    FAULTS[fault](folder, monkeypatch)
    before = {path for path in tmp_path.rglob("*") if path.suffix != ".py"}
    with pytest.warns(RuntimeWarning, match="could not be cached on disk"):
        assert stepped() == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stepped() == expected
    if "files" not in fault and "disk" not in fault:
        assert {path for path in tmp_path.rglob("*") if path.suffix != ".py"} == before
