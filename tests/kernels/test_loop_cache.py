"""Loops are kept on disk where they can be, which never fails a step."""

import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import gdopt
from gdopt import files

pytest.importorskip("numba")
loop_cache = pytest.importorskip("gdopt.kernels.cpu.loop_cache")

EXPECTED = [-0.5, 0.5, 1.5, 2.5, 3.5]


def stepped():
    """Do a step with a rule of its own, as no loop of an earlier call is taken."""

    def rule(p, v, g, *, lr):
        v = 0.75 * v + g
        return p - lr * v, v

    p = np.arange(5.0)
    gdopt.Optimizer(p, rule, lr=0.5).step(np.ones(5))
    return p.tolist()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder for loops, which is made when one is kept."""
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")
    monkeypatch.setenv("GDOPT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(loop_cache, "_warned", [])
    return tmp_path / "cache"


@pytest.fixture
def kept(folder):
    """Return the folder with what a step keeps."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stepped() == EXPECTED
    assert any(path.is_file() for path in folder.rglob("*"))
    return folder


def everything(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def no_home(folder, monkeypatch):
    monkeypatch.delenv("GDOPT_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        message = "Could not determine home directory."
        raise RuntimeError(message)

    monkeypatch.setattr(Path, "home", home)


def full_disk(name):
    def fault(folder, monkeypatch):
        def full(*given, **how):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(*name, full)

    return fault


def another_owner(folder, monkeypatch):
    folder.mkdir()
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)


def open_to_others(folder, monkeypatch):
    folder.mkdir()
    folder.chmod(0o777)


def a_file(folder, monkeypatch):
    folder.write_text("")


def within_a_file(folder, monkeypatch):
    folder.write_text("")
    monkeypatch.setenv("GDOPT_CACHE_DIR", str(folder / "cache"))


FAULTS = {
    "no home": no_home,
    "no folder": full_disk((Path, "mkdir")),
    "no content": full_disk((Path, "write_bytes")),
    "no manifest": full_disk((Path, "write_text")),
    "no sync": full_disk((os, "fsync")),
    "no name": full_disk((Path, "rename")),
    "no pickle": full_disk((loop_cache, "DUMP")),
    "another owner": another_owner,
    "open to others": open_to_others,
    "a file": a_file,
    "within a file": within_a_file,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_where_nothing_can_be_kept_nothing_is_left(fault, folder, monkeypatch):
    FAULTS[fault](folder, monkeypatch)
    before = everything(folder.parent)
    with pytest.warns(RuntimeWarning, match="could not be cached on disk") as found:
        assert stepped() == EXPECTED
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stepped() == EXPECTED  # one warning is enough
    assert everything(folder.parent) == before


def test_what_is_kept_is_private_and_loaded(kept, monkeypatch):
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()} == {0o700}
    before = everything(kept)
    monkeypatch.setattr(loop_cache, "_write", None)
    assert stepped() == EXPECTED
    assert everything(kept) == before


def flipped(content, place, mask=0x20):
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def test_a_flipped_byte_of_any_file_is_found(kept):
    for place in kept.iterdir():
        assert pickle.loads(loop_cache._read(place))  # noqa: S301 - gdopt's own
        for path in place.iterdir():
            content = path.read_bytes()
            step = max(1, len(content) // 200)
            for k in (*range(0, len(content), step), len(content) - 1):
                path.write_bytes(flipped(content, k, 1 << k % 8))
                with pytest.raises(ValueError, match=r"is damaged|column|codec"):
                    loop_cache._read(place)
            path.write_bytes(content)


DAMAGES = {
    "empty": lambda content: b"",
    "short": lambda content: content[:-1],
    "flipped": lambda content: flipped(content, len(content) // 2),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_not_used_but_made_again(damage, kept, monkeypatch):
    whole = everything(kept)
    for path, content in whole.items():
        if content and path.name == ("code.nbc" if damage == "short" else path.name):
            path.write_bytes(DAMAGES[damage](content))
    with pytest.warns(RuntimeWarning, match="could not be cached on disk") as found:
        assert stepped() == EXPECTED
    assert len(found) == 1
    assert everything(kept).keys() == whole.keys()
    monkeypatch.setattr(loop_cache, "_warned", [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stepped() == EXPECTED


def test_a_file_more_is_damage(kept):
    for place in list(kept.iterdir()):
        (place / "more").write_text("")
    with pytest.warns(RuntimeWarning, match="is damaged") as found:
        assert stepped() == EXPECTED
    assert len(found) == 1
    assert not all((place / "more").exists() for place in kept.iterdir())


def test_the_code_of_another_loop_is_not_used(kept, monkeypatch):
    """As where a folder was copied or renamed; both loops take the same arguments."""

    def other(p, v, g, *, lr):
        v = 0.75 * v - g
        return p + lr * v, v

    gdopt.Optimizer(np.arange(5.0), other, lr=0.5).step(np.ones(5))
    first, second = ([*kept.glob(f"gdopt_{name}_*")] for name in ("rule", "other"))
    for one, place in zip(sorted(first), sorted(second), strict=True):
        for path in place.iterdir():
            (one / path.name).write_bytes(path.read_bytes())
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert stepped() == EXPECTED


class Processor:
    def __init__(self, *names):
        self.magic_tuple = lambda: names


def test_what_decides_the_code_of_a_loop_decides_its_place(folder, monkeypatch):
    given = ("loop", "text"), ("float64",), ("x86", "avx2")
    others = [("other", "text"), ("loop", "other")], [("float32",)], [("x86", "sse")]

    def place(made, signature, processor):
        return loop_cache.LoopCache(*made)._place(signature, Processor(*processor))

    found = {place(*given)}
    for k, changes in enumerate(others):
        found |= {place(*given[:k], change, *given[k + 1 :]) for change in changes}
    for module in (sys, loop_cache.numba, loop_cache.llvmlite, np):
        name = "version" if module is sys else "__version__"
        loop_cache._versions.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, "another")
            found.add(place(*given))
    loop_cache._versions.cache_clear()
    with monkeypatch.context() as patch:  # of `numba_calls.py`, which texts import
        patch.setattr(loop_cache.pkgutil, "get_data", lambda *_: b"another")
        found.add(place(*given))
    loop_cache._versions.cache_clear()
    assert len(found) == 10
    assert place(*given) in found


@pytest.mark.parametrize("inner", [False, True])
def test_loops_that_another_user_could_have_written_are_not_loaded(inner, kept):
    for place in kept.iterdir() if inner else [kept]:
        place.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="may be written by others"):
        assert stepped() == EXPECTED


@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
def test_a_pipe_in_place_of_a_file_is_damage(kept):
    for path in [*kept.rglob("code.nbc")]:
        path.unlink()
        os.mkfifo(path)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert stepped() == EXPECTED
    assert not any(path.is_fifo() for path in kept.rglob("*"))


def children(count, folder, **settings):
    code = (
        "import numpy as np, gdopt\n"
        "def rule(p, v, g, *, lr):\n"
        "    v = 0.5 * v + g\n"
        "    return p - lr * v, v\n"
        "p = np.arange(5.0)\n"
        "print('ready', flush=True); input()\n"
        "gdopt.Optimizer(p, rule, lr=0.5).step(np.ones(5))\n"
        "print(p.tolist())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings}
    return [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(count)
    ]


def test_processes_that_keep_the_same_loop_at_once_both_work(folder):
    both = children(2, folder)
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [p.communicate()[0] for p in both] == [f"{EXPECTED}\n"] * 2
    assert [p.returncode for p in both] == [0, 0]
    for place in folder.iterdir():
        manifest = json.loads((place / loop_cache.MANIFEST).read_text())
        assert {path.name for path in place.iterdir()} == {
            *manifest,
            loop_cache.MANIFEST,
        }


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_what_a_killed_process_left_is_removed_with_the_next_loop(kept, monkeypatch):
    child = os.fork()
    if not child:
        with files.building(kept / "other"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert any(path.name.endswith(".tmp") for path in kept.iterdir())
    for place in kept.iterdir():
        if not place.name.startswith("."):
            (place / loop_cache.MANIFEST).write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="cached"):
        assert stepped() == EXPECTED
    assert not any(path.name.startswith(".") for path in kept.iterdir())
