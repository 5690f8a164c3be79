"""Measures the time of a step on a GPU, by its own events.

python bench/gpu/speed.py OUTDIR [--until T]
python bench/gpu/speed.py OUTDIR --warm K/N

Everyone gets the same arrays, checked to do the same work; a round is as many steps as
take some hundredths of a second, between two events. Each result is a line of
OUTDIR/results.jsonl as soon as it is there, the most telling cases first; started anew,
the script goes on behind the last line. What the time is not enough for is named.

With --warm it measures nothing: the K-th of N shares of the contenders are checked,
take their first steps, and so leave compiled kernels in the caches on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gpu_machine  # which has CuPy run on the CPU where this is rehearsed

import cupy  # isort: skip
import host_times
from adapters import ON_GPU, Contender, UnsupportedError, check
from cases import Training
from cases_gpu import COMPILED, SCALE, GpuCase, GpuTraining, cases, trainings
from gpu_clock import DeviceClock, pace
from summary import read

ONLY = os.environ.get("GDOPT_BENCH_ONLY", "").split(" or ")
ROUNDS = 9 if SCALE == 1 else 2
SECONDS = 1.5  # of rounds, after which three are enough
HUNG = 75.0 if SCALE == 1 else 300.0  # seconds, after which a job is given up
FAILED = 3  # exit status: some jobs have failed; one that Python uses itself is a crash
BROKEN = 70  # likewise: CUDA reports an error that lasts as long as the process
FIRST = """meta copy adam_f32_1e8 own_f32_1e8 adam_f32_200x1M adam_f32_1000x1024
adam_f32_10000x64 adam_f32_200x1M_apart adam_f32_1000x1024_apart
adam_f32_10000x64_apart adam_clip_f32_1e8 mlp_b128 mlp_b128_captured mlp_b1024
mlp_b1024_captured adam_bf16_all_1e8 host""".split()  # noqa: SIM905 - a list of quoted words reads worse
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A contender in a case, or one of the host's times.

    Attributes:
        kind: the case's name, or ``"host"`` or ``"copy"``.
        case: the case itself, where there is one.
    """

    kind: str
    contender: str
    measure: Callable[[], Row]
    case: GpuCase | GpuTraining | None = None

    @property
    def key(self) -> str:
        """Name the job, by what ``GDOPT_BENCH_ONLY`` chooses from."""
        return f"{self.kind}-{self.contender}"

    def rank(self, checked: set[str]) -> float:
        """Sort by what tells most, then by what takes no time to compile."""
        if self.contender in COMPILED:
            return len(FIRST) + (0.5 if self.key in checked else 2)
        return FIRST.index(self.kind) if self.kind in FIRST else len(FIRST) + 1


def jobs(checked: set[str]) -> list[Job]:
    """List what is to be measured, in order; some contenders have been checked."""
    found = [Job("copy", "cupy", copy)]
    for what, measure in host_times.MEASURES.items():
        found.append(Job("host", what, measure))
    for case in (*cases(SCALE), *trainings(SCALE)):
        for name in ("gdopt", *case.peers):
            is_checked = f"{case.name}-{name}" in checked
            step = partial(measure_step, case, name, is_checked=is_checked)
            found.append(Job(case.name, name, step, case))
    found = [job for job in found if any(word in job.key for word in ONLY)]
    found.append(Job("meta", "machine", lambda: {"meta": gpu_machine.describe_gpu()}))
    return sorted(found, key=lambda job: job.rank(checked))


def copy() -> Row:
    """Measure the copy that all bandwidths are compared with."""
    count = max(10**9 // SCALE, 1024)
    source, target = cupy.zeros(count, "float32"), cupy.zeros(count, "float32")
    source += 1  # zeros might be moved faster

    def step() -> None:
        target[...] = source

    return timed(step, cupy.cuda.Device().synchronize) | {"bytes": 8 * count}


def measure_step(case: GpuCase | GpuTraining, name: str, *, is_checked: bool) -> Row:
    """Measure a contender's step."""
    training = isinstance(case, Training)
    if not is_checked:
        checked(case, name)
    contender = in_turns(case, name, 1 if training else case.copies)
    told = {"batch": case.batch} if training else {"bytes": case.bytes}
    with contender.setting():
        return timed(contender.step, contender.wait) | told


def checked(case: GpuCase | GpuTraining, name: str) -> None:
    """Check that a contender does the textbook's steps, on few numbers."""
    if not isinstance(case, Training):
        small = case.small()
        check(ON_GPU[name].make(small), small)


def in_turns(case: GpuCase | GpuTraining, name: str, copies: int) -> Contender:
    """Make a contender whose steps take turns on sets of arrays."""
    made = [ON_GPU[name].make(case) for _ in range(copies)]
    if copies == 1:
        return made[0]
    steps = itertools.cycle([one.step for one in made])

    def step() -> None:
        next(steps)()

    return replace(made[0], step=step)


def timed(step: Callable[[], Any], wait: Callable[[], Any]) -> Row:
    """Time a step by events around many; return the median and the quartiles."""
    clock = DeviceClock(wait)
    steps = pace(step, clock, seconds=0.03 if SCALE == 1 else 0)
    times: list[float] = []
    while len(times) < 3 or (len(times) < ROUNDS and sum(times) * steps < SECONDS):
        start = clock()
        for _ in range(steps):
            step()
        times.append((clock() - start) / steps)
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"seconds": middle, "quartiles": [low, high], "steps": steps}


