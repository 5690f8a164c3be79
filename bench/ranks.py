r"""Times a step on several ranks against torch's, both in turns in the same processes.

    OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
        mpirun -n 2 python bench/ranks.py [--sizes 1e6,1e7] [--rounds 60] [--json FILE]

All sides get a gradient that is there already: "backward" is one copy. gdopt's shares
memory by MPI; torch's DistributedDataParallel uses gloo, its engine for CPUs, which
goes through the loopback device. One thread each: OPENBLAS_NUM_THREADS and
NUMBA_NUM_THREADS must be 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from machine import describe
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

import gdopt
from gdopt import parallel
from gdopt.files import write_json
from gdopt.parallel import Part
from gdopt.tables import write

PEER = "torch DDP, fused Adam"
TARGET = 2.0  # times as fast as torch
LR = 1e-3
Step = tuple[Callable[[], object], np.ndarray]  # does a step of these parameters


class Backward(torch.autograd.Function):
    """A backward pass that is a copy of a gradient."""

    @staticmethod
    def forward(context: Any, _: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Keep the gradient."""
        context.save_for_backward(gradient)
        return torch.zeros(())

    @staticmethod
    def backward(context: Any, _: Any) -> tuple[torch.Tensor, None]:
        """Return a copy of it."""
        return context.saved_tensors[0].clone(), None


class Model(torch.nn.Module):
    """One parameter."""

    def __init__(self, start: np.ndarray, gradient: np.ndarray) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.from_numpy(start.copy()))
        self.gradient = torch.from_numpy(gradient)

    def forward(self) -> torch.Tensor:
        """Return a loss with that gradient."""
        return Backward.apply(self.w, self.gradient)


def of_gdopt(
    ranks: Any, start: np.ndarray, gradient: np.ndarray, **options: Any
) -> Step:
    """Make a sharded step, with one replica for each rank."""
    params = gdopt.Arena.of({"w": start})
    grads = params.like()
    opt = ranks.sharded(gdopt.Adam, params, replicas=ranks.size, lr=LR, **options)
    part = Part(ranks.rank, 1 / ranks.size)

    def step() -> None:
        grads["w"] = gradient
        opt.add(grads, part)
        opt.step()

    return step, params["w"]


def of_torch(make: Callable[..., Any], start: np.ndarray, gradient: np.ndarray) -> Step:
    """Make a step of a model that is replicated."""
    model = DistributedDataParallel(
        Model(start, gradient), gradient_as_bucket_view=True
    )
    opt = make(model.parameters())

    def step() -> None:
        opt.zero_grad(set_to_none=True)
        model().backward()
        opt.step()

    return step, model.module.w.detach().numpy()


def plain(start: np.ndarray, gradient: np.ndarray) -> Step:
    """Make a step of one process alone, of the same parameters."""
    params = gdopt.Arena.of({"w": start})
    grads, opt = params.like(), gdopt.Adam(params, lr=LR)

    def step() -> None:
        grads["w"] = gradient
        opt.step(grads)

    return step, params["w"]


def sides(ranks: Any, size: int) -> dict[str, Step]:
    """Make all contenders, and check that they agree after three steps."""
    start = np.random.default_rng(9).standard_normal(size).astype(np.float32)
    gradient = np.random.default_rng(ranks.rank).standard_normal(size).astype("f4")
    zero = {"optimizer_class": torch.optim.Adam, "lr": LR, "fused": True}
    found = {
        "gdopt, order='tree'": of_gdopt(ranks, start, gradient),
        "gdopt, order='tree', clip_norm": of_gdopt(
            ranks, start, gradient, clip_norm=1e9
        ),
        "gdopt, order='any'": of_gdopt(ranks, start, gradient, order="any"),
        PEER: of_torch(
            lambda p: torch.optim.Adam(p, lr=LR, fused=True), start, gradient
        ),
        "torch DDP, ZeroRedundancyOptimizer": of_torch(
            lambda p: ZeroRedundancyOptimizer(p, **zero), start, gradient
        ),
        "gdopt, one process, no exchange": plain(start, gradient),
    }
    for step, _ in found.values():
        for _ in range(3):
            step()
    expected = found[PEER][1]
    for name, (_, params) in list(found.items())[:-1]:
        if not np.allclose(params, expected, rtol=0, atol=1e-5):
            message = f"{name} must agree with {PEER} after three steps"
            raise RuntimeError(message)
    return found


def measure(ranks: Any, size: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the times of a step in milliseconds: that of the slowest rank."""
    found = sides(ranks, size)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, (step, _) in found.items():
            ranks.share(np.zeros(1))  # all begin together
            begin = time.perf_counter()
            step()
            took = ranks.share(np.array([time.perf_counter() - begin]))
            times[name].append(1e3 * float(took.max()))
    return {
        name: {"median": statistics.median(each), "min": min(each)}
        for name, each in times.items()
    }


@contextlib.contextmanager
def gloo(ranks: Any) -> Iterator[None]:
    """Let torch's ranks meet at a port that rank 0 has chosen."""
    port = 20000 + int(ranks.share(np.array([os.getpid()]))[0, 0]) % 20000
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=ranks.rank, world_size=ranks.size)
    yield
    dist.destroy_process_group()


def described(size: int, ranks: int, found: dict[str, dict[str, float]]) -> str:
    """Return the times as text, with how many times as long torch takes."""
    lines, peer = (
        [f"{size:g} float32 parameters, {ranks} ranks, ms of a step"],
        found[PEER],
    )
    for name, each in found.items():
        ratios = "  ".join(f"{peer[k] / each[k]:5.2f}" for k in ("median", "min"))
        lines.append(
            f"  {name:36} median {each['median']:8.2f}  min {each['min']:8.2f}"
            f"  DDP / this {ratios}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and print on rank 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1e6,1e7", help="elements (%(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="of each (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    with parallel.world(timeout=120) as ranks, gloo(ranks):
        for size in (int(float(text)) for text in options.sizes.split(",")):
            figures[f"{size:g}"] = found = measure(ranks, size, options.rounds)
            if ranks.is_main:
                write(described(size, ranks.size, found))
        if ranks.is_main and options.json:
            found = {"machine": describe(), "ranks": ranks.size, "figures": figures}
            write_json(options.json, found, indent=1, sha256=False)


if __name__ == "__main__":
    main()
