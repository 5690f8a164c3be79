"""A network for regression is planned for as exactly as one for classes."""

import numpy as np
import pytest

import gdopt
from gdopt.planner import NetworkStep

SIZES = (64, 128, 256, 512, 1024)
LARGE = (4096, 8192, 16_384)  # of a network so small that its objects count, too
NETWORKS = {
    "sigmoid": ("sigmoid", (200, 300, 100, 1), 0.03, 3000, 1500, SIZES),
    "slices, small outputs": ("relu", (20, 60, 50), 0.0, 9000, 9000, SIZES),
    "slices, large outputs": ("relu", (100, 8, 40), 0.0, 9000, 9000, SIZES),
    "no hidden layer": ("tanh", (4, 1), 0.0, 40_000, 40_000, LARGE),
    "many targets": ("tanh", (4, 20), 0.0, 200_000, 200_000, LARGE),
}


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("judged", [False, True])
def test_the_networks_peak_is_predicted_within_5_percent(
    quick, numpy_engine, case, judged
):
    activation, sizes, l2, count, dev, tried = NETWORKS[case]
    network = gdopt.nn.Network(
        sizes, activation=activation, output="linear", l2=l2, seed=0, backend="numpy"
    )
    rng = np.random.default_rng(0)
    X = rng.standard_normal((count, sizes[0]), dtype=np.float32)
    y = rng.standard_normal((count, sizes[-1]), dtype=np.float32)
    part = (X[:dev], y[:dev]) if judged else None
    step = NetworkStep(network, gdopt.Adam(network.params), dev=part)
    plan = quick(step, (X, y), sizes=tried)
    lasting = plan.resident_bytes + 8 * plan.examples
    for row in plan.rows:
        assert row.predicted_bytes - lasting == pytest.approx(
            row.measured_bytes - lasting, rel=0.05
        )
    assert plan.noise_scale is not None


def test_dev_examples_are_judged_by_their_loss():
    network = gdopt.nn.Network((2, 3, 1), output="linear", seed=0, backend="numpy")
    dev = np.ones((5, 2), np.float32), np.zeros(5, np.float32)
    step = NetworkStep(network, gdopt.SGD(network.params, lr=0.1), dev=dev)
    assert step.evaluate() == network.loss(*dev)


def test_targets_that_do_not_fit_are_refused(quick):
    network = gdopt.nn.Network((2, 3, 1), output="linear", seed=0, backend="numpy")
    step = NetworkStep(network, gdopt.SGD(network.params, lr=0.1))
    with pytest.raises(
        gdopt.ArgumentTypeError, match=r"targets must be float32, .* int"
    ):
        quick(step, (np.ones((50, 2), np.float32), np.arange(50)))