def warmed(job: Job) -> Row:
    """Check a contender and let it take its first steps, as the measurement would."""
    start = time.perf_counter()
    if job.case is None:
        job.measure()
    else:
        checked(job.case, job.contender)
        contender = ON_GPU[job.contender].make(job.case)
        with contender.setting():
            for _ in range(3):
                contender.step()
            contender.wait()
    return {"first_seconds": time.perf_counter() - start}


def outcome(job: Job, work: Callable[[], Row]) -> Row:
    """Return a job's row: its figures, or why there are none."""
    row = {"case": job.kind, "contender": job.contender}
    gc.disable()
    try:
        return row | work()
    except (ImportError, UnsupportedError, MemoryError) as error:
        return row | {"left_out": f"{type(error).__name__}: {error}"[:300]}
    except Exception as error:  # noqa: BLE001 - reported, and the next one is measured
        return row | {"failed": f"{type(error).__name__}: {error}"[-1500:]}
    finally:
        gc.enable()


def forget() -> None:
    """Free memory, so that the next contender finds it."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_broken() -> bool:
    """Return whether CUDA reports an error, which every later call would meet."""
    try:
        cupy.cuda.Device().synchronize()
    except RuntimeError:
        return True
    return False


@contextlib.contextmanager
def counted() -> Iterator[Row]:
    """Count what CuPy compiles in the block, and the seconds that it takes."""
    found: Row = {"programs": 0, "seconds": 0.0}
    name, compiler = "_compile_using_nvrtc_no_warning", cupy.cuda.compiler
    compile_text = getattr(compiler, name, None)

    def count(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return compile_text(*arguments, **options)
        finally:
            found["programs"] += 1
            found["seconds"] += time.perf_counter() - start

    if compile_text is not None:
        setattr(compiler, name, count)
    try:
        yield found
    finally:
        if compile_text is not None:
            setattr(compiler, name, compile_text)


def write(file: Path, row: Row) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def warm(folder: Path, share: int, shares: int) -> None:
    """Compile what a share of the contenders needs."""
    for job in jobs(set())[share::shares]:
        with counted() as compiled:
            row = outcome(job, partial(warmed, job))
        write(folder / "warm.jsonl", row | {"compiled": compiled})
        forget()


def measure(folder: Path, until: float) -> int:
    """Measure what has no row yet; return the exit status."""
    file, key = folder / "results.jsonl", "{case}-{contender}".format_map
    rows = read(file)
    done = {key(row) for row in rows if "case" in row and "begun" not in row}
    died = {key(row) for row in rows if "begun" in row} - done
    checked = {key(r) for r in read(folder / "warm.jsonl") if "first_seconds" in r}
    planned = jobs(checked)
    if not rows:
        write(file, {"jobs": [job.key for job in planned]})
    for job in planned:
        row = {"case": job.kind, "contender": job.contender}
        if job.key in done:
            continue
        if job.key in died:
            row |= {"failed": "the process died, or took too long"}
        elif time.time() > until:
            row |= {"left_out": "the time was over"}
        else:
            write(file, row | {"begun": True})
            faulthandler.dump_traceback_later(HUNG, exit=True)
            row = outcome(job, job.measure)
            forget()
            faulthandler.cancel_dump_traceback_later()
        write(file, row)
        if "failed" in row:
            sys.stdout.write(f"FAILED {job.key}: {row['failed']}"[:300] + "\n")
            if is_broken():
                return BROKEN
    return FAILED if any("failed" in row for row in read(file)) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of the results")
    parser.add_argument("--until", type=float, help="when to stop, in seconds of Unix")
    parser.add_argument("--warm", help="the share to compile, as 0/4")
    options = parser.parse_args()
    for peer in ("torch", "jax"):  # what they bring is out of later collections
        with contextlib.suppress(ImportError):
            importlib.import_module(peer)
    gc.collect()
    gc.freeze()
    if options.warm:
        warm(options.out, *map(int, options.warm.split("/")))
        return 0
    return measure(options.out, options.until or time.time() + 240)


if __name__ == "__main__":
    sys.exit(main())
