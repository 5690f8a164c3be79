"""The public order of the norm's sum in plain Python, one number at a time."""

import math

import numpy as np

from gdopt.kernels.cpu.flush import can_flush

EXPONENTS = (-3, 3), (482, 490), (-516, -507), (-1074, 1000)


def scattered(generator, shape, kind):
    """Draw numbers around 1, around each limit between sums, or of all magnitudes."""
    exponents = generator.uniform(*EXPONENTS[kind % 4], shape)
    return np.array(generator.standard_normal(shape) * 2.0**exponents)


def at_the_limits():
    """Draw arrays that straddle the limits between the three sums of float64."""
    generator = np.random.default_rng(4)
    limits = [(484, 486.3)] * 20 + [(-512, -509)] * 20
    return [2.0 ** generator.uniform(*limit, 300) for limit in limits]


def ordered_norm(arrays):
    """Return the norm of arrays by the definition in `gdopt.kernels.norm`."""
    sums = [_array_sums(array) for array in arrays]
    taken, big, small = (
        _by_neighbours(list(column)) for column in zip(*sums, strict=True)
    )
    total, scale = taken + small * 2.0**-537 * 2.0**-537, 1.0
    if big != 0:
        total, scale = big + taken * 2.0**-538 * 2.0**-538, 2.0**538
    elif taken == 0:
        total, scale = small, 2.0**-537
    return math.sqrt(total) * scale


def _array_sums(array):
    exact = array.dtype == np.float64
    numbers = array.astype(np.float64 if exact else np.float32).reshape(-1)
    if not exact and can_flush():
        numbers[np.abs(numbers) < np.finfo(np.float32).tiny] = 0
    numbers = numbers.tolist()
    segments = [numbers[k : k + 4096] for k in range(0, len(numbers), 4096)]
    sums = [_segment_sums(segment, exact=exact) for segment in segments or [[]]]
    return [_by_neighbours(list(column)) for column in zip(*sums, strict=True)]


def _segment_sums(numbers, *, exact):
    lanes = [[0.0] * 128 for _ in range(3)]
    for k, x in enumerate(numbers):
        kind, scale = 0, 1.0
        if exact and abs(x) > 2.0**486:
            kind, scale = 1, 2.0**-538
        elif exact and abs(x) < 2.0**-511:
            kind, scale = 2, 2.0**537
        lanes[kind][k % 128] += (x * scale) * (x * scale)
    return [_by_halves(own) for own in lanes]


def _by_halves(lanes):
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[k] + lanes[k + half] for k in range(half)]
    return lanes[0]


def _by_neighbours(sums):
    while len(sums) > 1:
        carried = sums[-1:] if len(sums) % 2 else []
        pairs = zip(sums[::2], sums[1::2], strict=False)
        sums = [one + other for one, other in pairs] + carried
    return sums[0]


def ordered_sum(numbers):
    """Return the sum of an array by the same definition, without squares."""
    sums = []
    for low in range(0, len(numbers), 4096):
        lanes = [0.0] * 128
        for k, x in enumerate(numbers[low : low + 4096]):
            lanes[k % 128] += x
        sums.append(_by_halves(lanes))
    return _by_neighbours(sums)
