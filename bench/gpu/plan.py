"""Plans a batch size on a GPU: how well its memory is foretold, and how long it takes.

python bench/gpu/plan.py OUTDIR

Writes OUTDIR/plan.json. GDOPT_BENCH_REHEARSE=1 does so with CuPy on the CPU.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import gpu_machine  # which has CuPy run on the CPU where this is rehearsed
import numpy as np

import gdopt
from gdopt.planner import NetworkStep

REHEARSED = bool(os.environ.get("GDOPT_BENCH_REHEARSE"))
EXAMPLES, SIZES = (3000, (100, 64, 10)) if REHEARSED else (20_000, (784, 512, 256, 10))
SECONDS, SHARE = 10.0, 0.05  # what a plan may take, and be wrong by


def plan() -> dict[str, Any]:
    """Plan for a network, after a first plan that compiles its kernels."""
    network = gdopt.nn.Network(SIZES, seed=0, backend="cupy")
    home = network.params.backend
    rng = np.random.default_rng(1)
    X = home.from_host(rng.standard_normal((EXAMPLES, SIZES[0]), dtype=np.float32))
    y = home.from_host(rng.integers(0, SIZES[-1], EXAMPLES))
    step = NetworkStep(network, gdopt.Adam(network.params), dev=(X[:4096], y[:4096]))
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        found = gdopt.plan_batch_size(
            step, (X, y), step, repeats=2 if REHEARSED else 20
        )
        seconds.append(time.perf_counter() - begin)
    sys.stdout.write(f"{found}\n")
    tried = [row for row in found.rows if row.measured_bytes]
    ratios = [row.predicted_bytes / row.measured_bytes for row in tried]
    lasting = found.resident_bytes + 8 * EXAMPLES
    added = [
        (row.predicted_bytes - lasting) / (row.measured_bytes - lasting)
        for row in tried
    ]
    return {
        "meta": gpu_machine.describe_gpu(),
        "plan": found.to_dict(),
        "seconds_with_compiling": seconds[0],
        "seconds": seconds[1],
        "predicted_over_measured": ratios,
        "predicted_over_measured_beside_state_and_data": added,
        "rehearsed": REHEARSED,
        "met": seconds[1] < SECONDS and all(abs(r - 1) <= SHARE for r in ratios),
    }


def main(folder: str) -> int:
    """Write what was found; 1 where it takes too long, or was foretold badly."""
    found = plan()
    text = json.dumps(found, indent=2, allow_nan=False)
    Path(folder, "plan.json").write_text(text + "\n", encoding="utf-8")
    ratios = ", ".join(f"{ratio:.3f}" for ratio in found["predicted_over_measured"])
    sys.stdout.write(
        f"predicted over measured {ratios}; {found['seconds']:.1f} s, "
        f"{found['seconds_with_compiling']:.1f} with compiling: "
        f"{'as promised' if found['met'] else 'NOT as promised'}\n"
    )
    return 0 if found["met"] or REHEARSED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
