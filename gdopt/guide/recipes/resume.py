# %% [markdown]
"""
# Resume after kill -9

Machines are switched off, jobs reach their time limit, and the system kills what takes too much memory. With
`checkpoint=`, a run keeps its whole state in a folder: parameters, optimizer, schedule, order of the mini-batches and
history. **The same program, started again, continues, and ends with the bits of a run that nothing has stopped.**

This program kills itself at step 170, as `kill -9` does: no handler runs, nothing is saved on the way out.
"""

# %%
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

PROGRAM = """
import os, signal, sys
import numpy as np
import gdopt

folder, killed_at = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
X = rng.standard_normal((2000, 8))
y = X @ np.arange(8.0) + 0.5 * rng.standard_normal(2000)


def squared_error(w, X, y):
    rest = X @ w - y
    return np.mean(rest**2), 2 * X.T @ rest / len(y)


def killer(record):
    if record.step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)


w = np.zeros(8)
result = gdopt.minimize(
    squared_error,
    w,
    data=gdopt.minibatches(X, y, batch_size=64, seed=0),
    lr=gdopt.schedules.cosine(0.1, 0.0, 320),
    epochs=10,
    callback=killer,
    checkpoint=folder,
)
result.history.to_csv(f"{folder}.csv")
np.save(f"{folder}.npy", w)
"""
Path("train.py").write_text(PROGRAM)


def run(folder, killed_at=0):  # the exit status; -9 is that of kill -9
    command = [sys.executable, "train.py", folder, str(killed_at)]
    return subprocess.run(command, check=False).returncode


# %% [markdown]
"""
One run is left in peace. The other is killed, and started again by the same command. What came after the last
checkpoint is done once more, with the same mini-batches. To start over, name another folder.
"""

# %%
statuses = run("whole"), run("killed", killed_at=170), run("killed")
whole, killed = np.load("whole.npy"), np.load("killed.npy")
print(statuses, "equal bits:", whole.tobytes() == killed.tobytes())

# %%
columns = {
    name: np.genfromtxt(f"{name}.csv", delimiter=",", names=True, usecols=(0, 3))
    for name in ("whole", "killed")
}
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, rows), width in zip(columns.items(), (5, 1.5), strict=True):
    step, loss = (rows[field] for field in rows.dtype.names)
    axis.semilogy(step, loss, linewidth=width, label=f"{name}: {loss[-1]:.6f}")
axis.axvline(170, color="k", linestyle=":", label="kill -9")
axis.set(xlabel="step", ylabel="smoothed loss")
axis.legend()
figure.savefig("resume.png")

# %% [markdown]
"""
![Smoothed loss by step: the thin line of the run that was killed at step 170 lies on the thick line of the whole run, before and after, down to the same last value.](resume.png)
"""
