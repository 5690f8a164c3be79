"""Layers that normalize: over the examples of a batch, or over an example's units."""

from __future__ import annotations

import numpy as np

from gdopt.arrays.arena import refuse_overlap
from gdopt.arrays.backend import Array, backend_of, on_their_device
from gdopt.checks import check_like
from gdopt.errors import ArgumentError
from gdopt.nn import formulas
from gdopt.nn.formulas import EPS
from gdopt.nn.inputs import check_floats
from gdopt.nn.layers import Backprop


@on_their_device
def standardized(z: Array, mean: Array, variance: Array) -> Array:
    """Subtract a mean, and divide by a deviation, ``sqrt(variance + eps)``."""
    xp = backend_of(z).xp
    centred = z - mean
    centred /= xp.sqrt(variance + EPS)
    return centred


@on_their_device
def batch_norm(
    z: Array, gamma: Array, beta: Array, d_gamma: Array, d_beta: Array
) -> tuple[Array, Backprop, tuple[Array, Array]]:
    """Normalize over a batch, then learn the scale: ``gamma z_hat + beta``.

    ``z_hat = (z - mu) / sqrt(var + eps)`` with mean and variance of each column over
    the batch, divided by m. Backwards ``d_gamma = sum_i dy_i z_hat_i`` and ``d_beta =
    sum_i dy_i`` are written to the arrays given for them, and
    ``dz = gamma / sqrt(var + eps) (dy - mean(dy) - z_hat mean(dy z_hat))`` is returned.

    A bias before it would be subtracted again with the mean: leave it out.

    Args:
        z: (m, n), m at least 2; float32 or float64, as all others.
        gamma: (n,), the deviation that is learned.
        beta: (n,), the mean that is learned.
        d_gamma: (n,), written to by backprop.
        d_beta: (n,), written to by backprop.

    Returns:
        (m, n), a new array; ``backprop(dy) -> dz``; and mean and variance, (n,) each.

    Raises:
        ArgumentError: there is but one example, or a shape differs.
        ArgumentTypeError: a dtype differs.

    Source: Ioffe & Szegedy 2015, algorithm 1; Ng, Improving deep neural networks,
    week 3. eps is 1e-5, as torch's; Keras has 1e-3.

    >>> import numpy as np
    >>> z, one = np.array([[1.0], [3.0]]), np.ones(1)
    >>> y, backprop, (mean, variance) = batch_norm(z, one, one, one.copy(), one.copy())
    >>> y.round(3).ravel(), mean, variance
    (array([0., 2.]), array([2.]), array([1.]))
    """
    _check_scale(z, 2, gamma=gamma, beta=beta, d_gamma=d_gamma, d_beta=d_beta)
    xp, count = backend_of(z).xp, z.shape[0]
    mean = z.mean(axis=0)
    variance = xp.square(z - mean).mean(axis=0)
    z_hat = standardized(z, mean, variance)
    output = z_hat * gamma
    output += beta

    @on_their_device
    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, z_hat)
        xp.sum(d_output * z_hat, axis=0, out=d_gamma)
        xp.sum(d_output, axis=0, out=d_beta)
        d_z = d_output - d_beta / count
        d_z -= z_hat * (d_gamma / count)
        d_z *= gamma / xp.sqrt(variance + EPS)
        return d_z

    return output, backprop, (mean, variance)


@on_their_device
def layer_norm(
    z: Array, gamma: Array, beta: Array, d_gamma: Array, d_beta: Array
) -> tuple[Array, Backprop]:
    """Normalize an example over its units, then scale: ``gamma z_hat + beta``.

    ``z_hat = (z - mu) / sqrt(var + eps)`` with mean and variance of each row, divided
    by n, in training and in use. Sums are in float64, with the same bits on every
    engine. Backwards ``d_gamma = sum_i dy_i z_hat_i`` and ``d_beta = sum_i dy_i`` are
    written to the arrays given for them, and with ``dh = dy gamma``
    ``dz = (dh - mean(dh) - z_hat mean(dh z_hat)) / sqrt(var + eps)`` is returned, the
    means over the units.

    Args, and what is raised, are those of `batch_norm`; m and n are at least 1.

    Returns:
        (m, n), a new array; and ``backprop(dy) -> dz``.

    Source: Ba, Kiros & Hinton 2016, Layer Normalization, equation 4. It is torch's
    ``nn.LayerNorm(n)``, with its eps of 1e-5; Keras has 1e-3.

    >>> import numpy as np
    >>> z, one = np.array([[1.0, 3.0]]), np.ones(2)
    >>> y, backprop = layer_norm(z, one, one, one.copy(), one.copy())
    >>> y.round(3)
    array([[0., 2.]])
    """
    _check_scale(z, 1, gamma=gamma, beta=beta, d_gamma=d_gamma, d_beta=d_beta)
    xp, wide = backend_of(z).xp, gamma.astype(np.float64)[None]
    output, z_hat, root = xp.empty_like(z), z.copy(), xp.empty((len(z), 1))
    offset = beta.astype(np.float64)[None]
    formulas.layer_norm(output, z_hat, root, wide, offset)

    @on_their_device
    def backprop(d_output: Array) -> Array:
        check_like("d_output", d_output, z_hat)
        d_z, sums = d_output.copy(), (xp.empty_like(wide), xp.empty_like(wide))
        formulas.layer_norm_back(d_z, *sums, z_hat, root, wide)
        d_gamma[...], d_beta[...] = sums[0][0], sums[1][0]
        return d_z

    return output, backprop


def _check_scale(z: Array, least: int, **others: Array) -> None:
    backend = check_floats("z", z, **others)
    if least > 1 and z.shape[:1] < (least,):
        raise ArgumentError(
            f"z must hold at least {least} examples to be normalized over them, got "
            f"shape {z.shape}; drop_last=True leaves a smaller last batch out"
        )
    if z.ndim != 2 or 0 in z.shape:
        raise ArgumentError(f"z must have shape (m, n), not empty, got {z.shape}")
    for name, array in others.items():
        check_like(name, array, z[0])
    grads = {name: others[name] for name in ("d_gamma", "d_beta")}
    refuse_overlap(backend, grads, "gradients")
