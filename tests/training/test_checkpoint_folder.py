"""The folder of a run's checkpoints: what is written when, and what may go wrong."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.training import EarlyStopping, checkpoints, load

START = np.array([3.0, -4.0, 5.0])
ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX alone has it")


def bowl(x):
    return float(x @ x), 2 * x


def minimize(folder, callback=None, x=None, fg=bowl, **options):
    x = START.copy() if x is None else x
    usual = {"lr": 0.1, "max_iter": 20, "checkpoint_seconds": 1e-9}
    return gdopt.minimize(
        fg, x, callback=callback, checkpoint=folder, **usual | options
    )


def at(step, do):
    """Return a callback that does something at a step."""

    def callback(record):
        if record.step == step:
            do()

    return callback


def same(one, other):
    assert one.x.tobytes() == other.x.tobytes()
    assert (one.nit, one.nfev, one.fun) == (other.nit, other.nfev, other.fun)
    np.testing.assert_array_equal(one.history["loss"], other.history["loss"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def name(step):
    return f"checkpoint-{step:012d}.npz"


@ON_POSIX
def test_the_file_is_synced_then_put_in_place_then_the_folder_is(tmp_path, monkeypatch):
    minimize(tmp_path / "before", max_iter=1)  # compiles: those files are synced, too
    calls = []
    sync, replace = os.fsync, os.replace

    def note_sync(number):
        found = os.fstat(number)
        calls.append(("sync", stat.S_ISDIR(found.st_mode), found.st_ino))
        sync(number)

    def note_replace(source, target):
        calls.append(("replace", load(source)["counters"]["step"], Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    minimize(tmp_path, max_iter=1, checkpoint_seconds=60)
    assert calls == [
        ("sync", False, (tmp_path / name(1)).stat().st_ino),
        ("replace", 1, name(1)),
        ("sync", True, tmp_path.stat().st_ino),
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(3, [2, 10, 18, 20]), (0.5, [*range(1, 20, 2), 20]), (60, [2, 20])],
)
def test_the_first_is_written_after_a_second_and_others_at_intervals(
    tmp_path, monkeypatch, seconds, expected
):
    """An evaluation takes 0.375 s; one at the start, and one for each update."""
    clock, written, save = [0.0], [], checkpoints.save
    stand_in = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr(checkpoints, "time", stand_in)

    def slow(x):
        clock[0] += 0.375
        return bowl(x)

    def note(path, tree):
        written.append(tree["counters"]["step"])
        save(path, tree)

    monkeypatch.setattr(checkpoints, "save", note)
    minimize(tmp_path, fg=slow, checkpoint_seconds=seconds)
    assert written == expected
    assert names(tmp_path) == [".lock", name(written[-2]), name(20)]


def fail(monkeypatch, part, number=errno.ENOSPC):
    """Let a part of writing a file fail, as on a full disk."""

    def failing(*_, **__):
        raise OSError(number, os.strerror(number))

    module = {"open": Path, "write": np.lib.format}.get(part, os)
    own = {"write": "write_array"}.get(part, part)
    before = getattr(module, own)
    if part == "open":
        refused = failing

        def failing(path, *given, **options):
            return (refused if path.suffix == ".tmp" else before)(
                path, *given, **options
            )

    monkeypatch.setattr(module, own, failing)


@ON_POSIX
@pytest.mark.parametrize("part", ["open", "write", "fsync", "replace"])
def test_a_full_disk_ends_the_run_which_goes_on_where_it_was_saved(
    tmp_path, monkeypatch, part
):
    expected, x = minimize(None), START.copy()
    stopping = EarlyStopping(99)
    with pytest.raises(OSError, match="No space left"), monkeypatch.context() as full:
        minimize(tmp_path, [stopping, at(9, lambda: fail(full, part))], x)
    assert names(tmp_path) == [".lock", name(7), name(8)]
    assert stopping.restored.step == 9  # the callbacks are ended
    seen = []
    again = minimize(tmp_path, [EarlyStopping(99), lambda r: seen.append(r.step)])
    assert seen[0] == 9
    same(expected, again)


@ON_POSIX
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_does_not_fit_leaves_those_before(tmp_path, share):
    """The system's own limit, at any place of the file."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit():
        size = int((tmp_path / name(8)).stat().st_size * share)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        with pytest.raises(OSError, match="File too large"):
            minimize(tmp_path, at(9, limit))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == [".lock", name(7), name(8)]
    same(minimize(None), minimize(tmp_path))


@ON_POSIX
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):  # as root

        def refused(path, *_, **__):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "open", refused)
    x = START.copy()
    message = "checkpoint must name a folder that can be written: .*Permission denied"
    with pytest.raises(gdopt.ArgumentError, match=message):
        minimize(tmp_path, x=x)
    tmp_path.chmod(0o755)
    assert x.tolist() == START.tolist()
    assert not checkpoints.IN_USE


def test_a_folder_that_vanishes_ends_the_run(tmp_path):
    folder, x = tmp_path / "run", START.copy()
    with pytest.raises(FileNotFoundError):
        minimize(folder, at(9, lambda: shutil.rmtree(folder)), x)
    assert x.tolist() != START.tolist()
    same(minimize(None), minimize(folder))


def test_files_of_others_are_left_alone_and_those_of_killed_processes_are_not(tmp_path):
    theirs = ["checkpoint-final.npz", "checkpoint-7.npz", ".checkpoint-final.npz.1.tmp"]
    theirs += ["notes.txt", "checkpoint-000000000099.npz.bak", ".notes.tmp"]
    for one in theirs:
        (tmp_path / one).write_text("mine")
    (tmp_path / f".{name(4)}.12345678.tmp").write_text("half of a ch")
    minimize(tmp_path)
    assert names(tmp_path) == sorted([*theirs, ".lock", name(19), name(20)])
    assert {(tmp_path / one).read_text() for one in theirs} == {"mine"}


def test_a_damaged_checkpoint_is_not_one_of_the_two_that_are_kept(tmp_path):
    with pytest.raises(RuntimeError):
        minimize(tmp_path, at(9, crash))
    (tmp_path / name(8)).unlink()
    (tmp_path / name(12)).write_bytes(b"damaged")
    message = f"{name(12)}: .*continues from {name(7)}"
    with pytest.warns(gdopt.DataWarning, match=message), pytest.raises(RuntimeError):
        minimize(tmp_path, at(9, crash))
    assert names(tmp_path) == [".lock", name(7), name(8)]
    same(minimize(None), minimize(tmp_path))


def crash():
    message = "switched off"
    raise RuntimeError(message)


HOLDER = """
import os, signal, sys
from gdopt.training.checkpoints import CheckpointFolder

folder = CheckpointFolder(sys.argv[1], 60)
if sys.argv[2] == "worker" and os.fork():
    os.wait()
print("ready", flush=True)
if sys.argv[2] == "worker":
    os.kill(os.getppid(), signal.SIGKILL)
sys.stdin.read()
"""


@ON_POSIX
@pytest.mark.parametrize("kind", ["alone", "worker"])
def test_a_folder_is_free_when_its_process_has_ended(tmp_path, kind):
    """Also where it was killed, and a worker that it had forked lives on."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), kind]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as holder:
        assert holder.stdout.readline() == b"ready\n"
        if kind == "alone":
            with pytest.raises(gdopt.ArgumentError, match="but another uses"):
                minimize(tmp_path)
            holder.kill()
        holder.wait()
        minimize(tmp_path)
        holder.stdin.close()  # ends the worker
