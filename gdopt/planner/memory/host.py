"""The machine's main memory: what is free, and what some work takes at its peak."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from gdopt.imports import load_extra

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
MAX_SAMPLES = 100_000  # lines of Python at which memory is read
UNLIMITED = 1 << 60  # a control group of version 1 without a limit says 2**63 - 4096


@dataclass
class Peak:
    """What some work took at its peak, in bytes.

    Samples, where asked for, are in use at moments on the way, by source line and visit
    number. Work that does the same with more examples has the same keys.
    """

    used: int = 0  # by arrays at one time, exactly, of memory allocated meanwhile
    reserved: int = 0  # with gaps between arrays, and what is not traced; 0: not known
    samples: dict[tuple[tuple[str, int], int], int] = field(default_factory=dict)
    _times: dict[tuple[str, int], int] = field(default_factory=dict)

    def note(self, frame: FrameType, size: int) -> None:
        """Take in how much is in use at a line of Python."""
        place = frame.f_code.co_filename, frame.f_lineno
        times = self._times[place] = self._times.get(place, 0) + 1
        self.samples[place, times] = size


class HostMemory:
    """Main memory, as Python traces it and as the operating system counts it."""

    device = "cpu"
    unit = 1  # bytes: NumPy's allocations are not rounded
    workspace = 0

    def __init__(self) -> None:
        self.notices: list[str] = []

    def free(self) -> int:
        """Return the least that the machine, control groups and own limits leave."""
        if not (PROC / "meminfo").is_file():
            psutil = load_extra("psutil", "train", "telling how much memory is free")
            return int(psutil.virtual_memory().available)
        available = _fields(PROC / "meminfo")["MemAvailable"]
        return max(0, min([available, *_left_in_groups(), *_left_below_limits()]))

    @contextmanager
    def watch(self, *, samples: bool = False) -> Iterator[Peak]:
        """Measure what is allocated: traced by Python, line by line, and resident."""
        started = not tracemalloc.is_tracing()
        if started:
            tracemalloc.start(1)
        status = PROC / "self" / "status"
        before = _fields(status) if status.is_file() else {}
        # In use before, and by the samples themselves.
        own = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        peak = Peak()
        tracer = sys.gettrace()

        def sample(frame: FrameType, *_: Any) -> Any:
            nonlocal own
            if len(peak.samples) >= MAX_SAMPLES:
                return None
            now, highest = tracemalloc.get_traced_memory()
            peak.used = max(peak.used, highest - own)
            peak.note(frame, highest - own)
            own += tracemalloc.get_traced_memory()[0] - now
            tracemalloc.reset_peak()
            return sample

        if samples:
            sys.settrace(sample)
        try:
            yield peak
        finally:
            if samples:
                sys.settrace(tracer)
            peak.used = max(peak.used, tracemalloc.get_traced_memory()[1] - own)
            if started:
                tracemalloc.stop()
            if before:
                highest = _fields(status)["VmHWM"]
                # If the process was once larger, the system cannot report the peak.
                known = highest > before["VmHWM"]
                peak.reserved = highest - before["VmRSS"] if known else 0

    def time(self, work: Callable[[], Any]) -> float:
        """Return the seconds that some work takes."""
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def tidy(self) -> None:
        """Drop what is no longer used."""
        gc.collect()

    def describe(self) -> str:
        """Return a readable name of the device."""
        return "the CPU"


def _fields(path: Path) -> dict[str, int]:
    """Read lines such as ``MemAvailable:  1234 kB`` as bytes."""
    found = {}
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        number = rest.strip().removesuffix(" kB")
        if number.isdigit():
            found[name] = int(number) * 1024
    return found


def _left_in_groups() -> Iterator[int]:
    """Return what is left below each limit of a control group, of version 1 or 2."""
    try:
        lines = (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            for limit in ("memory.max", "memory.high"):
                names = (limit, "memory.current", "inactive_file")
                yield from _left_below(CGROUPS, path, names)
        elif "memory" in controllers.split(","):
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            names = (limit, used, "total_inactive_file")
            yield from _left_below(CGROUPS / "memory", path, names)


def _left_below(root: Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    """Walk from a group to its controller's root; yield what is left below limits."""
    limit, usage, cached = names
    # In a container the path may be that of the host, and the group be the root here.
    group = root / path.strip("/")
    group = group if group.is_dir() else root
    for folder in (group, *group.parents):
        try:
            most = (folder / limit).read_text(encoding="ascii").strip()
            used = int((folder / usage).read_text(encoding="ascii"))
            stat = (folder / "memory.stat").read_text(encoding="ascii").split()
        except (OSError, ValueError):
            most, used, stat = "max", 0, []
        if most.isdigit() and int(most) < UNLIMITED:
            # What is cached is given up when needed.
            spare = int(stat[stat.index(cached) + 1]) if cached in stat else 0
            yield int(most) - used + spare
        if folder == root:
            return


def _left_below_limits() -> Iterator[int]:
    """Return what is left of address space and data, where the process is limited."""
    import resource  # noqa: PLC0415 - not on Windows, which has no PROC either

    status = _fields(PROC / "self" / "status")
    for limit, used in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
        most, _ = resource.getrlimit(getattr(resource, limit))
        if most != resource.RLIM_INFINITY:
            yield most - status[used]
