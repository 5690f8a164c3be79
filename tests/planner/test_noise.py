import math

import numpy as np
import pytest

import gdopt
from gdopt.planner import NetworkStep, noise_scale
from gdopt.planner.noise import measure_noise
from gdopt.planner.steps import FunctionStep


def by_brute_force(gradients):
    """Compute tr S / |G|^2 from the gradient of every example, as the paper has it."""
    n = len(gradients)
    mean = gradients.mean(axis=0)
    trace = ((gradients - mean) ** 2).sum() / (n - 1)
    return trace / (mean @ mean - trace / n)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_networks_noise_scale_is_that_of_brute_force(
    numpy_engine, activation, output
):
    last = 1 if output == "sigmoid" else 4
    network = gdopt.nn.Network(
        (6, 8, 5, last),
        activation=activation,
        output=output,
        seed=0,
        dtype=np.float64,
        backend="numpy",
    )
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((96, 6)) + 1, rng.integers(0, max(2, last), 96)
    gradients = []
    for k in range(len(x)):
        network.loss_and_grads(x[k : k + 1], y[k : k + 1])
        gradients.append(network.grads.flat.copy())
    step = NetworkStep(network, gdopt.SGD(network.params, lr=0.1))

    def batches():
        return ((x[k : k + 32], y[k : k + 32]) for k in (0, 32, 64))

    found = measure_noise(step.gradient_stats, batches, lambda: None)
    expected = by_brute_force(np.array(gradients))
    assert found.value == pytest.approx(expected, rel=1e-10)
    assert found.low < found.value < found.high
    assert found.examples == 96


def test_groups_of_examples_give_the_noise_of_single_ones():
    # A gradient that is w - x is known to have tr S = 40, |G|^2 = 4.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((65536, 40)) + 0.1 * math.sqrt(10)
    w = np.zeros(40)

    def gradient(rows):
        return w - rows.mean(axis=0)

    step = FunctionStep(lambda rows: None, None, gradient, axis=0)

    def batches():
        return ((x[k : k + 64],) for k in range(0, len(x), 64))

    found = measure_noise(step.gradient_stats, batches, lambda: None)
    assert found.low < 10 < found.high
    assert found.value == pytest.approx(10, rel=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        g = rng.standard_normal((64, 30)) + 0.5  # tr S = 30, |G|^2 = 7.5
        mean = g.mean(axis=0)
        found = noise_scale((g * g).sum(1), g @ mean, float(mean @ mean))
        held += found.low <= 4 <= found.high
    assert 0.92 <= held / 400 <= 0.98  # 95 %, with a standard error of 1.1 %


def test_pure_noise_has_no_upper_end():
    g = np.random.default_rng(2).standard_normal((64, 30))
    mean = g.mean(axis=0)
    found = noise_scale((g * g).sum(1), g @ mean, float(mean @ mean))
    assert found.high == math.inf
    assert found.low > 30


def test_equal_gradients_have_no_noise():
    g = np.ones((8, 3))
    found = noise_scale((g * g).sum(1), g @ np.ones(3), 3.0)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_jackknife_is_that_of_leaving_out_one_by_one():
    g = np.random.default_rng(3).standard_normal((12, 4)) + 1
    mean = g.mean(axis=0)
    values = []
    for k in range(12):
        rest = np.delete(g, k, axis=0)
        own = rest.mean(axis=0)
        trace = ((rest - own) ** 2).sum() / 10
        values.append((trace, own @ own - trace / 11))
    deviations = np.array(values) - np.mean(values, axis=0)
    (xx, xy), (_, yy) = 11 / 12 * deviations.T @ deviations
    found = noise_scale((g * g).sum(1), g @ mean, float(mean @ mean))
    for end in (found.low, found.high):  # where Fieller's quadratic is even
        gap = found.trace - end * found.squared_norm
        spread = xx - 2 * end * xy + end * end * yy
        assert gap * gap == pytest.approx(1.959964**2 * spread, rel=1e-5)


def test_fewer_than_three_groups_are_refused():
    with pytest.raises(gdopt.ArgumentError, match="at least 3 groups, got 2"):
        noise_scale([1.0, 2.0], [1.0, 1.0], 1.0)
