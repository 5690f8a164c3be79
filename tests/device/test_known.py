"""A step on the device may be told the norm of all gradients, and whether finite."""

import numpy as np
import pytest
from twins import LAYOUTS, Twins, draw

import gdopt

KINDS = ("host", "device", "float32 on the device")


def norm_as(kind, norm, cp):
    if kind == "host":
        return float(norm)
    return cp.array(norm, "float32" if "32" in kind else "float64")


class Told:
    """Steps an optimizer with what is known of gradients."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def __getattr__(self, name):
        return getattr(self.optimizer, name)

    def step(self, grads):
        return self.optimizer.step(grads, norm=self.norm)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("non_finite", ["ignore", "skip"])
def test_the_norm_that_is_given_counts(layout, kind, non_finite, cp):
    options = {"clip_norm": 1.0, "loss_scale": 2.0, "non_finite": non_finite}
    dtypes = "float32", "float16"
    start = draw(0, dtypes)
    twins = Twins(cp, lambda p: Told(gdopt.Adam(p, **options)), start, layout)
    for seed, norm in enumerate((3.0, 0.5, 100.0)):
        twins.host.norm, twins.device.norm = norm, norm_as(kind, norm, cp)
        assert list(map(bool, twins.step(draw(seed, dtypes)))) == [True, True]
        found = twins.device.grad_norm
        assert (float(found), found.dtype) == (norm / 2, np.float64)
        assert twins.host.grad_norm == norm / 2
    twins.assert_same()


def test_a_norm_that_nothing_takes_is_reported(cp):
    optimizer = gdopt.SGD(cp.ones(3), lr=1.0)
    assert optimizer.step(cp.ones(3), norm=cp.array(7.0))
    assert float(optimizer.grad_norm) == 7
    assert not optimizer.params["0"].any()


def test_the_device_does_not_look_at_what_is_known(cp):
    optimizer = gdopt.Adam(cp.ones(300, "f"), non_finite="skip", clip_norm=1.0)
    grads = cp.ones(300, "f")
    assert bool(optimizer.step(grads, finite=True))
    assert float(optimizer.grad_norm) == np.sqrt(300)
    assert optimizer.step(grads, finite=False) is False
    assert optimizer.t == 1
    grads[7] = np.nan
    assert not bool(optimizer.step(grads, norm=1.0))  # it looks, all the same
    assert bool(optimizer.step(grads, norm=1.0, finite=True))
    assert optimizer.t == 2
    huge = cp.full(300, 1e30, "f")
    assert not bool(optimizer.step(huge))
    assert bool(optimizer.step(huge, finite=True))


def test_a_norm_elsewhere_is_refused(cp):
    optimizer = gdopt.SGD(cp.ones(3), clip_norm=1.0)
    with cp.cuda.Device(1):
        other = cp.array(1.0)
    with pytest.raises(gdopt.BackendError, match=r"on cuda:0, got .*cuda:1"):
        optimizer.step(cp.ones(3), norm=other)
    with pytest.raises(
        gdopt.BackendError, match="must be on cpu, got one on another d"
    ):
        gdopt.SGD(np.ones(3), clip_norm=1.0).step(np.ones(3), norm=cp.array(1.0))
    with pytest.raises(gdopt.ArgumentTypeError, match="norm must be a number, got"):
        optimizer.step(cp.ones(3), norm=cp.ones(1))
    with pytest.raises(gdopt.ArgumentTypeError, match="norm must be a number, got"):
        optimizer.step(cp.ones(3), norm=cp.array(True))


def test_rows_of_a_part_of_all_gradients(cp):
    optimizer = gdopt.SGD(cp.ones((3, 2)), lr=1.0, clip_norm=1.0)
    assert optimizer.step(cp.full((1, 2), 4.0), at=[1], norm=cp.array(8.0))
    assert optimizer.params["0"].tolist() == [[1, 1], [0.5, 0.5], [1, 1]]
    assert float(optimizer.grad_norm) == 8


def test_complex_parameters(cp):
    z = np.array([1 + 1j, 2.0])
    host = gdopt.SGD(z.copy(), lr=1.0, clip_norm=1.0)
    device = gdopt.SGD(cp.asarray(z), lr=1.0, clip_norm=1.0)
    host.step(z, norm=4.0)
    device.step(cp.asarray(z), norm=cp.array(4.0))
    np.testing.assert_array_equal(device.params["0"].get(), host.params["0"])
