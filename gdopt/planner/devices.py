"""How many devices to train on: by compute, exchange and noise of the gradients."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gdopt.arrays import Arena
from gdopt.errors import ParallelError
from gdopt.planner.decision import NEAR
from gdopt.planner.plan import Plan
from gdopt.tables import aligned, format_bytes

if TYPE_CHECKING:
    from gdopt.parallel import Ranks

ROUNDS = 15
FEW = 64  # elements for each rank, whose exchange takes nothing but latency
MANY = 1 << 20  # elements at least, where the bytes count
HEADER = ("devices", "each", "batch", "compute", "exchange", "speedup", "device-time")


@dataclass(frozen=True)
class ExchangeCost:
    """How long ranks exchange gradients and parameters: measured, and for others.

    ``seconds = (N - 1) latency + 2 (N - 1) / N bytes / rate`` for N ranks, which each
    send as many messages and bytes as that twice.
    """

    ranks: int  # that were measured
    bytes: int  # of the gradients, and of the parameters
    latency: float  # seconds for each other rank
    rate: float  # bytes a second that a rank sends

    def seconds(self, devices: int) -> float:
        """Return what a step on some number of devices takes for it."""
        sent = 2 * (devices - 1) / devices * self.bytes
        return (devices - 1) * self.latency + sent / self.rate


def measure_exchange(ranks: Ranks, params: Arena) -> ExchangeCost:
    """Time the exchange of a sharded step: of few elements, and of all parameters."""
    if ranks.size == 1:
        message = "--devices measures what several ranks exchange, but there is one: "
        raise ParallelError(message + "start it with mpirun -n 2")

    def zeros(count: int) -> Arena:
        backend, device = params.backend, params.device
        return Arena.of({"p": backend.zeros(count, "float32", device)})

    others = ranks.size - 1
    latency = _seconds(ranks, zeros(FEW * ranks.size)) / others
    many = zeros(max(MANY, params.nbytes // 4))
    sent = 2 * others / ranks.size * many.nbytes
    rest = _seconds(ranks, many) - others * latency
    return ExchangeCost(ranks.size, params.nbytes, latency, sent / max(rest, 1e-9))


def _seconds(ranks: Ranks, params: Arena) -> float:
    """Return the time of a step that changes nothing, by the slowest rank."""
    from gdopt.optim import SGD  # noqa: PLC0415 - as few need it
    from gdopt.parallel import Part  # noqa: PLC0415 - likewise

    replicas = 1 << (ranks.size - 1).bit_length()
    opt = ranks.sharded(SGD, params, replicas=replicas, lr=0.0)
    grads, times = params.like(), []
    for _ in range(ROUNDS + 2):  # the first ones compile
        ranks.share(np.zeros(1))  # all begin together
        start = time.perf_counter()
        for replica in opt.own_replicas:
            opt.add(grads, Part(replica, 1 / replicas))
        opt.step()
        params.backend.synchronize()
        taken = np.array([time.perf_counter() - start])
        times.append(float(ranks.share(taken).max()))
    return statistics.median(times[2:])


@dataclass(frozen=True)
class DeviceRow:
    """What training on a number of devices takes."""

    devices: int
    batch_size: int  # examples of a step on each
    compute: float  # seconds of a step without exchange
    exchange: float  # seconds of its exchange
    speedup: float  # times as fast to the same loss as one device


def device_rows(plan: Plan, exchange: ExchangeCost, devices: int) -> list[DeviceRow]:
    """Return the best batch size for 1, 2, 4, ... devices, and how fast they learn.

    The time to a loss is ``(1 + B_noise / B) (compute + exchange)``, B being the batch
    of all devices (McCandlish et al. 2018, equation 2.11).
    """
    noise = plan.noise_scale
    scale = noise.value if noise is not None and math.isfinite(noise.value) else 0.0
    counts = [2**k for k in range(devices.bit_length()) if 2**k < devices]
    rows, first = list[DeviceRow](), 0.0
    for count in (*counts, devices):
        moved, timed = exchange.seconds(count), list[tuple[float, float, int]]()
        for row in plan.rows:
            batch, rate = count * row.batch_size, row.examples_per_second
            if row.fits and rate and (batch <= plan.examples or not rows):
                compute = row.batch_size / rate
                steps = 1 + scale / batch
                timed.append((steps * (compute + moved), compute, row.batch_size))
        if timed:
            taken, compute, size = min(timed)
            first = first or taken
            rows.append(DeviceRow(count, size, compute, moved, first / taken))
    return rows


def describe_devices(rows: Sequence[DeviceRow], exchange: ExchangeCost) -> str:
    """Return a table, after the number of devices to use and why."""
    best = max(rows, key=lambda row: row.speedup)
    few = next(row for row in rows if row.speedup * (1 + NEAR) >= best.speedup)
    text = "train on 1 device"
    if few.devices > 1:
        text = f"train on {few.devices} devices: {few.speedup:.2g} times as fast as 1"
    if rows[-1] is not few:
        last, mark = rows[-1], ";" if few.devices > 1 else ":"
        than = "slower" if last.speedup < few.speedup else "hardly faster"
        text += f"{mark} {last.devices} would be {than}, {last.speedup:.2g} times"
    cells = [
        (
            f"{row.devices}",
            f"{row.batch_size:,}",
            f"{row.devices * row.batch_size:,}",
            f"{1e3 * row.compute:.3g} ms",
            f"{1e3 * row.exchange:.3g} ms",
            f"{row.speedup:.2f}",
            f"{row.devices / row.speedup:.2f}",
        )
        for row in rows
    ]
    measured = (
        f"exchange: {format_bytes(exchange.bytes)} of gradients and of parameters, "
        f"{format_bytes(int(exchange.rate))}/s and {1e6 * exchange.latency:.3g} us for "
        f"each other rank, measured between {exchange.ranks}"
    )
    return "\n".join([text, "", *aligned([HEADER, *cells]), "", measured])
