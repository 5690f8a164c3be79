# %% [markdown]
"""
# Several processes with MPI

Data-parallel descent: each process has the parameters and a part of the data. The gradients are summed over all
processes, and each makes the same step. The sum is MPI's, by mpi4py; gdopt sees a gradient like any other.

Run it with `mpiexec -n 4 python mpi.py`. Without `mpiexec` it runs as one process.

**What is promised:** the step is deterministic. Processes that start with equal bits, and pass equal bits to `step`,
hold equal bits afterwards. **What is not:** how MPI sums. `Allreduce` returns the same bits to all processes in the
usual implementations, and the MPI standard recommends it without requiring it; with another number of processes, the
sum has another order, and other last bits. So the check below compares all processes with the first.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from mpi4py import MPI

import gdopt

world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()

EXAMPLES, FEATURES = 4000, 6
rng = np.random.default_rng(0)  # the same data everywhere; each takes its rows
X = rng.standard_normal((EXAMPLES, FEATURES))
y = X @ np.arange(1.0, FEATURES + 1) + 0.3 * rng.standard_normal(EXAMPLES)
mine = slice(rank, None, size)
X, y = X[mine], y[mine]


def loss_and_gradient(w):
    rest = X @ w - y
    return np.sum(rest**2) / EXAMPLES, 2 * X.T @ rest / EXAMPLES


# %% [markdown]
"""
Loss and gradient travel in one buffer, so that there is one message a step. An `Arena` does the same for a model of
many arrays: its gradients are views of one buffer.

Every process must decide in the same way when to stop: by the sum, which all know, and never by its own clock or
loss.
"""

# %%
w = np.zeros(FEATURES)
world.Bcast(w)
optimizer = gdopt.Adam(w, lr=0.1)
buffer, losses = np.empty(FEATURES + 1), []
for _ in range(200):
    buffer[0], buffer[1:] = loss_and_gradient(w)
    world.Allreduce(MPI.IN_PLACE, buffer)
    losses.append(buffer[0])
    optimizer.step(buffer[1:])

firsts = w.copy()
world.Bcast(firsts)
assert firsts.tobytes() == w.tobytes(), f"process {rank} differs from process 0"

# %%
if rank == 0:
    print(f"{size} processes: loss {losses[-1]:.4f}, w {w.round(2)}")
    figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    axis.semilogy(losses, label="sum over the processes")
    axis.axhline(0.3**2, color="0.6", linestyle="--", label="variance of the noise")
    axis.set(xlabel="step", ylabel="mean squared error")
    axis.legend()
    figure.savefig("mpi.png")

# %% [markdown]
"""
![Mean squared error by step, summed over the processes: it falls from 90 to the variance of the noise, 0.09, within 150 steps.](mpi.png)
"""
