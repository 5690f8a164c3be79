"""A process that may take only so much memory, in earnest."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits the address space"
)

PROGRAM = """
import json, resource, sys
import numpy as np
import gdopt
from gdopt.planner import throughput

throughput.SECONDS = 1e-3
X = np.zeros((4096, 16), np.float32)
W = np.zeros(16, np.float32)
opt = gdopt.SGD(W, lr=0.1)
cliff = {cliff}

def step(x):
    each = np.ones((len(x), {each}), np.float32)
    if cliff and len(x) >= 512:
        np.ones(1 << 29, np.float32)  # 2 GiB, which no small size foretells
    opt.step(x.mean(axis=0) + each[0, 0])

step(X[:1])
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = size + {left} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sizes = (64, 128, 256, 512, 1024)
plan = gdopt.plan_batch_size(step, X, opt, sizes=sizes, repeats=2, margin={margin})
rows = [(row.batch_size, row.fits, row.measured_bytes is not None, row.note)
        for row in plan.rows]
print(json.dumps([plan.micro_batch_size, opt.t, rows]))
"""


def plan_below(left, *, each, cliff=False, margin="None"):
    program = PROGRAM.format(left=left, each=each, cliff=cliff, margin=margin)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_limit_that_makes_1024_impossible_gives_a_size_that_fits():
    size, steps, rows = plan_below(left=900, each=1 << 18)  # 1 MiB an example
    fits = {row[0]: row[1] for row in rows}
    assert fits == {64: True, 128: True, 256: True, 512: True, 1024: False}
    assert size <= 512
    assert steps == 1  # the one before
    assert rows[-1][2:] == [False, "predicted not to fit"]  # not even tried


@pytest.mark.slow
def test_a_step_that_no_prediction_foretells_runs_out_and_goes_on():
    size, steps, rows = plan_below(left=500, each=1 << 10, cliff=True, margin=0)
    assert size in {64, 128, 256}
    assert steps == 1  # the one before
    assert [row[1] for row in rows] == [True, True, True, False, False]
    for row in rows[3:]:
        assert "ran out of memory (MemoryError: Unable to allocate 2.00 GiB" in row[3]
