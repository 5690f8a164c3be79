"""Predicted and measured peaks on the CPU, with the memory there is."""

import numpy as np
import pytest

import gdopt
from gdopt.planner import NetworkStep

SIZES = (64, 128, 256, 512, 1024)


def rises(plan):
    """Return what each size takes beside what is there already, in both ways."""
    lasting = plan.resident_bytes + 8 * plan.examples
    return [
        (row.predicted_bytes - lasting, row.measured_bytes - lasting)
        for row in plan.rows
    ]


NETWORKS = [
    ("relu", (784, 256, 10), 0.03, 12_000),
    ("relu", (784, 256, 10), 0.0, 4096),  # no smaller batch at the end
    ("tanh", (784, 512, 256, 10), 0.0, 6143),  # one of 1,023
    ("sigmoid", (200, 300, 100, 1), 0.0, 3000),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_the_networks_peak_is_predicted_within_5_percent(quick, engine, case):
    activation, sizes, l2, count = case
    output = "sigmoid" if sizes[-1] == 1 else "softmax"
    network = gdopt.nn.Network(
        sizes, activation=activation, output=output, l2=l2, seed=0, backend="numpy"
    )
    rng = np.random.default_rng(0)
    X = rng.standard_normal((count, sizes[0]), dtype=np.float32)
    y = rng.integers(0, max(2, sizes[-1]), count)
    optimizer = gdopt.Adam(network.params)
    step = NetworkStep(network, optimizer, dev=(X[:1500], y[:1500]))
    plan = quick(step, (X, y), sizes=SIZES)
    for row in plan.rows:
        assert row.predicted_bytes == pytest.approx(row.measured_bytes, rel=0.05)
    for predicted, measured in rises(plan):  # which is harder: data are known exactly
        assert predicted == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("count", [12_000, 12_287, 4096])
def test_a_step_by_hand_is_predicted_within_10_percent(quick, numpy_engine, count):
    rng = np.random.default_rng(0)
    W, V = rng.standard_normal((100, 200)) / 10, rng.standard_normal((200, 10)) / 20
    X, Y = rng.standard_normal((count, 100)), rng.standard_normal((count, 10))
    optimizer = gdopt.RMSprop({"W": W, "V": V})

    def step(x, y, xp=np):
        hidden = xp.tanh(x @ W)
        error = hidden @ V - y
        back = error @ V.T * (1 - hidden * hidden)
        scale = 2 / error.size
        optimizer.step({"W": scale * (x.T @ back), "V": scale * (hidden.T @ error)})

    plan = quick(step, (X, Y), optimizer, sizes=SIZES)
    for predicted, measured in rises(plan):
        assert predicted == pytest.approx(measured, rel=0.1)


def test_workspaces_are_no_part_of_the_slope(quick):
    # 8 MB whatever the size, and 8 kB for each example.
    def step(x):
        workspace, each = np.empty(1_000_000), np.empty(1000 * len(x))
        del workspace, each

    plan = quick(step, np.zeros((5000, 1)))
    for predicted, measured in rises(plan):
        assert predicted == pytest.approx(measured, rel=0.01)
    assert plan.buffers["whatever the size"] == pytest.approx(8e6, rel=0.01)


def test_the_rows_of_the_model_add_up(quick):
    network = gdopt.nn.Network((50, 40, 3), seed=0, backend="numpy")
    X = np.zeros((3000, 50), np.float32)
    step = NetworkStep(network, gdopt.SGD(network.params, lr=0.1))
    plan = quick(step, (X, np.zeros(3000, int)))
    chosen = next(row for row in plan.rows if row.batch_size == plan.micro_batch_size)
    assert sum(plan.buffers.values()) == chosen.predicted_bytes
    assert plan.buffers["layer 1"] % (40 * 4) == 0
    assert plan.buffers["order of the examples"] == 8 * 3000
