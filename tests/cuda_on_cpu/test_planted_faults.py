"""Faults that only CuPy itself shows are put back, and the tests of them fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FORGETFUL = """
init = graph.CapturedWork.__init__
def forgetful(self, *arguments):
    init(self, *arguments)
    self._work = None
graph.CapturedWork.__init__ = forgetful
"""
# Each fault as the Python that puts it back, the test that must fail, and the
# schedule under which it does.
FAULTS = {
    "a graph that forgets the buffers it writes to": (
        FORGETFUL,
        "test_graphs.py::test_a_replay_writes_to_no_array_made_after_the_capture",
        "eager",
    ),
    "pinned memory that is let go before it is copied": (
        "cupy.cuda.Stream.synchronize = lambda self: None",
        "test_prefetch.py::test_the_last_batches_are_not_overwritten_by_the_next_epoch",
        "lazy",
    ),
    "a pool that is dropped with its memory": (
        "del graph.CapturedWork.__del__",
        "test_graphs.py::test_a_graph_that_is_dropped_gives_its_memory_back",
        "eager",
    ),
}
PLANT = """
import sys
import pytest

class Plant:
    @staticmethod
    def pytest_collection_finish():
        import cupy
        from gdopt.training import graph
        exec(sys.argv[1], {"cupy": cupy, "graph": graph})

options = ["-q", "-p", "no:cacheprovider", "--no-header", sys.argv[2]]
sys.exit(pytest.main(options, plugins=[Plant()]))
"""


def run(fault, test, schedule):
    """Run a test with a fault put back; return pytest's exit status and its output."""
    command = [sys.executable, "-c", PLANT, fault, str(TESTS / "device" / test)]
    environment = os.environ | {
        "GDOPT_CUDA_SCHEDULE": schedule,
        "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
    }
    done = subprocess.run(
        command,
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_is_put_back_is_found(name, cuda):
    fault, test, schedule = FAULTS[name]
    assert run("pass", test, schedule)[0] == 0
    status, output = run(fault, test, schedule)
    assert status == 1
    assert "1 failed" in output
