# %% [markdown]
"""
# torch's parameters with a rule of your own

A new update rule is a formula on one array. Written as a NumPy function, it runs as one fused pass over the
parameters of a torch model, where they lie, without a copy. No subclass of `torch.optim.Optimizer` is needed.

The rule here is a *cautious* momentum (Liang et al. 2024): an element moves only where momentum and gradient agree
in sign.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import gdopt


def cautious(p, v, g, *, lr, beta):
    v = beta * v + g
    return p - lr * np.where(v * g > 0, v, 0.0), v


# %% [markdown]
"""
`step()` without an argument reads each parameter's `.grad`. `zero_grad`, `backward` and `step` are called as ever.
"""


# %%
def train(make_optimizer, steps=300):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
    )
    x = 2 * torch.rand(512, 2) - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:]
    optimizer, losses = make_optimizer(model), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def ours(model):
    return gdopt.Optimizer(list(model.parameters()), cautious, lr=0.1, beta=0.9)


def torchs(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def equal(model):  # the same formula without the mask
    return gdopt.SGD(list(model.parameters()), lr=0.1, momentum=0.9)


# %%
runs = {"torch's momentum": train(torchs), "gdopt's": train(equal)}
runs["cautious momentum"] = train(ours)

figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
lines = zip(runs.items(), ("C1-", "k--", "C0-"), (5, 1.5, 2), strict=True)
for (name, losses), style, width in lines:
    text = f"{name}: {losses[-1]:.4f} at the end"
    axis.semilogy(losses, style, linewidth=width, label=text)
axis.set(xlabel="step", ylabel="mean squared error")
axis.legend()
figure.savefig("torch_rule.png")

# %% [markdown]
"""
![Mean squared error by step on a logarithmic scale. torch's and gdopt's momentum are one curve; cautious momentum avoids their bump at step 35 and ends a little higher.](torch_rule.png)
"""
