"""How long the host takes to ask a GPU for work, on a machine without one.

    python bench/gpu/host_on_cpu.py [--before CHECKOUT]

CuPy runs over a CUDA runtime that works on the CPU (``tests/cuda_on_cpu``), as late as
CUDA allows: no kernel runs between two times. Checkouts take turns, each turn in a
process of its own; of three turns the median is printed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TURNS = 3


def measure() -> dict[str, float]:
    """Return the least microseconds of a network's gradients, and of an Adam step."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench"), str(ROOT / "bench/gpu")]
    import cuda_on_cpu  # noqa: PLC0415

    cuda_on_cpu.prepare()
    device = cuda_on_cpu.get_device()
    device.show(1)
    device.schedule = "lazy"
    import cupy  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from host_times import host_time  # noqa: PLC0415

    import gdopt  # noqa: PLC0415

    rng = np.random.default_rng(0)
    network = gdopt.nn.Network((784, 512, 256, 10), seed=0, backend="cupy")
    x = cupy.asarray(rng.standard_normal((128, 784), dtype=np.float32))
    y = cupy.asarray(rng.integers(0, 10, 128))
    known = inspect.signature(network.loss_and_grads).parameters
    options = {"validate": False} if "validate" in known else {"checked": True}
    optimizer = gdopt.Adam(network.params)
    calls = {
        "loss_and_grads of 784-512-256-10, batch 128": lambda: network.loss_and_grads(
            x, y, **options
        ),
        "Adam step of its arena": lambda: optimizer.step(network.grads),
    }
    wait = cupy.cuda.Device().synchronize
    return {name: 1e6 * host_time(call, wait)["least"] for name, call in calls.items()}


def turn(checkout: Path) -> dict[str, float]:
    """Measure a checkout in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    environment |= {"GDOPT_CUDA_SCHEDULE": "lazy", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--turn"]
    done = subprocess.run(  # noqa: S603 - this script itself
        command, env=environment, check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.turn:
        print(json.dumps(measure()))  # noqa: T201
        return
    sides = [*([chosen.before.resolve()] if chosen.before else []), ROOT]
    turns = [[turn(side) for side in sides] for _ in range(TURNS)]
    for name in turns[0][0]:
        times = [
            statistics.median(row[k][name] for row in turns) for k in range(len(sides))
        ]
        text = " -> ".join(f"{value:.0f} us" for value in times)
        print(f"{name}: {text}, {times[-1] / times[0]:.2f} of it")  # noqa: T201


if __name__ == "__main__":
    main()
