"""Plans for a device: what is predicted, and that everything comes back."""

import cuda_on_cpu
import numpy as np
import pytest
from plans import digest, network_step, quick, rises

import gdopt
from gdopt.planner import NetworkStep, throughput

MIB = 1 << 20


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Make every turn of timing one step, so that the clock decides nothing."""
    monkeypatch.setattr(throughput, "SECONDS", 1e-9)
    monkeypatch.setattr(throughput, "ATTEMPTS", 1)


@pytest.mark.parametrize("options", [{"judged": 1000}, {"l2": 0.1}, {}])
def test_the_networks_peak_is_predicted_within_5_percent(cp, options):
    step, data = network_step(cp, 3000, (784, 64, 10), **options)
    before = digest(step)
    plan = quick(step, data, sizes=(64, 128, 256, 512, 1024))
    for row, (predicted, measured) in zip(plan.rows, rises(plan), strict=True):
        assert row.predicted_bytes == pytest.approx(row.measured_bytes, rel=0.05)
        assert predicted == pytest.approx(measured, rel=0.05)
        assert row.fits
    assert plan.device == "cuda:0"
    assert digest(step) == before


def test_a_step_by_hand_is_predicted_within_10_percent(cp):
    rng = np.random.default_rng(0)
    W, V = cp.asarray(rng.normal(size=(100, 80))), cp.asarray(rng.normal(size=(80, 9)))
    X = cp.asarray(rng.normal(size=(5000, 100)))
    Y = cp.asarray(rng.normal(size=(5000, 9)))
    optimizer = gdopt.SGD({"W": W, "V": V}, lr=1e-3)

    def step(x, y):
        hidden = cp.tanh(cp.matmul(x, W))
        error = cp.matmul(hidden, V) - y
        back = cp.matmul(error, V.T) * (1 - hidden * hidden)
        grads = {"W": cp.matmul(x.T, back), "V": cp.matmul(hidden.T, error)}
        optimizer.step(grads)

    plan = quick(step, (X, Y), optimizer, sizes=(64, 128, 256, 512, 1024))
    for predicted, measured in rises(plan):
        assert predicted == pytest.approx(measured, rel=0.1)
    assert optimizer.t == 0


def test_the_pool_and_its_limit_are_as_they_were(cp):
    step, data = network_step(cp, 3000)
    pool = cp.get_default_memory_pool()
    quick(step, data)  # which fills what is made once
    pool.set_limit(size=pool.used_bytes() + 900 * MIB)
    pool.free_all_blocks()
    before = pool.used_bytes(), pool.total_bytes(), pool.get_limit()
    allocator = cp.cuda.get_allocator()
    plan = quick(step, data)
    assert (pool.used_bytes(), pool.total_bytes(), pool.get_limit()) == before
    assert cp.cuda.get_allocator() == allocator
    assert plan.memory_bytes - plan.resident_bytes <= 900 * MIB
    pool.set_limit(size=0)


def test_the_limit_of_the_pool_is_the_memory_there_is(cp):
    step, data = network_step(cp, 3000)
    quick(step, data)
    pool = cp.get_default_memory_pool()
    pool.set_limit(size=pool.used_bytes() + 300 * MIB)
    try:
        with pytest.raises(gdopt.PlanError, match="must stay free"):
            quick(step, data, margin=300 * MIB)
        plan = quick(step, data)
    finally:
        pool.set_limit(size=0)
    assert plan.rows[0].margin_bytes == 256 * MIB


def test_the_largest_sizes_are_not_tried_where_memory_is_short(cp, cuda):
    step, data = network_step(cp, 3000, validate=False)
    before = quick(step, data, margin=0)
    beside = cuda.used() - before.resident_bytes
    cuda.set_capacity(before.rows[1].predicted_bytes + beside + 20_000)
    plan = quick(step, data, margin=0)
    assert [row.fits for row in plan.rows] == [True, True, False]
    assert plan.rows[2].measured_bytes is None


def test_a_step_on_the_device_with_data_on_the_host_names_its_device(cp):
    seen = []

    def step(x):
        seen.append(cp.asarray(x) * 2)
        seen.clear()

    X = np.zeros((3000, 1000))
    plan = quick(step, X, device="cuda:0")
    assert plan.device == "cuda:0"
    rise = plan.rows[-1].measured_bytes - plan.resident_bytes - 8 * 3000
    assert rise >= 2 * 256 * 1000 * 8


def test_steps_that_count_on_the_device_come_back(cp):
    step, data = network_step(cp, 3000)
    network = step.network
    skipping = gdopt.Adam(network.params, non_finite="skip", clip_norm=1.0)
    skipping.step(network.grads)
    step = NetworkStep(network, skipping)
    before = digest(step)
    quick(step, data)
    assert digest(step) == before
    assert skipping.t == 1
    network.grads.flat[...] = 0.5
    skipping.step(network.grads)
    assert skipping.t == 2


def test_strided_arrays_on_the_device_come_back(cp):
    whole = cp.asarray(np.arange(40.0).reshape(5, 8))
    part, before = whole[:, ::2], np.arange(40.0).reshape(5, 8)

    def step(x):
        part[...] = part * 1.5

    quick(step, cp.asarray(np.zeros((100, 2))), part)
    assert (whole.get() == before).all()


@pytest.mark.parametrize("columns", [slice(None), slice(None, None, 2)])
def test_arrays_on_the_device_that_no_state_names_are_refused(cp, columns):
    w = cp.zeros((3, 4))[:, columns]

    def step(x):
        w[...] += 1

    with pytest.raises(gdopt.ArgumentError, match="it changed w too"):
        quick(step, cp.asarray(np.zeros((300, 2))))
    assert not w.get().any()


@pytest.mark.gpu
def test_a_gpu_is_planned_for_in_ten_seconds_of_its_time():
    cp = gdopt.get_backend("cupy").xp
    small = 3000, (100, 64, 10)  # where a CPU plays the GPU
    usual = 20_000, (784, 512, 256, 10)
    step, data = network_step(cp, *(usual if cuda_on_cpu.has_gpu() else small))
    plan = gdopt.plan_batch_size(step, data, step)
    assert plan.micro_batch_size in (32, 64, 128, 256, 512, 1024)
    for row in plan.rows:
        assert row.predicted_bytes == pytest.approx(row.measured_bytes, rel=0.05)
