import sys
import tracemalloc

import numpy as np
import pytest

from gdopt.planner.memory import host
from gdopt.planner.memory.host import HostMemory

resource = pytest.importorskip("resource")  # not on Windows
GIB = 1 << 30
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads Linux's files"
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return ``machine(files)``: a machine that says what these files do."""
    monkeypatch.setattr(host, "PROC", tmp_path / "proc")
    monkeypatch.setattr(host, "CGROUPS", tmp_path / "groups")
    usual = {
        "proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable:   16777216 kB\n",
        "proc/self/status": "VmSize:\t 1048576 kB\nVmData:\t 524288 kB\n",
        "proc/self/cgroup": "0::/\n",
    }

    def write(files):
        for name, text in {**usual, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return HostMemory().free()

    return write


def test_without_limits_all_that_is_available_is_free(machine):
    assert machine({}) == 16 * GIB


def group(limit, used, cached=0, name="memory.max"):
    return {
        name: f"{limit}\n",
        "memory.current": f"{used}\n",
        "memory.stat": f"anon 5\ninactive_file {cached}\nslab 3\n",
    }


def within(folder, files):
    return {f"groups/{folder}{name}": text for name, text in files.items()}


def test_a_control_group_limits_what_is_free(machine):
    files = within("job/", group(4 * GIB, 3 * GIB, cached=GIB))
    assert machine({"proc/self/cgroup": "0::/job\n", **files}) == 2 * GIB


def test_every_group_above_counts_too(machine):
    files = within("a/b/", group("max", GIB)) | within("a/", group(3 * GIB, 2 * GIB))
    assert machine({"proc/self/cgroup": "0::/a/b\n", **files}) == GIB


def test_a_throttling_limit_counts_as_one(machine):
    files = within("job/", group(2 * GIB, GIB, name="memory.high"))
    assert machine({"proc/self/cgroup": "0::/job\n", **files}) == GIB


def test_a_container_that_sees_the_hosts_path_finds_its_own_group(machine):
    files = within("", group(3 * GIB, GIB))
    path = "0::/system.slice/docker-1234.scope\n"
    assert machine({"proc/self/cgroup": path, **files}) == 2 * GIB


def test_control_groups_of_version_1_count(machine):
    old = {
        "memory.limit_in_bytes": f"{5 * GIB}\n",
        "memory.usage_in_bytes": f"{4 * GIB}\n",
        "memory.stat": f"cache 9\ntotal_inactive_file {GIB // 2}\n",
    }
    root = {"memory.limit_in_bytes": f"{2**63 - 4096}\n", "memory.stat": ""}
    root |= {"memory.usage_in_bytes": f"{9 * GIB}\n"}
    files = within("memory/job/", old) | within("memory/", root)
    lines = "5:cpu,cpuacct:/other\n4:memory:/job\n"
    assert machine({"proc/self/cgroup": lines, **files}) == GIB + GIB // 2


def test_more_used_than_allowed_leaves_nothing(machine):
    files = within("job/", group(GIB, 2 * GIB))
    assert machine({"proc/self/cgroup": "0::/job\n", **files}) == 0


@pytest.mark.parametrize(
    ("limited", "left"), [("RLIMIT_AS", 2 * GIB), ("RLIMIT_DATA", 2 * GIB + GIB // 2)]
)
def test_limits_of_the_process_count(machine, monkeypatch, limited, left):
    def limits(kind):
        own = kind == getattr(resource, limited)
        return (3 * GIB if own else resource.RLIM_INFINITY), resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", limits)
    assert machine({}) == left


def test_other_systems_are_asked_through_psutil(tmp_path, monkeypatch):
    asked = []

    class Psutil:
        @staticmethod
        def virtual_memory():
            return type("Memory", (), {"available": 5 * GIB})

    monkeypatch.setattr(host, "PROC", tmp_path)
    monkeypatch.setattr(host, "load_extra", lambda *a: asked.append(a) or Psutil)
    assert HostMemory().free() == 5 * GIB
    assert asked[0][:2] == ("psutil", "train")


def test_this_machine_tells(monkeypatch):
    assert 1 << 20 < HostMemory().free() < 1 << 50


@pytest.mark.usefixtures("unfrozen_objects")
def test_the_peak_of_arrays_is_exact():
    meter = HostMemory()
    with meter.watch() as peak:
        first = np.zeros(100_000)
        second = np.zeros(50_000)
        del first
        third = np.zeros(60_000)
        del second, third
    assert 1_200_000 <= peak.used <= 1_201_000  # arrays have headers


@pytest.mark.usefixtures("unfrozen_objects")
def test_memory_that_python_does_not_trace_is_seen_by_its_pages():
    meter, library = HostMemory(), np.ctypeslib.ctypes.CDLL(None)
    library.malloc.restype = np.ctypeslib.ctypes.c_void_p
    library.free.argtypes = [np.ctypeslib.ctypes.c_void_p]
    size = 200 << 20
    with meter.watch() as peak:
        place = library.malloc(np.ctypeslib.ctypes.c_size_t(size))
        np.ctypeslib.ctypes.memset(place, 1, size)
        library.free(place)
    assert peak.used < 1 << 20
    # Where the process was larger before, the system cannot tell: then it says 0.
    assert peak.reserved == 0 or peak.reserved >= 0.9 * size


@pytest.mark.usefixtures("unfrozen_objects")
def test_somebody_elses_tracing_goes_on():
    tracemalloc.start()
    try:
        held = np.zeros(10_000)
        with HostMemory().watch() as peak:
            np.zeros(1000)
        assert 8000 <= peak.used <= 9500
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traced_memory()[0] >= held.nbytes
    finally:
        tracemalloc.stop()
