"""A program that lets every call that writes files fail, or kills itself after it.

    file_faults.py FOLDER

Each scenario writes a first state, then, with a fault at its k-th call, a second one.
What is found then must be the first or the second state, whole; and after another,
faultless write nothing unfinished may be left. Prints a line of JSON for a scenario.
"""

import errno
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

import gdopt
from gdopt import files
from gdopt.planner import Plan, Row
from gdopt.training import History, Record

CALLS = ("open", "fsync", "replace", "rename", "mkdir", "unlink", "link", "chmod")
REFUSED = {"full": errno.ENOSPC, "denied": errno.EACCES, "broken": errno.EIO}
REMOVALS = ("unlink", "rmdir")  # refused, they leave what they should remove


class Faults:
    """Counts the calls below a folder; the one at a place meets with a fault."""

    def __init__(self, folder, place=-1, fault=None):
        self.folder, self.place, self.fault = str(folder), place, fault
        self.seen = []
        self.before = {name: getattr(os, name) for name in CALLS} | {"io": io.open}

    def __enter__(self):
        for name in CALLS:
            setattr(os, name, self.faulty(name))
        io.open = self.open
        return self

    def __exit__(self, *_):
        for name in CALLS:
            setattr(os, name, self.before[name])
        io.open = self.before["io"]

    def meet(self, name):
        """Return whether this is the call; refuse it."""
        self.seen.append(name)
        if len(self.seen) - 1 != self.place:
            return False
        if self.fault in REFUSED:
            raise OSError(REFUSED[self.fault], os.strerror(REFUSED[self.fault]))
        return True

    def kill(self):
        if self.fault in {"kill", "short kill"}:
            os.kill(os.getpid(), signal.SIGKILL)

    def faulty(self, name):
        def call(*given, **options):
            is_own = isinstance(given[0], int) or self.folder in str(given[0])
            met = is_own and self.meet(name)
            result = self.before[name](*given, **options)
            if met:
                self.kill()
            return result

        return call

    def open(self, path, mode="r", *given, **options):
        if isinstance(path, int) or self.folder not in str(path):
            return self.before["io"](path, mode, *given, **options)
        met = self.meet("open")
        if mode == "r+b":
            opened = io.BufferedRandom(Faulty(path, self))
        else:
            opened = self.before["io"](path, mode, *given, **options)
        if met:
            self.kill()
        return opened


class Faulty(io.FileIO):
    """A file whose writes are counted, and may be short."""

    def __init__(self, path, faults):
        super().__init__(path, "r+")
        self.faults, self.torn = faults, False

    def write(self, content):
        if self.torn:
            raise OSError(errno.ENOSPC, "No space left on device")
        short = self.faults.meet("write")
        kept = bytes(content)[: len(content) // 2] if short else content
        written = super().write(kept)
        self.torn = short and self.faults.fault == "torn"
        if short:
            self.faults.kill()
        return written


def bowl(x):
    return float(x @ x), 2 * x


def run(folder, steps):
    options = {"lr": 0.1, "max_iter": steps, "checkpoint_seconds": 1e-9}
    gdopt.minimize(bowl, np.arange(3.0), checkpoint=folder, **options)


def newest(folder):
    """Load all checkpoints; return the newest one's step and parameters."""
    found = {}
    for path in sorted(folder.glob("checkpoint-*")):
        state = gdopt.load(path)
        found = {"step": state["counters"]["step"]}
        found |= {name: a.tobytes().hex() for name, a in state["params"].items()}
    return found


def history(rows):
    found = History()
    for step in range(1, rows + 1):
        found.append(Record(step, 1, loss=1 / step, smoothed_loss=1.0))
    return found


def plan(size):
    rows = [Row(size, 1_000_000)]
    fixed = ("asked", "asked for", rows, None, {}, 99, "cpu", "the CPU", 10**9, 10**6)
    return Plan(size, size, 1, *fixed)


def loaded(path):
    tree = gdopt.load(path)
    return [tree["n"], tree["W"].tobytes().hex()]


def save(path, n):
    gdopt.save(path, {"W": np.full(3000, float(n)), "n": n})


# How the state n is written to a path, and what is read there.
SCENARIOS = {
    "save": (save, loaded),
    "history as CSV": (lambda path, n: history(n).to_csv(path), Path.read_text),
    "history as JSON": (lambda path, n: history(n).to_jsonl(path), Path.read_text),
    "settings and tune.json": (
        lambda path, n: files.write_json(path, {"n": n}),
        lambda path: files.read_json(path, "n", ["n"]),
    ),
    "plan": (lambda path, n: plan(n).save(path), Path.read_text),
    "run": (run, newest),
}
FRESH = ("save", "settings and tune.json", "run")  # where nothing is there, too
EVERY = {"run": int(os.environ.get("GDOPT_FAULTS_EVERY", "11"))}  # calls; else all


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fresh(folder, write, *, old):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    path = folder / "in" / "it"
    if old:
        write(path, 1)
    return path


def attempt(write, path, faults):
    """Write the second state with a fault; return whether that ended well."""
    if "kill" not in faults.fault:
        try:
            with faults:
                write(path, 2)
        except (OSError, gdopt.ArgumentError):
            return False
        return True
    child = os.fork()
    if child == 0:
        with faults:
            write(path, 2)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def check(name, folder, *, old):
    """Try each call and fault; return how many, and what was wrong."""
    write, read = SCENARIOS[name]
    path = fresh(folder, write, old=old)
    before = names(folder)
    states = [read(path)] if old else []
    with Faults(folder) as counted:
        write(path, 2)
    states.append(read(path))
    after, wrong, tried = names(folder), [], 0
    known = {*before, *after}
    for place, call in [*enumerate(counted.seen)][:: EVERY.get(name, 1)]:
        faults = [[*REFUSED][place % 3], "kill"]
        faults += ["torn", "short", "short kill"] if call == "write" else []
        for fault in faults:
            path = fresh(folder, write, old=old)
            ended = attempt(write, path, Faults(folder, place, fault))
            case, tried = f"{name}: {fault} at {place}, {call}", tried + 1
            there = {n for n in names(folder) if not n.endswith(".tmp")}
            if name == "run":  # any step of it may be the last that was saved
                there = {n for n in there if "checkpoint-" not in n}
                found = newest(path)
                good = not found or found["step"] in range(3)
            else:
                found = read(path) if path.exists() else None
                good = found in states or (not old and found is None)
            if not good or not there <= known or (ended and found != states[-1]):
                wrong.append([case, "found", found, sorted(there - known)])
            refused = not ended and "kill" not in fault and call not in REMOVALS
            if refused and not found and names(folder) != before:
                wrong.append([case, "left", names(folder)])
            if refused and any(one.endswith(".tmp") for one in names(folder)):
                wrong.append([case, "unfinished", names(folder)])
            write(path, 2)
            if read(path) != states[-1] or names(folder) != after:
                wrong.append([case, "then", read(path), names(folder)])
    return {"scenario": name, "old": old, "tried": tried, "wrong": wrong[:5]} | {
        "calls": sorted({*counted.seen})
    }


if __name__ == "__main__":
    for one in SCENARIOS:
        for has_old in (True, False) if one in FRESH else (True,):
            found = check(one, Path(sys.argv[1], "work"), old=has_old)
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
