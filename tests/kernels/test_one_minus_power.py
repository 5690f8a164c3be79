"""1 - x**t of scalars keeps its digits where x is near one, on every engine."""

from fractions import Fraction

import numpy as np
import pytest

import gdopt
from gdopt.kernels import Kernel
from gdopt.kernels.trace import compile_host


def corrected(p, g, *, beta, t):
    return p - g * (1 - beta**t)


HOST = compile_host(Kernel(corrected).program())


@pytest.mark.parametrize("t", [1, 2, 3, 50, 1000])
@pytest.mark.parametrize("gap", [1e-3, 9e-4, 1e-4, 1e-6, 1e-9])
def test_near_one_it_is_right_to_the_last_places(gap, t):
    beta = 1 - gap
    (found,) = HOST(beta, t)
    exact = 1 - Fraction(beta) ** t
    error = abs(Fraction(found) - exact) / exact
    assert error < (1e-15 if gap < 2.0**-10 else 1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.98, 0.99, 0.999])
def test_ordinary_betas_keep_the_bits_of_the_formula(beta):
    for t in range(1, 200):
        assert HOST(beta, t) == (1 - beta**t,)


def test_at_and_beyond_one_it_is_what_the_formula_gives():
    assert HOST(1.0, 3.0) == (0.0,)
    assert HOST(2.0, 3.0)[0] == pytest.approx(-7.0)
    assert HOST(2.0, 1e9) == (-np.inf,)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999, 1 - 1e-9])
def test_the_device_computes_the_same(beta, cp):
    gradients = np.random.default_rng(0).standard_normal((5, 3))
    host, device = np.zeros(3), cp.zeros(3)
    optimizers = (
        gdopt.Adam(host, lr=0.1, beta2=beta),
        gdopt.Adam(device, lr=0.1, beta2=cp.asarray(beta)),  # the prologue's
    )
    for gradient in gradients:
        optimizers[0].step(gradient)
        optimizers[1].step(cp.asarray(gradient))
    # exp and log are another library's on a device: they differ in the last places.
    np.testing.assert_allclose(device.get(), host, rtol=1e-12)
