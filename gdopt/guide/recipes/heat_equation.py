# %% [markdown]
"""
# The adjoint of a heat equation

A rod whose ends are held at 0 cools down, `u_t = (k u_x)_x`. Thermometers along it are read at every time step.
Where does the rod conduct badly? We look for `m = log k` at the faces between its cells.

You bring the solver and its adjoint, gdopt the descent. The misfit has one unknown for each face, and the adjoint
method yields its whole gradient for the price of a second solve, backwards in time.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import gdopt

CELLS, TIMES, RATIO = 40, 60, 0.25  # RATIO is dt / dx**2
PLACES = np.s_[1::3]  # of the thermometers
ROUGHNESS = 0.01  # weight of the squared differences of m


def differences(u):  # at the faces; the temperature beyond the ends is 0
    return np.diff(u, prepend=0, append=0)


def cool(m):  # the temperatures (TIMES + 1, CELLS)
    k, u = RATIO * np.exp(m), np.empty((TIMES + 1, CELLS))
    u[0] = 1 + np.sin(np.linspace(0, 9, CELLS))
    for t in range(TIMES):
        u[t + 1] = u[t] + np.diff(k * differences(u[t]))
    return u


def misfit(m):
    u = cool(m)
    residual = np.zeros_like(u)
    residual[:, PLACES] = u[:, PLACES] - data
    k, adjoint = RATIO * np.exp(m), residual.copy()
    for t in reversed(range(TIMES)):
        adjoint[t] += adjoint[t + 1] + np.diff(k * differences(adjoint[t + 1]))
    slopes = differences(adjoint[1:]) * differences(u[:-1])
    rough = np.diff(m)
    value = 0.5 * (residual**2).sum() + 0.5 * ROUGHNESS * (rough**2).sum()
    return value, -k * slopes.sum(axis=0) - ROUGHNESS * differences(rough)


# %% [markdown]
"""
Measurements with noise, of a rod with a bad part at 0.6. An adjoint that was written by hand is checked first:
`check_gradient` compares it with differences, and names the element that is wrong.
"""

# %%
x = np.linspace(0, 1, CELLS + 1)
truth = -1.5 * np.exp(-(((x - 0.6) / 0.1) ** 2))
noise = np.random.default_rng(0).standard_normal((TIMES + 1, CELLS))
data = (cool(truth) + 0.01 * noise)[:, PLACES]

check = gdopt.check_gradient(misfit, 0.1 * x)
print(check)

# %% [markdown]
"""
The function is smooth and uses all data, so L-BFGS needs no rate. Adam is there for comparison.
"""

# %%
m, slow = np.zeros(CELLS + 1), np.zeros(CELLS + 1)
result = gdopt.minimize(misfit, m, method="l-bfgs", gtol=1e-3)
adam = gdopt.minimize(misfit, slow, method="adam", lr=0.1, gtol=1e-3)
print(f"L-BFGS: {result.nfev} evaluations; Adam: {adam.nfev}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(x, truth, "k--", label="truth")
left.plot(x, m, label="found")
left.set(xlabel="place along the rod", ylabel="log conductivity")
for name, run in {"L-BFGS": result, "Adam": adam}.items():
    right.semilogy(run.history["loss"], label=name)
right.set(xlabel="update", ylabel="misfit")
left.legend(), right.legend()
figure.savefig("heat_equation.png")

# %% [markdown]
"""
![Left, log conductivity along the rod: what was found follows the true dip to -1.5 at place 0.6. Right, the misfit by update: L-BFGS reaches 0.045 within 25 updates, Adam within 90.](heat_equation.png)
"""
