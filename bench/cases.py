"""What is measured: the same arrays, hyper-parameters and batches for everyone."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HYPER = {
    "sgd": {"lr": 1e-3},
    "momentum": {"lr": 1e-3, "beta": 0.9},  # the heavy ball, which all have
    "rmsprop": {"lr": 1e-3, "beta": 0.9, "eps": 1e-8},
    "adam": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 1e-2,
    },
    "ewa": {"beta": 0.9},
}
LIMITS = (-0.5, 0.5)  # of the rule "clip", which as "minimum" and "maximum" takes none
DTYPE = np.float32
NOISE = 1 << 20


@dataclass(frozen=True)
class Case:
    """Arrays to update by a rule.

    Attributes:
        name: of the case.
        shapes: of the arrays.
        rule: a key of `HYPER`.
        memory: how gdopt's user holds the arrays; peers have a way of their own.
            ``"array"``: one array, and its gradient in the same array at every step.
            ``"arena"``: views of one buffer, as are the gradients.
            ``"copied"``: an arena, into which arrays of gradients are copied first.
            ``"apart"``: a dictionary of arrays, as are the gradients.
            ``"fresh"``: the same, but its gradients are elsewhere at every step.
            ``"torch"``: parameters of torch, which carry their gradients.
        dtype: of parameters and gradients, which are drawn in float32.
        own: gdopt gets the rule as a formula that its user has written.
        options: of gdopt's optimizer; a peer takes those that it has something for.
        sets_lr: gdopt's rate is set anew before every step.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    rule: str = "adam"
    memory: str = "array"
    dtype: str = "float32"
    own: bool = False
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    sets_lr: bool = False

    @property
    def is_half(self) -> bool:
        """Whether parameters or state are rounded to bfloat16."""
        return "bfloat16" in {self.dtype, self.options.get("state_dtype")}

    @property
    def elements(self) -> int:
        """How many numbers there are to update."""
        return sum(math.prod(shape) for shape in self.shapes)

    def params(self) -> list[np.ndarray]:
        """Return the initial values, not to be written to."""
        return _draw(self.shapes, 0)

    def gradients(self) -> list[np.ndarray]:
        """Return the gradients of every step, not to be written to."""
        return _draw(self.shapes, 1)


def draw_noise(count: int, seed: int) -> np.ndarray:
    """Draw the numbers that arrays consist of, a million at most."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(min(count, NOISE), dtype=DTYPE)


@functools.lru_cache(maxsize=2)
def _draw(shapes: tuple[tuple[int, ...], ...], seed: int) -> list[np.ndarray]:
    """Draw arrays; what is more than a million numbers repeats itself."""
    sizes = [math.prod(shape) for shape in shapes]
    numbers = np.resize(draw_noise(sum(sizes), seed), sum(sizes))
    parts = np.split(numbers, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


@dataclass(frozen=True)
class Training:
    """Mini-batch training of a network with ReLU, softmax and Adam; labels are random.

    Attributes:
        name: of the case.
        sizes: of the input and of every layer.
        batch: examples in a batch.
        batches: how many different ones there are.
        captured: the step is a CUDA graph, where a contender can capture it.
    """

    name: str = "training 784-512-256-10"
    sizes: tuple[int, ...] = (784, 512, 256, 10)
    batch: int = 128
    batches: int = 200
    captured: bool = False

    def params(self) -> list[np.ndarray]:
        """Return W1, b1, W2, ...; Wk is (n_in, n_out), by He's initialization."""
        rng = np.random.default_rng(0)
        params = []
        for width, size in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            scale = math.sqrt(2 / width)
            params += [scale * rng.standard_normal((width, size)), np.zeros(size)]
        return [array.astype(DTYPE) for array in params]

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all examples, (batch * batches, n_in), and their class numbers."""
        return _examples(self.batch * self.batches, self.sizes[0], self.sizes[-1])

    def data(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the batches, (batch, n_in) and class numbers (batch,) each."""
        X, y = self.examples()
        starts = range(0, len(X), self.batch)
        return [(X[k : k + self.batch], y[k : k + self.batch]) for k in starts]


@functools.lru_cache(maxsize=1)
def _examples(count: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((count, width), dtype=DTYPE)
    return X, rng.integers(0, classes, count)


NETWORK = ((784, 512), (512,), (512, 256), (256,), (256, 10), (10,))
MANY = ((256,),) * 300
LARGE = ((250, 500),) * 100
HUGE = 10**8  # elements, which take 1.6 GB for each contender
MILLION = Training("training 784-1024-512-10", (784, 1024, 512, 10))  # 1.33 of weights


def one_array(count: int, rule: str = "adam") -> Case:
    """Make the case of a single array."""
    exponent = round(math.log10(count))
    return Case(f"{rule}, one array of 1e{exponent}", ((count,),), rule)


def arrays_of_256(count: int, memory: str, **more: Any) -> Case:
    """Make the case of several small arrays."""
    label = {"arena": "in an arena", "fresh": "apart, fresh gradients"}[memory]
    name = f"{count:,} arrays of 256, {label}"
    return Case(name, ((256,),) * count, memory=memory, **more)


SIZES = [one_array(10**exponent) for exponent in range(2, 9)]
COUNTS = [
    arrays_of_256(10**exponent, memory)
    for memory in ("arena", "fresh")
    for exponent in range(5)
]
RULES = [
    one_array(count, rule)
    for rule in HYPER
    if rule != "adam"
    for count in (10**6, 10**7)
]
MODELS = [
    Case(f"{name}, {label}", shapes, memory=memory)
    for name, shapes in {
        "6 arrays, 536 k": NETWORK,
        "300 arrays of 256": MANY,
        "100 arrays, 12.5 M": LARGE,
    }.items()
    for memory, label in {
        "arena": "in an arena",
        "copied": "gradients copied into an arena",
        "fresh": "apart, fresh gradients",
    }.items()
]
CASES = {case.name: case for case in (*SIZES, *RULES, *MODELS, *COUNTS)}
