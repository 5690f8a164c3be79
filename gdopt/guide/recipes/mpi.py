# %% [markdown]
"""
# Several processes with MPI

Data-parallel descent around a gradient of your own: each process, called a rank, takes a part of every batch, and
loads no other examples. The gradients are added up over all ranks, in an order that does not depend on how many there
are, and each rank updates a slice of the parameters.

Run it with `mpiexec -n 4 python mpi.py`, in an environment with mpi4py and an MPI. Without `mpiexec` it runs as one
process, with the same bits.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import gdopt
from gdopt import parallel

EXAMPLES, FEATURES = 4000, 6


def load(rows):
    """Stand for reading some of the examples from a disk."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES, FEATURES))
    y = x @ np.arange(1.0, FEATURES + 1) + 0.3 * rng.standard_normal(EXAMPLES)
    return x[rows], y[rows]


def loss_and_gradient(params, rows):
    x, y = load(rows)
    rest = x @ params["w"] - y
    return np.mean(rest**2), {"w": 2 * x.T @ rest / len(y)}


# %% [markdown]
"""
The number of examples stands for the data: a batch is then the numbers of its rows, of which each rank gets its own.
`minimize` evaluates at these, exchanges gradients and losses, and makes the same steps on all ranks. With
`checkpoint="run"` the same command would continue after a crash, on any number of ranks.
"""

# %%
with parallel.world() as ranks:
    params = gdopt.Arena.of({"w": np.zeros(FEATURES)})
    optimizer = ranks.sharded(gdopt.Adam, params, lr=0.1)
    batches = ranks.minibatches(EXAMPLES, batch_size=1000, seed=0)
    result = gdopt.minimize(
        loss_and_gradient, params, method=optimizer, data=batches, epochs=50
    )

# %%
if ranks.is_main:
    losses = result.history["loss"]
    print(f"loss {losses[-1]:.4f}, w {params['w'].round(2)}, on {ranks.size} ranks")
    figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    axis.semilogy(losses, label="mean over the ranks")
    axis.axhline(0.3**2, color="0.6", linestyle="--", label="variance of the noise")
    axis.set(xlabel="step", ylabel="mean squared error")
    axis.legend()
    figure.savefig("mpi.png")

# %% [markdown]
"""
![Mean squared error by step, over all ranks: it falls from 85 to the variance of the noise, 0.09, within 110 steps.](mpi.png)

[Several machines](../machines.md) says what is promised of bits, what a rank holds and sends, and what happens when one
fails.
"""
