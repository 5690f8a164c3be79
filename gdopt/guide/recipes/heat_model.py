"""The inverse problem of the programs `heat_*.py`: where a rod conducts heat badly.

A rod whose ends are held at 0 cools down, ``u_t = (k u_x)_x``. Some thermometers along
it are read at each time step. What is sought is ``m = log k`` at the faces between its
cells: the misfit of the temperatures, and its gradient by the adjoint method.
"""

from typing import Any

import numpy as np

CELLS, TIMES, RATIO = 40, 60, 0.25  # RATIO is dt / dx**2
PLACES = np.s_[1::3]  # of the thermometers
ROUGHNESS = 0.01  # weight of the squared differences of m


def cool(m: Any) -> Any:
    """Return the temperatures (TIMES + 1, CELLS)."""
    k, u = RATIO * np.exp(m), np.empty((TIMES + 1, CELLS))
    u[0] = 1 + np.sin(np.linspace(0, 9, CELLS))
    for t in range(TIMES):
        u[t + 1] = u[t] + np.diff(k * differences(u[t]))
    return u


def differences(u: Any) -> Any:
    """Return the differences at the faces (..., CELLS + 1); it is 0 beyond the ends."""
    return np.diff(u, prepend=0, append=0)


def measured() -> Any:
    """Return what the thermometers show where the rod has a bad part."""
    x = np.linspace(0, 1, CELLS + 1)
    truth = -1.5 * np.exp(-(((x - 0.6) / 0.1) ** 2))
    noise = np.random.default_rng(0).standard_normal((TIMES + 1, CELLS))
    return (cool(truth) + 0.01 * noise)[:, PLACES]


DATA = measured()


def misfit(m: Any) -> tuple[float, Any]:
    """Return the misfit of log-conductivities (CELLS + 1,), and its gradient."""
    u = cool(m)
    residual = np.zeros_like(u)
    residual[:, PLACES] = u[:, PLACES] - DATA
    k, adjoint = RATIO * np.exp(m), residual.copy()
    for t in reversed(range(TIMES)):
        adjoint[t] += adjoint[t + 1] + np.diff(k * differences(adjoint[t + 1]))
    slopes = differences(adjoint[1:]) * differences(u[:-1])
    rough = np.diff(m)
    value = 0.5 * (residual**2).sum() + 0.5 * ROUGHNESS * (rough**2).sum()
    return value, -k * slopes.sum(axis=0) - ROUGHNESS * differences(rough)
