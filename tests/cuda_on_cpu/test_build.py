"""What is missing is named, and what was built is found again."""

import importlib.metadata
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from cuda_on_cpu import Unavailable, build, cache

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs on Linux alone")


def test_an_older_cupy_is_refused_by_name(monkeypatch):
    found = SimpleNamespace(version="13.6.0", locate_file=lambda name: name)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    with pytest.raises(Unavailable, match=r"cupy-cuda13x 13\.6\.0 .* CuPy 14\.0 is ne"):
        build.find_cupy()


@pytest.mark.parametrize(
    ("name", "replaced", "words"),
    [
        ("which", lambda _: None, r"g\+\+ is not installed"),
        ("machine", lambda: "arm64", "Linux and x86-64 alone"),
    ],
)
def test_what_the_machine_lacks_is_named(name, replaced, words, monkeypatch):
    owner = build.shutil if name == "which" else build.platform
    monkeypatch.setattr(owner, name, replaced)
    with pytest.raises(Unavailable, match=words):
        build.compiler_version.__wrapped__()


def test_a_header_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Unavailable, match=r"header cuda\.h is not there"):
        build.cuda_headers(13)


def test_a_command_that_fails_ends_with_what_it_said():
    with pytest.raises(Unavailable, match=r"(?s)g\+\+ --nonsense .*nonsense"):
        build.run(["g++", "--nonsense"])


def test_an_entry_is_made_once_and_never_seen_before_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("GDOPT_TEST_CACHE", str(tmp_path / "cache"))
    made, barrier = [], threading.Barrier(2)

    def make(folder):
        folder.mkdir()
        barrier.wait()  # both are at it
        made.append(folder)
        (folder / "file").write_text("whole")

    threads = [
        threading.Thread(target=cache.made, args=("a/entry", make)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    entry = cache.made("a/entry", make)  # which would wait for ever
    assert entry == tmp_path / "cache" / "a" / "entry"
    assert (entry / "file").read_text() == "whole"
    assert [path.name for path in entry.parent.iterdir()] == ["entry"]


def test_a_second_process_waits_while_an_entry_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("GDOPT_TEST_CACHE", str(tmp_path))
    made = []

    def make(path):
        made.append(path)
        time.sleep(0.05)
        path.write_text("whole")

    threads = [
        threading.Thread(target=cache.made_once, args=("entry", make)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_what_is_missing_is_looked_for_once(monkeypatch):
    tries = []

    def find():
        tries.append(1)
        message = "no compiler"
        raise Unavailable(message)

    monkeypatch.setattr(build, "_find_or_build", find)
    build._built_or_error.cache_clear()
    try:
        for _ in range(3):
            with pytest.raises(Unavailable, match="no compiler"):
                build.build_runtime()
    finally:
        build._built_or_error.cache_clear()
    assert len(tries) == 1


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GDOPT_TEST_CACHE", str(tmp_path))

    def make(path):
        path.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.made("entry", make)
    assert list(tmp_path.iterdir()) == []


def test_keys_tell_parts_apart():
    keys = {cache.key_of("ab"), cache.key_of("a", "b"), cache.key_of(b"ab")}
    assert len(keys) == 3


def test_headers_differ_by_what_they_say_and_not_by_where_they_lie(tmp_path):
    def described(name, text="text", size=3):
        (tmp_path / name / "cupy").mkdir(parents=True)
        (tmp_path / name / "cupy" / "complex.cuh").write_text(text)
        (tmp_path / name / "cuda.h").write_text("/" * size)
        return cache.key_of(cache.describe_headers([tmp_path / name]))

    assert described("one") == described("other")
    assert len({described("a"), described("b", "TEXT"), described("c", size=4)}) == 3
