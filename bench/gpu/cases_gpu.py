"""What is measured on a GPU: the same arrays, hyper-parameters and batches for all."""

from __future__ import annotations

import functools
import importlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from cases import DTYPE, Case, Training, draw_noise

SCALE = int(os.environ.get("GDOPT_BENCH_SCALE", "1"))  # above 1 rehearses
BYTES = {"float32": 4, "bfloat16": 2}
ROTATE = 256 << 20  # bytes that contenders take in turns: no cache holds as much
PEERS = ("torch_fused", "torch_foreach", "optax", "cupy")
COMPILED = ("torch_compiled", "torch_reduce_overhead")  # which takes its time
MOST_APART = 1000  # arrays, for which a peer takes some milliseconds at most


@dataclass(frozen=True)
class GpuCase(Case):
    """Arrays to update by a rule on a GPU.

    Attributes:
        peers: who else is measured.
    """

    memory: str = "arena"
    peers: tuple[str, ...] = PEERS

    @property
    def bytes(self) -> int:
        """How many bytes a step has to move: each array read once, written once."""
        own, options = BYTES[self.dtype], self.options
        states = {"sgd": 0, "ewa": 0, "momentum": 1, "rmsprop": 1}.get(self.rule, 2)
        state = 2 if options.get("state_dtype") == "bfloat16" else 4
        each = 3 * own + 2 * states * state  # p read and written, g read
        each += own if "clip_norm" in options else 0  # g read once more
        each += 8 if "ema" in options else 0
        if options.get("master_weights"):
            each += 8 - own  # in float32, and p is written
        return each * self.elements

    @property
    def copies(self) -> int:
        """How many sets of arrays take turns, so that a cache does not help."""
        if len(self.shapes) > 1:
            return 1
        return min(16, max(1, math.ceil(ROTATE / self.bytes)))

    def small(self) -> Case:
        """Make the case of the same kind, on the host, to check contenders on."""
        same = {f.name: getattr(self, f.name) for f in fields(Case)}
        return Case(**same | {"shapes": tuple((65,) for _ in self.shapes[:3])})

    def params(self) -> list[Any]:
        """Return the initial values, on the device and not to be written to."""
        return _draw(self.shapes, 0)

    def gradients(self) -> list[Any]:
        """Return the gradients of every step, likewise."""
        return _draw(self.shapes, 1)


@functools.lru_cache(maxsize=2)
def _draw(shapes: tuple[tuple[int, ...], ...], seed: int) -> list[Any]:
    """Draw arrays once for all contenders: the host's numbers, repeated there."""
    cupy = importlib.import_module("cupy")
    sizes = [math.prod(shape) for shape in shapes]
    noise = cupy.asarray(draw_noise(sum(sizes), seed))
    whole, parts, start = cupy.empty(sum(sizes), DTYPE), [], 0
    for place in range(0, whole.size, noise.size):
        part = whole[place : place + noise.size]
        part[...] = noise[: part.size]
    for shape, size in zip(shapes, sizes, strict=True):
        parts.append(whole[start : start + size].reshape(shape))
        start += size
    return parts


def cases(scale: int = 1) -> Iterator[GpuCase]:
    """List the cases; a scale above 1 makes all of them smaller, to rehearse."""
    yield from of_one_array(8, scale)
    yield from of_many_arrays(scale)
    yield from with_options(((max(10**8 // scale, 64),),))
    yield from of_one_array(6, scale)
    yield from of_one_array(7, scale)


def of_one_array(exponent: int, scale: int) -> Iterator[GpuCase]:
    """List the cases of a single array, by rule."""
    shapes = ((max(10**exponent // scale, 64),),)
    for rule in ("adam", "adamw", "rmsprop", "momentum", "ewa"):
        compiled = ("torch_compiled",) if (rule, exponent) == ("adam", 8) else ()
        yield GpuCase(f"{rule}_f32_1e{exponent}", shapes, rule, peers=PEERS + compiled)
    yield GpuCase(f"own_f32_1e{exponent}", shapes, own=True, peers=())


def of_many_arrays(scale: int) -> Iterator[GpuCase]:
    """List the cases of many arrays; for the peers it is one where gdopt's lie."""
    many = {
        "200x1M": (200, 1 << 20),
        "1000x1024": (1000, 1024),
        "10000x64": (10_000, 64),
    }
    for name, (count, size) in many.items():
        shapes = ((max(size // min(scale, 64), 1),),) * max(count // min(scale, 20), 2)
        peers = ("torch_fused", "torch_foreach")
        peers += ("cupy",) if count <= MOST_APART else ()
        peers += ("optax",) if count <= 200 else ()  # XLA compiles for minutes
        yield GpuCase(f"adam_f32_{name}", shapes, peers=peers)
        yield GpuCase(f"adam_f32_{name}_apart", shapes, memory="apart", peers=())


def with_options(shapes: tuple[tuple[int, ...], ...]) -> Iterator[GpuCase]:
    """List the cases of one array whose optimizer does more, or stores less."""
    clip, half = {"clip_norm": 1.0}, {"state_dtype": "bfloat16"}
    for what, dtype, options, peers in (
        ("clip_f32", "float32", clip, PEERS),
        ("clip_skip_f32", "float32", clip | {"non_finite": "skip"}, ()),
        ("ema_f32", "float32", {"ema": 0.999}, ("torch_fused", "optax")),
        ("f32_state_bf16", "float32", half, ()),
        ("bf16", "bfloat16", {}, ()),
        ("bf16_master", "bfloat16", {"master_weights": True}, ()),
        ("bf16_all", "bfloat16", half | {"rounding": "stochastic"}, ("torch_fused",)),
    ):
        name = f"adam_{what}_1e8"
        yield GpuCase(name, shapes, dtype=dtype, options=options, peers=peers)


@dataclass(frozen=True)
class GpuTraining(Training):
    """Training with the data on the device."""

    @property
    def peers(self) -> tuple[str, ...]:
        """Name the others: the eager ones, or those that capture the step."""
        if self.captured:
            return ("torch_reduce_overhead", "optax")
        return ("torch_fused", "optax")


def trainings(scale: int = 1) -> Iterator[GpuTraining]:
    """List the trainings."""
    batches = 50 if scale == 1 else 3
    for batch in (128, 1024):
        for captured, suffix in ((False, ""), (True, "_captured")):
            yield GpuTraining(
                f"mlp_b{batch}{suffix}",
                batch=max(batch // scale, 8),
                batches=batches,
                captured=captured,
            )
