"""Trains on any number of ranks, and prints the bits: bits.py [BACKEND]."""

import hashlib
import sys

import numpy as np

import gdopt
from gdopt import parallel


def train(ranks, backend):
    """Train with dropout, clipping, decay by name, a schedule and a ragged batch."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((330, 20)).astype("f4")  # the last batch has 30 examples
    y = (X[:, :3].sum(1) > 0).astype(int)
    network = gdopt.nn.Network((20, 96, 2), seed=0, keep_prob=0.8, backend=backend)
    opt = ranks.sharded(
        gdopt.AdamW,
        network.params,
        clip_norm=0.5,
        lr=gdopt.schedules.cosine(0.01, 0.0, steps=20),
        weight_decay={"W*": 0.01, "*": 0.0},
    )
    home = gdopt.get_backend(backend)
    X, y = home.from_host(X), home.from_host(y)
    batches = ranks.minibatches(X, y, batch_size=100, seed=1)
    norms = []
    for _ in range(3):
        for parts in batches:
            for part in parts:
                grads = None
                if part.weight:
                    network.loss_and_grads(*part.arrays, part=part)
                    grads = network.grads
                opt.add(grads, part)
            opt.step()
            norms.append(float(opt.grad_norm))
    return opt, norms


def digest(arrays):
    """Hash the bits of arrays."""
    host = (gdopt.backend_of(array).to_host(array) for array in arrays)
    return hashlib.sha256(b"".join(array.tobytes() for array in host)).hexdigest()[:16]


def main(backend="numpy"):
    if backend == "cupy":
        from parallel.moves import on_cpu

        on_cpu()
    with parallel.world(timeout=60) as ranks:
        opt, norms = train(ranks, backend)
        state = opt.state_dict()["state"]
        found = [
            digest(opt.params.values()),
            digest(state[name][key] for name in sorted(state) for key in ("m", "v")),
            digest([np.array(norms)]),
            str(sum(norm > 0.5 for norm in norms)),
        ]
        sys.stdout.write(f"BITS {' '.join(found)} of {opt.t} steps\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
