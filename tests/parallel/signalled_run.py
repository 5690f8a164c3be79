"""A run of which one rank gets a signal: signalled_run.py FOLDER."""

import hashlib
import signal
import sys

import numpy as np

import gdopt
from gdopt import parallel

X = np.random.default_rng(0).standard_normal((43, 3))
STEP = 6


def squares(params, x):
    error = x @ params["w"] - x @ np.array([1.0, -2.0, 3.0])
    return float(error @ error) / len(x), {"w": 2 * x.T @ error / len(x)}


def minimized(ranks, **run):
    params = gdopt.Arena.of({"w": np.zeros(3)})
    opt = ranks.sharded(gdopt.Adam, params, lr=0.1)
    batches = ranks.minibatches(X, batch_size=10)
    gdopt.minimize(squares, params, method=opt, data=batches, epochs=4, **run)
    return hashlib.sha256(params.flat.tobytes()).hexdigest()[:16]


with parallel.world(timeout=30) as ranks:

    def stop(record):
        if record.step == STEP and ranks.rank == 1:
            signal.raise_signal(signal.SIGINT)

    lines = [f"WHOLE {minimized(ranks)}"]
    seen = []
    try:
        minimized(ranks, callback=stop, checkpoint=sys.argv[1])
    except KeyboardInterrupt:
        lines.append("INTERRUPTED")
    continued = minimized(
        ranks, callback=lambda r: seen.append(r.step), checkpoint=sys.argv[1]
    )
    lines += [f"WHOLE {continued}", f"FROM {seen[0]}"]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
