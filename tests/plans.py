"""Plans on a device, with little effort: steps, quick plans, and what must not move."""

import random

import numpy as np

import gdopt
from gdopt.planner import NetworkStep


def network_step(cp, count, sizes=(200, 64, 10), judged=0, l2=0.0, **options):
    network = gdopt.nn.Network(sizes, seed=0, backend="cupy", l2=l2)
    rng = np.random.default_rng(0)
    X = cp.asarray(rng.standard_normal((count, sizes[0]), dtype=np.float32))
    y = cp.asarray(rng.integers(0, sizes[-1], count))
    optimizer = gdopt.Adam(network.params, lr=gdopt.schedules.cosine(0.1, 0, 50))
    dev = (X[:judged], y[:judged]) if judged else None
    return NetworkStep(network, optimizer, dev=dev, **options), (X, y)


def digest(step, *others):
    network, optimizer = step.network, step.optimizer
    buffers = [network.params.flat, network.grads.flat]
    buffers += [arena.flat for arena in optimizer.state_arenas.values()]
    kept = [buffer.get().tobytes() for buffer in buffers]
    numbers = [repr(other.bit_generator.state) for other in others]
    return kept, numbers, optimizer.t, random.getstate()


def quick(step, data, state=None, **options):
    usual = {"repeats": 2, "sizes": (64, 128, 256)}
    return gdopt.plan_batch_size(step, data, state, **usual | options)


def rises(plan):
    lasting = plan.resident_bytes + 8 * plan.examples
    return [
        (row.predicted_bytes - lasting, row.measured_bytes - lasting)
        for row in plan.rows
    ]
