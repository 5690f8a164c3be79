# %% [markdown]
"""
# Averages of sensor data with gaps

A sensor reports at irregular times, and fails sometimes. An exponentially weighted average of its values should
forget by time, not by count: `times=` and `halflife=` do that, as in pandas. A gap is a NaN, and three answers to it
are possible:

- by default a NaN stays in all later averages, so that a fault is seen;
- `ignore_na=False`: it is skipped, but older values fade with time;
- `ignore_na=True`: it is skipped as if it had not been there.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import gdopt

rng = np.random.default_rng(0)
hours = np.cumsum(rng.exponential(0.1, 480))  # ten values an hour, for two days
truth = 15 + 6 * np.sin(2 * np.pi * (hours - 9) / 24)
degrees = truth + 1.5 * rng.standard_normal(480)
degrees[(hours > 14) & (hours < 20)] = np.nan  # the sensor was off
degrees[rng.random(480) < 0.05] = np.nan  # and values are lost

# %% [markdown]
"""
Over a gap of six hours the average by count, with the same span of ten values, holds on to what it saw before; the
one by time is led by the first values after it. The spread of `ewa_std` is an estimate of the noise.
"""

# %%
by_time = gdopt.ewa(degrees, times=hours, halflife=0.7, ignore_na=False)
by_count = gdopt.ewa(degrees, window=10, ignore_na=True)
spread = gdopt.ewa_std(degrees, window=10, ignore_na=True)
after = (hours > 20) & (hours < 21)
errors = {
    name: float(np.sqrt(np.mean((values - truth)[after] ** 2)))
    for name, values in {"by time": by_time, "by count": by_count}.items()
}
print({name: round(value, 2) for name, value in errors.items()})

# %% [markdown]
"""
While a program runs, `gdopt.EWA` takes one value at a time. Leave a gap out, or wait until the value is there.
"""

# %%
running = gdopt.EWA(window=10)
for value in degrees[np.isfinite(degrees)]:
    average = running.update(value)
assert np.isclose(average, by_count[-1])  # the same as over the whole series

# %%
figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
axis.plot(hours, degrees, "o", color="0.7", markersize=3, label="sensor")
axis.plot(hours, truth, "k:", label="truth")
axis.plot(hours, by_count, color="C1", label="average of about 10 values")
axis.plot(hours, by_time, color="C0", label="average with a half-life of 0.7 h")
low, high = by_count - spread, by_count + spread
axis.fill_between(hours, low, high, color="C1", alpha=0.2, label="its spread")
axis.set(xlabel="time (hours)", ylabel="temperature (°C)")
axis.legend(ncols=2, loc="upper right")
axis.set_ylim(top=np.nanmax(degrees) + 6)
figure.savefig("sensor_gaps.png")

# %% [markdown]
"""
![Two days of temperatures as grey dots with a gap from hour 14 to 20. After it, the average by count stays up to three degrees too high for an hour; the average by time drops at once.](sensor_gaps.png)
"""
