# %% [markdown]
"""
# Deconvolution on a GPU

An image was blurred by a known kernel, and noise was added. We look for the sharp image, as microscopy and astronomy
do. The blur is a plain sum of shifted images, so no FFT and no periodic edge is needed; its adjoint is the same sum
with the shifts reversed.

The code is the same for CuPy and NumPy. `gdopt.get_backend()` is CuPy's if there is a GPU; `gdopt.use("numpy")` before
it would choose otherwise. Its module `xp` makes the arrays, and the image is updated in place, on the device.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import gdopt

backend = gdopt.get_backend()
xp = backend.xp
SIZE, REACH = 64, 4  # pixels along a side, and by how many the kernel reaches

offsets = np.arange(-REACH, REACH + 1)
bell = np.exp(-0.5 * (offsets / 1.8) ** 2)
KERNEL = np.outer(bell, bell) / bell.sum() ** 2


def blur(image, kernel):  # every output pixel sums its neighbours; 0 outside
    padded, out = xp.pad(image, REACH), xp.zeros_like(image)
    for (row, column), weight in np.ndenumerate(kernel):
        out += weight * padded[row : row + SIZE, column : column + SIZE]
    return out


def misfit(image):
    residual = blur(image, KERNEL) - measured
    return 0.5 * (residual**2).sum(), blur(residual, KERNEL[::-1, ::-1])


# %% [markdown]
"""
The scene: disks of different brightness on a dark sky, and noise of 1 %. Brightness is not negative, which
`bounds=` keeps. The bound does most of the work: without it, the noise is amplified.
"""

# %%
rng = np.random.default_rng(0)
y, x = np.mgrid[:SIZE, :SIZE]
scene = np.zeros((SIZE, SIZE))
for _ in range(12):
    row, column, radius, light = rng.uniform((6, 6, 1, 0.3), (58, 58, 5, 1))
    scene[(y - row) ** 2 + (x - column) ** 2 < radius**2] = light
noise = 0.01 * rng.standard_normal(scene.shape)
measured = blur(xp.asarray(scene), KERNEL) + xp.asarray(noise)

sharp = xp.maximum(measured, 0)
result = gdopt.minimize(
    misfit, sharp, method="l-bfgs", bounds=(0, np.inf), max_iter=40, gtol=1e-4
)

found, seen = backend.to_host(sharp), backend.to_host(measured)
errors = [float(np.abs(image - scene).mean()) for image in (seen, found)]
print(f"mean error {errors[0]:.4f} before, {errors[1]:.4f} after; {result.reason}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
titles = (
    "scene",
    f"measured: error {errors[0]:.3f}",
    f"restored: error {errors[1]:.3f}",
)
for axis, title, image in zip(axes, titles, (scene, seen, found), strict=True):
    axis.imshow(image, cmap="inferno", vmin=0, vmax=1)
    axis.set(title=title, xlabel="column (pixels)", ylabel="row (pixels)")
figure.savefig("deconvolution.png")

# %% [markdown]
"""
![Three images of 64 by 64 pixels: twelve disks on a dark sky; the same blurred until neighbours merge; and the restored image, with separate disks and less than half of the error.](deconvolution.png)
"""
