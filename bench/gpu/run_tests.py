"""Runs the GPU tests in parallel processes, and compiles the benchmark's kernels.

python bench/gpu/run_tests.py OUTDIR [--seconds N] [--processes N] [-k EXPRESSION]

Each process takes tests in shares and keeps its kernels in CuPy's cache, from which
the benchmark takes them. A test that crashes, hangs, or leaves CUDA with an error that
lasts as long as the process fails alone: the others of its share go on in a new one.
Tests that fill the device's memory or measure it come last, one after the other.
Writes OUTDIR/tests.txt; exits with 1 where a test failed or was not run.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from machine import cores  # noqa: E402 - beside the scripts of the bench

ALONE = ("tests/device/test_gpu_alone.py", "tests/device/test_planner.py")
# Warnings of the libraries that are there are none of ours to mend here.
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore", "--no-header"]
PYTEST += ["-q", "--tb=short"]
ENVIRONMENT = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # those take seconds
ALONE_SHARE = 0.3  # of the time, which others leave to these
STALL = 90.0  # seconds without a test's end, after which one counts as hanging
SHOWN = 20  # failures on the terminal; the file has all


@dataclass
class Result:
    """What became of a test."""

    outcome: str = "passed"
    seconds: float = 0.0
    text: str = ""


@dataclass
class Run:
    """All tests' results, and the time that is left."""

    deadline: float
    results: dict[str, Result] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def is_over(self) -> bool:
        """Return whether nothing more is to be started."""
        return self.stopped.is_set() or time.monotonic() > self.deadline

    def take(self, names: list[str]) -> None:
        """Run a share of the tests, in as many processes as it takes."""
        while names and not self.is_over():
            with tempfile.TemporaryDirectory(prefix="gdopt-share-") as folder:
                found = self._attempt(names, Path(folder))
            self.results.update(found)
            names = [name for name in names if name not in found]

    def _attempt(self, names: list[str], folder: Path) -> dict[str, Result]:
        """Run tests in one process; one at least has a result afterwards."""
        (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
        files = sorted({name.split("::")[0] for name in names})
        command = [sys.executable, *PYTEST, "-p", "reporting", *files]
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(  # noqa: S603 - the project's own tests
                command,
                cwd=ROOT,
                env=ENVIRONMENT | {"GDOPT_TEST_SHARE": str(folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            why = self._watch(process, folder / "rows.jsonl")
        found, running = read(folder / "rows.jsonl")
        tail = (folder / "log.txt").read_text(errors="replace")[-2000:]
        bad = Result("not run" if self.is_over() else "failed", 0.0, f"{why}\n{tail}")
        if running is not None:
            found[running] = bad
        return found or dict.fromkeys(names, bad)

    def _watch(self, process: subprocess.Popen[bytes], rows: Path) -> str:
        """Wait for a process, and end it where it hangs; return what it ended by."""
        seen, since = -1, time.monotonic()
        why = ""
        with ended(process):
            while process.poll() is None and not why:
                time.sleep(0.1)
                size = rows.stat().st_size if rows.exists() else 0
                if size != seen:
                    seen, since = size, time.monotonic()
                if self.is_over():
                    why = "the time was over"
                elif time.monotonic() - since > STALL:
                    why = f"no end in {STALL:.0f} s"
        return why or f"the process ended with {process.returncode}"


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process with the block."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def read(rows: Path) -> tuple[dict[str, Result], str | None]:
    """Return the results that a process has written, and the test that it died in."""
    found: dict[str, Result] = {}
    running = None
    lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    for row in map(json.loads, lines):
        name, event = row["test"], row["event"]
        if event == "begun":
            running = name
        elif event == "ended":
            result, running = found.setdefault(name, Result()), None
            if row["error"] and result.outcome != "failed":
                found[name] = Result("failed", result.seconds, row["error"])
        elif name not in found or row["outcome"] == "failed":
            found[name] = Result(row["outcome"], row["seconds"], row["text"])
    return found, running


def collect(only: str | None) -> tuple[list[str], str]:
    """Return the names of the tests, and what went wrong as they were collected."""
    command = [
        sys.executable,
        *PYTEST,
        "--collect-only",
        "-m",
        "gpu and not slow",
        "tests",
    ]
    command += ["--continue-on-collection-errors", *(["-k", only] if only else [])]
    done = subprocess.run(  # noqa: S603 - the project's own tests
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    names = [line for line in done.stdout.splitlines() if line.startswith("tests/")]
    names = [name for name in names if "::" in name]
    wrong = "" if done.returncode in {0, 5} else (done.stdout + done.stderr)[-3000:]
    return names, wrong


def shares(names: list[str], processes: int) -> list[list[str]]:
    """Split tests into shares of neighbours, some for every process."""
    size = min(40, max(4, -(-len(names) // (3 * processes))))
    return [names[k : k + size] for k in range(0, len(names), size)]


def run_all(names: list[str], run: Run, processes: int) -> None:
    """Run the tests that may share the device, several at a time."""
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        waiting = [pool.submit(run.take, share) for share in shares(names, processes)]
        try:
            for future in waiting:
                future.result()
        except BaseException:
            run.stopped.set()
            raise


@contextlib.contextmanager
def warming(processes: int, out: Path, run: Run) -> Iterator[None]:
    """Compile the benchmark's kernels during a block, and wait for it at the end.

    What is not compiled within the run's time is compiled when it is measured.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((out / "log.txt").open("ab"))
        started = []
        for k in range(processes):
            command = [sys.executable, HERE / "speed.py", out]
            command += ["--warm", f"{k}/{processes}"]
            started.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - the project's own script
            )
            stack.enter_context(ended(started[-1]))
        yield
        while any(one.poll() is None for one in started) and not run.is_over():
            time.sleep(0.1)


def report(names: list[str], run: Run, wrong: str) -> tuple[str, str]:
    """Return the results as text, whole and in short."""
    results = {name: run.results.get(name, Result("not run")) for name in names}
    counts = collections.Counter(result.outcome for result in results.values())
    first = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    lines, short = [f"{len(names)} GPU tests: {first}"], []
    if wrong:
        lines.append(f"not all could be collected:\n{wrong}")
    for name, result in results.items():
        if result.outcome == "failed":
            lines.append(f"\n____ {name}\n{result.text}")
            last = (result.text.strip().splitlines() or [""])[-1]
            short.append(f"FAILED {name}: {last}"[:200])
    for name, result in results.items():
        if result.outcome in {"skipped", "not run"}:
            lines.append(f"{result.outcome} {name} {result.text}")
    slowest = sorted(results.items(), key=lambda item: -item[1].seconds)[:15]
    lines += ["\nslowest:", *(f"{r.seconds:7.2f} s {name}" for name, r in slowest)]
    left = [f"... and {len(short) - SHOWN} more"] if len(short) > SHOWN else []
    return "\n".join(lines) + "\n", "\n".join([lines[0], *short[:SHOWN], *left]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of the results")
    parser.add_argument("--seconds", type=float, default=150.0)
    count = cores()
    parser.add_argument("--processes", type=int, default=max(1, count * 3 // 4))
    parser.add_argument("--warming", type=int, default=max(1, count // 4))
    parser.add_argument("-k", dest="only", help="as pytest's -k")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    run = Run(start + (1 - ALONE_SHARE) * options.seconds)
    names, wrong = [], "interrupted"
    try:
        with warming(options.warming, options.out, run):
            names, wrong = collect(options.only)
            alone = [name for name in names if name.split("::")[0] in ALONE]
            others = [name for name in names if name not in set(alone)]
            run_all(others, run, options.processes)
        run.deadline = start + options.seconds
        run.take(alone)
    finally:
        whole, short = report(names, run, wrong)
        (options.out / "tests.txt").write_text(whole, encoding="utf-8")
        sys.stdout.write(short)
    sys.stdout.write(f"tests and compiling took {time.monotonic() - start:.0f} s\n")
    fine = all(
        run.results.get(name, Result("not run")).outcome in {"passed", "skipped"}
        for name in names
    )
    return 0 if fine and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
