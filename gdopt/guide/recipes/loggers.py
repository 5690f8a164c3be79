# %% [markdown]
"""
# Loggers in five lines

A callback is a function of a `Record`: the step, and what was measured at it. So a logger needs no plug-in: a few
lines send a record wherever you want it. Here it is a CSV file, written during the run.
"""

# %%
import csv

import matplotlib.pyplot as plt
import numpy as np

import gdopt

rng = np.random.default_rng(0)
X = rng.standard_normal((1200, 4))
parts = gdopt.split(X, X @ np.arange(4.0) + 0.1 * rng.standard_normal(1200), seed=0)


def squared_error(w, X, y):
    rest = X @ w - y
    return np.mean(rest**2), 2 * X.T @ rest / len(y)


file = open("run.csv", "w", newline="", encoding="utf-8")
rows = csv.DictWriter(file, ["step", "loss", "dev_loss", "lr"], extrasaction="ignore")
rows.writeheader()


def log(record):
    rows.writerow(vars(record))


def numbers(record):  # those that were measured
    return {name: v for name, v in vars(record).items() if isinstance(v, float)}


# %% [markdown]
"""
The same for TensorBoard, Weights & Biases and MLflow:

```python
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter("runs/line")
def log(record):
    writer.add_scalar("loss", record.loss, record.step)
    writer.add_scalar("lr", record.lr, record.step)
```

```python
import wandb
run = wandb.init(project="line")
def log(record):
    run.log(numbers(record), step=record.step)
```

```python
import mlflow
mlflow.start_run()
def log(record):
    mlflow.log_metrics(numbers(record), step=record.step)
```
"""

# %% [markdown]
"""
`callback=` takes one or a list. After a run, `result.history` has the same as arrays, and `.to_csv(path)`.
"""

# %%
batches = gdopt.minibatches(*parts.train, batch_size=64, seed=0)
options = {"data": batches, "lr": 0.05, "epochs": 20, "dev": parts.dev}
gdopt.minimize(squared_error, np.zeros(4), callback=log, **options)
file.close()

table = np.genfromtxt("run.csv", delimiter=",", names=True)
dev = table[np.isfinite(table["dev_loss"])]
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
axis.semilogy(table["step"], table["loss"], alpha=0.5, label="of each mini-batch")
axis.semilogy(dev["step"], dev["dev_loss"], "o-", label="of the dev part")
axis.set(xlabel="step", ylabel="loss, read back from run.csv")
axis.legend()
figure.savefig("loggers.png")

# %% [markdown]
"""
![Loss by step, read back from the CSV file: that of the mini-batches is jagged, that of the dev part a smooth line of 20 dots; both fall from 30 to 0.01.](loggers.png)
"""
