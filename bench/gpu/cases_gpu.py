"""What is measured on a GPU: the same arrays, hyper-parameters and batches for all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

BYTES = {"float32": 4, "bfloat16": 2}
ROTATE = 256 << 20  # bytes that contenders take in turns: no cache holds as much


PEERS = ("torch_fused", "torch_foreach", "optax", "cupy")
COMPILED = ("torch_compiled", "torch_reduce_overhead")  # which takes its time


@dataclass(frozen=True)
class GpuCase:
    """Arrays to update by a rule on a GPU.

    Attributes:
        name: as in ``summary.json``.
        rule: sgd, momentum, rmsprop, adam, adamw, ewa, or own, a user's copy of Adam.
        shapes: of the arrays.
        layout: "arena", or "apart": a dictionary of arrays.
        dtype: of parameters and gradients.
        options: of gdopt's optimizer; peers do what says the same, or have nothing.
        peers: who else is measured.
    """

    name: str
    rule: str
    shapes: tuple[tuple[int, ...], ...]
    layout: str = "arena"
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    peers: tuple[str, ...] = PEERS

    @property
    def elements(self) -> int:
        """How many numbers there are to update."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def bytes(self) -> int:
        """How many bytes a step has to move: each array read once, written once."""
        own, options = BYTES[self.dtype], self.options
        states = {"sgd": 0, "ewa": 0, "momentum": 1, "rmsprop": 1}.get(self.rule, 2)
        state = 2 if options.get("state_dtype") == "bfloat16" else 4
        each = 3 * own + 2 * states * state  # p read and written, g read
        each += own if "clip_norm" in options else 0  # g read once more
        each += 8 if "ema" in options else 0
        each += 8 - own if options.get("master") else 0  # in float32, and p is written
        return each * self.elements

    @property
    def copies(self) -> int:
        """How many sets of arrays take turns, so that a cache does not help."""
        return min(16, max(1, math.ceil(ROTATE / self.bytes))) if self.is_single else 1

    @property
    def is_single(self) -> bool:
        """Tell whether there is one array."""
        return len(self.shapes) == 1

    def small(self) -> GpuCase:
        """Make the case of the same kind on which contenders are checked."""
        shapes = tuple((65,) for _ in self.shapes[:3])
        return replace(self, shapes=shapes)

    def arrays(self, seed: int) -> list[np.ndarray]:
        """Draw arrays of all shapes on the host; large ones repeat themselves."""
        generator = np.random.default_rng(seed)
        noise = generator.standard_normal(1 << 20, dtype=np.float32)
        return [np.resize(noise, shape) for shape in self.shapes]


def size_name(count: int) -> str:
    """Write a power of ten as 1e8."""
    return f"1e{round(math.log10(count))}"


def cases(scale: int = 1) -> Iterator[GpuCase]:
    """List the cases; a scale above 1 makes all of them smaller, to rehearse."""
    for count in (10**6, 10**7, 10**8):
        shape = ((max(count // scale, 64),),)
        for rule in ("adam", "adamw", "rmsprop", "momentum", "ewa", "own"):
            peers = PEERS + (COMPILED if (rule, count) == ("adam", 10**8) else ())
            yield GpuCase(f"{rule}_f32_{size_name(count)}", rule, shape, peers=peers)
    huge = ((max(10**8 // scale, 64),),)
    many = {
        "200x1M": (200, 1 << 20),
        "1000x1024": (1000, 1024),
        "10000x64": (10_000, 64),
    }
    for name, (count, size) in many.items():
        shapes = ((max(size // min(scale, 64), 1),),) * max(count // min(scale, 20), 2)
        peers = ("torch_fused", "torch_foreach", "cupy")
        peers += ("optax",) if count <= 200 else ()  # XLA compiles for minutes
        for layout in ("arena", "apart"):
            suffix = "" if layout == "arena" else "_apart"
            yield GpuCase(
                f"adam_f32_{name}{suffix}", "adam", shapes, layout, peers=peers
            )
    clip = {"clip_norm": 1.0}
    yield GpuCase("adam_clip_f32_1e8", "adam", huge, options=clip)
    yield GpuCase(
        "adam_clip_skip_f32_1e8",
        "adam",
        huge,
        options=clip | {"non_finite": "skip"},
        peers=(),
    )
    yield GpuCase(
        "adam_ema_f32_1e8",
        "adam",
        huge,
        options={"ema": 0.999},
        peers=("torch_fused", "optax"),
    )
    half: dict[str, Any] = {"state_dtype": "bfloat16"}
    yield GpuCase("adam_f32_state_bf16_1e8", "adam", huge, options=half, peers=())
    yield GpuCase("adam_bf16_1e8", "adam", huge, dtype="bfloat16", peers=())
    yield GpuCase(
        "adam_bf16_master_1e8",
        "adam",
        huge,
        dtype="bfloat16",
        options={"master": True},
        peers=(),
    )
    yield GpuCase(
        "adam_bf16_all_1e8",
        "adam",
        huge,
        dtype="bfloat16",
        options=half | {"rounding": "stochastic"},
        peers=("torch_fused",),
    )


@dataclass(frozen=True)
class GpuTraining:
    """Training 784-512-256-10 with ReLU, softmax and Adam, the data on the device."""

    name: str
    batch: int
    captured: bool
    sizes: tuple[int, ...] = (784, 512, 256, 10)
    batches: int = 50

    @property
    def peers(self) -> tuple[str, ...]:
        """Name the others: the eager ones, or those that capture the step."""
        if self.captured:
            return ("torch_reduce_overhead", "torch_compiled", "optax")
        return ("torch_fused", "optax")

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw examples and class numbers."""
        generator = np.random.default_rng(1)
        count = self.batch * self.batches
        X = generator.standard_normal((count, self.sizes[0]), dtype=np.float32)
        return X, generator.integers(0, self.sizes[-1], count)


def trainings(scale: int = 1) -> Iterator[GpuTraining]:
    """List the trainings."""
    for batch in (128, 1024):
        for captured in (False, True):
            name = f"mlp_b{batch}" + ("_captured" if captured else "")
            yield GpuTraining(
                name, max(batch // scale, 8), captured, batches=50 if scale == 1 else 3
            )
