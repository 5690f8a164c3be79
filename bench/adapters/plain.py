"""Plain loops of Numba, and gdopt's training without its products: limits of gdopt."""

from __future__ import annotations

import importlib
import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from cases import HYPER, Case, Training, draw_noise
from machine import cores

from adapters import Contender, UnsupportedError
from adapters.arrays import host, place

jit = numba.njit(nogil=True, error_model="numpy", cache=True)


@jit
def adam(p, m, v, g, t, lr, beta1, beta2, eps):  # noqa: PLR0917 - Numba has no others
    correction = math.sqrt(1 - beta2**t)
    rate, small = np.float32(lr * correction / (1 - beta1**t)), np.float32(eps)
    b1, b2, one = np.float32(beta1), np.float32(beta2), np.float32(1)
    small *= np.float32(correction)
    for i in range(p.size):
        m[i] = b1 * m[i] + (one - b1) * g[i]
        v[i] = b2 * v[i] + (one - b2) * (g[i] * g[i])
        p[i] -= rate * m[i] / (math.sqrt(v[i]) + small)


@jit
def traffic(p, m, v, g):
    """Read four arrays and write three, as Adam does: 28 bytes an element."""
    for i in range(p.size):
        p[i] += g[i]
        m[i] += g[i]
        v[i] += g[i]


@jit
def average_traffic(v, out, x):
    """Read two arrays and write two, as an average does: 16 bytes an element."""
    for i in range(v.size):
        v[i] += x[i]
        out[i] = v[i]


def make(form: str, case: Case, device: str) -> Contender:
    """Call a loop on one array."""
    averages = form == "traffic" and case.rule == "ewa"
    if len(case.shapes) != 1 or case.options or not (averages or case.rule == "adam"):
        message = "a plain loop updates one array by Adam"
        raise UnsupportedError(message)
    (p,), (g,) = place(case.params(), device), place(case.gradients(), device)
    if averages:
        return Contender(shared(average_traffic, p, p.copy(), g), lambda: host([p]))
    m, v = np.zeros_like(p), np.zeros_like(p)

    def feed(arrays):
        (g[...],) = arrays

    step = serial_adam(p, m, v, g) if form == "adam" else shared(traffic, p, m, v, g)
    return Contender(step, lambda: host([p]), feed)


def serial_adam(p, m, v, g):
    """Return a direct call of the loop, which computes the powers itself."""
    count, scalars = itertools.count(1).__next__, tuple(HYPER["adam"].values())
    return lambda: adam(p, m, v, g, count(), *scalars)


def shared(loop, *arrays: np.ndarray):
    """Return a pass of a loop over all arrays, a part for each core."""
    pool = ThreadPoolExecutor(cores())
    parts = list(zip(*(np.array_split(a, cores()) for a in arrays), strict=True))
    return lambda: list(pool.map(lambda part: loop(*part), parts))


def train(form: str, training: Training, device: str) -> Contender:
    """Do a part of what gdopt's training does: the products, or all else."""
    return products(training) if form == "products" else parts(training, device)


def products(training: Training) -> Contender:
    """Compute the products of a step and nothing else, with all threads of BLAS."""
    made, batch = [], training.batch
    for k, (width, size) in enumerate(itertools.pairwise(training.sizes)):
        shapes = (batch, width), (width, size), (batch, size)
        x, w, z = (draw_noise(math.prod(s), k).reshape(s) for s in shapes)
        made += [(x, w, z.copy()), (x.T, z, w.copy())]
        made += [(z, w.T, x.copy())] if k else []

    def step():
        for a, b, out in made:
            np.matmul(a, b, out=out)

    return Contender(step, list)


def parts(training: Training, device: str) -> Contender:
    """Train gdopt's network with products that are not computed.

    NumPy's function is replaced before gdopt is imported; what is left of a step is
    all that is not a product. Results hold random numbers, and later the last step's.

    Raises:
        UnsupportedError: gdopt does not multiply by `numpy.matmul`.
    """
    results = {}
    called = threading.Event()

    def no_product(a, b, out=None):
        called.set()
        if out is not None:
            return out
        key = a.shape[0], b.shape, b.strides
        if key not in results:
            shape = a.shape[0], b.shape[1]
            noise = draw_noise(math.prod(shape), len(results))
            results[key] = noise.reshape(shape)
        return results[key]

    np.matmul = no_product
    adapter = importlib.import_module("adapters.gdopt_")
    contender = adapter.train("numba", training, device)
    with contender.setting():
        contender.step()
    if not called.is_set():
        message = "gdopt does not multiply by numpy.matmul"
        raise UnsupportedError(message)
    return contender
