"""What is unfinished belongs to a process, and is removed once that has ended."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import gdopt
from gdopt import files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="asks for processes")
UNFINISHED = """
import sys
from pathlib import Path
from gdopt.files import building, replacing
folder = Path(sys.argv[1])
with building(folder / "kernel") as kernel, replacing(folder / "a") as file:
    (kernel / "code").write_text("half")
    file.write(b"half")
    file.flush()
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that is in the middle of writing a file and a folder."""
    command = [sys.executable, "-c", UNFINISHED, tmp_path]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **streams) as process:
        process.stdout.readline()
        yield process
        process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_living_process_writes_stays_and_what_a_dead_one_left_goes(
    writer, tmp_path
):
    unfinished = names(tmp_path)
    assert len(unfinished) == 2
    files.write_whole(tmp_path / "b", "text")
    assert names(tmp_path) == [*unfinished, "b"]
    writer.kill()  # nobody has waited for it: its number is not free yet
    os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
    files.write_whole(tmp_path / "b", "text")
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize(
    ("part", "taken_for_dead"),
    [("machine", False), ("boot", True), ("process", True), ("begin", True)],
)
def test_a_number_of_a_process_that_is_used_again_is_not_taken_for_it(
    part, taken_for_dead, tmp_path
):
    with files.replacing(tmp_path / "a") as file:
        file.write(b"new")
        (own,) = names(tmp_path)
        machine, boot, process, begin, random = own[3:-4].split("-")
        parts = {"machine": machine, "boot": boot, "process": process, "begin": begin}
        parts[part] = {"process": "9" * 30, "begin": "1"}.get(part, "f" * 8)
        other = tmp_path / f".a.{'-'.join([*parts.values(), random])}.tmp"
        other.write_text("half")
        files.remove_left(tmp_path)
        assert names(tmp_path) == sorted([own] if taken_for_dead else [own, other.name])
    assert (tmp_path / "a").read_text() == "new"


def test_the_folder_that_is_ready_first_stays(tmp_path):
    path = tmp_path / "kernel"
    with files.building(path) as late:
        (late / "code").write_text("late")
        with files.building(path) as early:
            (early / "code").write_text("early")
    assert names(tmp_path) == ["kernel"]
    assert (path / "code").read_text() == "early"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_folders_that_were_made_for_a_file_vanish_where_it_cannot_be_written(
    tmp_path, monkeypatch
):
    def full(_):
        raise OSError(28, "No space left on device")

    (tmp_path / "there").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(tmp_path / "there" / "new" / "deep" / "a", "text")
    assert names(tmp_path / "there") == []


def test_a_link_may_dangle_and_a_loop_of_links_is_refused(tmp_path):
    link, loop = tmp_path / "link", tmp_path / "loop"
    link.symlink_to("target")
    files.write_whole(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "text"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        files.write_whole(loop, "text")
    assert loop.is_symlink()


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_whole(tmp_path / "pipe", "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    files.write_whole("/dev/null", "text")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o755])
def test_permissions_are_kept_and_never_wider_meanwhile(mode, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    with files.replacing(path) as file:
        file.write(b"new")
        meanwhile = {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
        assert not any(one & ~(mode | stat.S_IWUSR) for one in meanwhile)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("below", ["file/a", "file/new/a", "link/a"])
def test_a_file_in_place_of_its_folder_is_named(below, tmp_path):
    (tmp_path / "file").write_text("other")
    (tmp_path / "link").symlink_to("nowhere")
    for write in (files.write_whole, lambda path, _: gdopt.save(path, {})):
        with pytest.raises(gdopt.PathError, match=r"file|nowhere"):
            write(tmp_path / below, "text")
    with pytest.raises(gdopt.PathError), files.numbered_folder(tmp_path / below):
        pass
    assert names(tmp_path) == ["file", "link"]


def test_names_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("ä" * 127)
    files.write_whole(path, "text")
    assert names(tmp_path) == [path.name]
