"""Every rule of the library with its scalars, and a rule that uses every operation."""

import numpy as np
from oracles import CASES

from gdopt.averages import average
from gdopt.kernels import Kernel

SCALARS = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "t": 3}
SCALARS |= {"beta": 0.9, "beta3": 0.99, "rho": 0.9, "momentum": 0.9, "dampening": 0.1}
SCALARS |= {"weight_decay": 0.01, "lambd": 1e-4, "alpha": 0.75, "t0": 1.0}
SCALARS |= {"l1": 0.1, "l2": 0.1, "l2_shrinkage": 0.1}
SCALARS |= {"eta_minus": 0.5, "eta_plus": 1.2}
SCALARS |= {"min_step_size": 1e-6, "max_step_size": 50.0}
SCALARS |= {"momentum_decay": 4e-3, "trust_coefficient": 0.1, "d": 1.0}
SCALARS |= {"beta2_decay": -0.8, "eps1": 1e-8, "eps2": 1e-3}


def every_operation(p, a, b, g, *, lr):
    """Use every operation whose bits are promised."""
    small = (abs(a) < 1) & (b >= -2) | ~(a <= b)
    chosen = np.where(small | (g == 0) & (a != b), np.minimum(a, b), np.maximum(a, g))
    powers = a**2 + np.square(b) - abs(g) ** 0.5 + 2 / (1 + b**2) ** 1.5 + a**3 * g**-1
    return (
        p - lr * (-chosen + np.sign(g) * np.sqrt(abs(powers))),
        np.where(p > 0, -a, abs(b)),
        np.where(b < 3, np.clip(b, -2.0, a), a),
    )


def swap(p, m, g, *, lr):
    """Write every array from another one's old value."""
    return m, p + lr * g


def extrema(p, a, b, *, lr):
    """Store what minimum and maximum choose, also of scalars, as it is."""
    return np.minimum(p, a), np.maximum(p, a), np.minimum(np.maximum(b, 0.0), lr)


RULES = {name: case.make(np.zeros(1)).rule for name, case in CASES.items()}
# Powers of elements are each library's own: such a rule has no bits to be compared.
# Those of rules that reduce are compared in `test_reductions`.
EXACT = [
    name
    for name, rule in RULES.items()
    if not rule.kernel.by_shape
    and "power" not in {n.operation for n in rule.kernel.program().instructions}
]
KERNELS = {RULES[name].name: RULES[name].kernel for name in EXACT} | {
    function.__name__: Kernel(function)
    for function in (average, every_operation, extrema, swap)
}
CHIEF = {"sgd", "adam", "adamw", "average", "every_operation", "extrema", "swap"}


def sample(place, count):
    """Return the kernels whose turn is at one of some places, and the chief ones."""
    return {
        name: kernel
        for turn, (name, kernel) in enumerate(KERNELS.items())
        if turn % count == place or name in CHIEF
    }


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 6e-45, 3e38, -3e38]
SPECIAL += [1e-310, -5e-324, 1.7e308, 1e-38, 1.1754942e-38, 1.0, -1.0, 2.0]


def aligned(shape, dtype):
    """Make an array on 512 bytes, as CuPy's pool does, full of garbage."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.full(size + 512, 0xA5, np.uint8)
    start = -raw.ctypes.data % 512
    return raw[start : start + size].view(dtype).reshape(shape)


def special_arrays(count, size, dtype, seed=0):
    """Make arrays of ordinary numbers among which every pair of special ones meets."""
    generator = np.random.default_rng(seed)
    arrays = []
    with np.errstate(over="ignore"):
        special = np.array(SPECIAL).astype(dtype)
    for k in range(count):
        array = generator.standard_normal(size).astype(dtype)
        places = generator.random(size) < 0.5
        picks = (np.arange(size) // len(special) ** k) % len(special)
        arrays.append(np.where(places, special[picks], array))
    return arrays


def bits(array):
    """Return the bytes of an array, all NaNs alike: their payloads are not promised."""
    return np.where(np.isnan(array), array.dtype.type(np.nan), array).tobytes()
