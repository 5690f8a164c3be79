# %% [markdown]
"""
# A bounded fit, next to SciPy

Two peaks on a background are fitted to a noisy spectrum. Heights and widths are not negative: the parameters have
bounds. `scipy.optimize.minimize` and `gdopt.minimize` both solve it; an adapter lets SciPy's function run gdopt's
methods, for programs that are written for SciPy.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import Bounds, OptimizeResult, minimize

import gdopt

x = np.linspace(0, 10, 200)


def model(p):  # background, then height, place and width of each peak
    bells = [np.exp(-0.5 * ((x - p[k + 1]) / p[k + 2]) ** 2) for k in (1, 4)]
    return p[0] + p[1] * bells[0] + p[4] * bells[1], bells


def misfit(p):
    y, bells = model(p)
    r = (y - data) / len(x)
    slopes = [r.sum()]
    for k, bell in zip((1, 4), bells, strict=True):
        away = (x - p[k + 1]) / p[k + 2]
        push = r * p[k] * bell * away / p[k + 2]
        slopes += [r @ bell, push.sum(), push @ away]
    return 0.5 * len(x) * (r @ r), np.array(slopes)


truth = np.array([0.2, 1.0, 3.5, 0.5, 0.6, 5.0, 0.9])
data = model(truth)[0] + 0.03 * np.random.default_rng(0).standard_normal(len(x))
start = np.array([0.0, 0.5, 3.0, 1.0, 0.5, 6.0, 1.0])
low, high = np.zeros(7), np.full(7, 10.0)
low[[3, 6]] = 0.05  # a width of zero would divide by zero
p = start.copy()  # updated in place; SciPy copies what it is given
ours = gdopt.minimize(misfit, p, method="l-bfgs", bounds=(low, high), gtol=1e-6)
given = {"jac": True, "bounds": Bounds(low, high)}
theirs = minimize(misfit, start, method="L-BFGS-B", tol=1e-12, **given)
print(f"gdopt {ours.nfev} evaluations, SciPy {theirs.nfev}")

# %% [markdown]
"""
SciPy takes a function as its method. This one passes SciPy's arguments on.
"""


# %%
def gdopt_method(fun, x0, args=(), *, jac, bounds=None, callback=None, **options):
    for name in ("hess", "hessp", "constraints"):
        if options.pop(name, None):
            message = f"{name} must be left out, as gdopt's methods do not use it"
            raise ValueError(message)
    options = {"gtol": options.pop("tol", None)} | options
    if isinstance(bounds, Bounds):
        options["bounds"] = bounds.lb, bounds.ub
    elif bounds is not None:  # a pair for each element, None where there is none
        low, high = np.array(list(bounds), float).T
        options["bounds"] = np.fmax(low, -np.inf), np.fmin(high, np.inf)
    x = np.array(x0, float)
    if callback is not None:
        options["callback"] = lambda _record: callback(x.copy())
    run = gdopt.minimize(lambda x: (fun(x, *args), jac(x, *args)), x, **options)
    found = {"x": x, "fun": run.fun, "jac": jac(x, *args), "message": run.reason}
    return OptimizeResult(found, nit=run.nit, nfev=run.nfev, success=run.success)


given |= {"method": gdopt_method, "options": {"method": "l-bfgs"}, "tol": 1e-6}
adapted = minimize(misfit, start, **given)

# %%
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
axis.plot(x, data, "o", color="0.7", markersize=3, label="data")
axis.plot(x, model(theirs.x)[0], linewidth=4, alpha=0.5, label="SciPy's L-BFGS-B")
axis.plot(x, model(p)[0], "k--", linewidth=1.5, label="gdopt's L-BFGS")
axis.set(xlabel="energy", ylabel="counts (thousands)")
axis.legend()
figure.savefig("bounded_fit.png")

# %% [markdown]
"""
![A noisy spectrum as grey dots: a tall peak at energy 3.5 with a shoulder at 5. The fits of SciPy and gdopt lie on each other and run through the middle of the dots.](bounded_fit.png)
"""
