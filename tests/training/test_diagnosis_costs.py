"""What a curve of costs says, by rules that are worked out here by hand."""

import math

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network
from gdopt.training import Record
from gdopt.training.diagnosis import cost_curve


def noise(count, spread, seed=0):
    return spread * np.random.default_rng(seed).standard_normal(count)


def records(costs, lr=0.1):
    return [
        Record(1, k, cost, cost, lr, None, 1e4) for k, cost in enumerate(costs, start=1)
    ]


STEPS = np.arange(200)


@pytest.mark.parametrize(
    ("costs", "verdict"),
    [
        (2 * 0.99**STEPS, "falling"),
        (2 * 0.99**STEPS + noise(200, 0.05), "falling"),
        (0.5 * 1.01**STEPS, "rising"),
        (np.abs(STEPS - 60.0), "rising"),  # fell first, and has risen since
        (1 + noise(200, 0.2), "noisy"),
        (1 + noise(200, 0.01), "plateau"),
        (np.full(200, 0.69), "plateau"),
        (np.zeros(200), "plateau"),
        (-5 - 0.05 * STEPS, "falling"),  # a log-likelihood may be below 0
    ],
)
def test_the_verdict_is_that_of_the_second_half(costs, verdict):
    found = cost_curve(costs)
    assert found.verdict == verdict
    assert str(found).startswith(f"{verdict}: ")
    assert found.advice


@pytest.mark.parametrize(("share", "verdict"), [(0.009, "plateau"), (0.011, "falling")])
def test_a_change_of_one_percent_is_one(share, verdict):
    # With beta = 0 the average is the cost: 1 at the end of the first half, then this.
    costs = [1.0] * 10 + [1 - share] * 10
    found = cost_curve(costs, beta=0.0)
    assert (found.middle, found.end) == (1.0, 1 - share)
    assert found.change == pytest.approx(-share)
    assert (found.noise, found.limit) == (0.0, 0.01)
    assert found.verdict == verdict
    assert cost_curve(costs, beta=0.0, flat=0.1).verdict == "plateau"
    assert cost_curve(costs[::-1], beta=0.0, flat=0.001).verdict == "rising"


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_averages_and_noise_are_those_of_the_formulas(beta):
    costs = 3 + noise(8000, 0.3)
    found = cost_curve(costs, beta=beta)
    weights = beta ** np.arange(4000)[::-1]
    assert found.end == pytest.approx((weights @ costs[4000:]) / weights.sum())
    assert found.middle == pytest.approx((weights @ costs[:4000]) / weights.sum())
    level = max(found.middle, found.end)
    assert found.noise * level == pytest.approx(0.3, rel=0.03)
    # The standard deviation of an average is sqrt((1 - beta) / (1 + beta)) of that.
    expected = 3 * found.noise * math.sqrt(2 * (1 - beta) / (1 + beta))
    assert found.limit == pytest.approx(max(0.01, expected))


def test_the_average_is_over_a_tenth_of_the_costs_and_at_least_ten():
    assert cost_curve(np.ones(20)).beta == pytest.approx(0.9)
    assert cost_curve(np.ones(1000)).beta == pytest.approx(0.99)


def test_noise_alone_is_hardly_ever_taken_for_a_change():
    verdicts = [cost_curve(1 + noise(300, 0.3, seed)).verdict for seed in range(200)]
    assert verdicts.count("noisy") >= 195  # three standard deviations: 199.5 expected


def test_a_fall_that_noise_hides_from_the_eye_is_found():
    costs = np.linspace(1.5, 1.0, 2000)  # by 20 % in the second half, in noise of 20 %
    verdicts = [cost_curve(costs + noise(2000, 0.2, s)).verdict for s in range(20)]
    assert verdicts == ["falling"] * 20


def test_one_outlier_is_no_rise():
    costs = np.ones(200)
    costs[-1] = 5.0
    assert cost_curve(costs).verdict != "rising"


@pytest.mark.parametrize(
    ("norm", "verdict"), [(1e-6, "plateau"), (9e-4, "plateau"), (2e-3, "stalled")]
)
def test_gradient_norms_tell_a_plateau_from_a_stall(norm, verdict):
    found = cost_curve(np.full(40, 0.7), gradient_norms=[norm] * 40)
    assert found.gradient_norm == pytest.approx(norm)
    assert found.verdict == verdict
    assert f"gradients of up to {norm:g}" in found.reason
    moved = cost_curve(
        np.full(40, 0.7), gradient_norms=[norm] * 40, small_gradient=norm * 1.01
    )
    assert moved.verdict == "plateau"


def test_gradients_must_be_small_over_the_whole_second_half():
    early, late = np.full(200, 1e-6), np.full(200, 1e-6)
    early[:60] = 1.0  # an average over 20 steps has forgotten them by step 100
    late[100:140] = 1.0
    costs = np.full(200, 0.7)
    assert (
        cost_curve(costs, gradient_norms=early, small_gradient=0.2).verdict == "plateau"
    )
    assert (
        cost_curve(costs, gradient_norms=late, small_gradient=0.2).verdict == "stalled"
    )


def test_with_gradients_near_zero_noise_is_a_plateau():
    costs = 1 + noise(200, 0.2)
    assert cost_curve(costs, gradient_norms=np.full(200, 1e-9)).verdict == "plateau"
    assert cost_curve(costs, gradient_norms=np.full(200, 1.0)).verdict == "noisy"
    assert cost_curve(costs, noisy=0.3).verdict == "plateau"


def test_in_batch_gradient_descent_one_rise_is_too_many():
    costs = 2 * 0.99**STEPS
    costs[50] = costs[49] + 0.001
    assert cost_curve(costs).verdict == "falling"
    found = cost_curve(costs, full_batch=True)
    assert found.verdict == "rising"
    assert f"from {costs[49]:.6g} to {costs[50]:.6g} after 50 costs" in found.reason
    costs[50] = costs[49] + 1e-6  # rounding in float32
    assert cost_curve(costs, full_batch=True).verdict == "falling"


def test_records_are_read_and_the_rate_is_named():
    found = cost_curve(records(np.linspace(1, 2, 50), lr=0.25))
    assert found.verdict == "rising"
    assert "the learning rate, 0.25, is probably too large" in found.reason
    assert found == cost_curve(tuple(records(np.linspace(1, 2, 50), lr=0.25)))
    assert "the learning rate is probably" in cost_curve(np.linspace(1, 2, 50)).reason


def train(initialization, lr, steps=60):
    """Train a network of three layers on all examples, and keep what it tells."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 4)), np.arange(60) % 3
    network = Network(
        (4, 8, 8, 3),
        initialization=initialization,
        seed=0,
        dtype=np.float64,
        backend="numpy",
    )
    optimizer = gdopt.SGD(network.params, lr=lr, clip_norm=1e9)
    costs, norms = [], []
    for _ in range(steps):
        cost, grads = network.loss_and_grads(x, y)
        optimizer.step(grads)
        costs.append(float(cost))
        norms.append(optimizer.grad_norm)
    return costs, norms


def test_weights_of_zero_lie_on_a_plateau_that_random_ones_avoid():
    costs, norms = train("zeros", 0.1)
    assert cost_curve(costs, gradient_norms=norms).verdict == "plateau"
    assert costs[-1] == pytest.approx(math.log(3))
    costs, norms = train("he", 0.1)
    assert cost_curve(costs, gradient_norms=norms, full_batch=True).verdict == "falling"


def test_a_rate_too_large_rises_in_a_real_training():
    costs, _ = train("he", 30.0)
    assert cost_curve(costs, full_batch=True).verdict == "rising"


@pytest.mark.parametrize(
    ("costs", "options", "message"),
    [
        (np.ones(19), {}, "costs must be at least 20, two windows .* got 19"),
        (np.ones(99), {"beta": 0.98}, "costs must be at least 100"),
        ([1.0, math.nan] * 20, {}, "costs must be finite, got nan at 1"),
        ([1.0] * 30 + [math.inf], {}, "costs must be finite, got inf at 30"),
        (
            np.ones((5, 5)),
            {},
            r"real numbers of one dimension, got float64 of .*\(5, 5\)",
        ),
        (np.ones(30, complex), {}, "costs must be real numbers"),
        (np.ones(30), {"gradient_norms": np.ones(29)}, "must be 30 numbers .* got 29"),
        (np.ones(30), {"gradient_norms": -np.ones(30)}, "of at least 0, .* least -1"),
        (np.ones(30), {"beta": 1.0}, r"beta must be in \[0, 1\)"),
        (np.ones(30), {"flat": -1}, "flat must be in"),
        (np.ones(30), {"noisy": math.inf}, "noisy must be in"),
        (np.ones(30), {"small_gradient": -1}, "small_gradient must be in"),
    ],
)
def test_what_does_not_fit_is_refused(costs, options, message):
    with pytest.raises(gdopt.ArgumentError, match=message):
        cost_curve(costs, **options)


@pytest.mark.parametrize(
    ("costs", "options", "message"),
    [
        (3.0, {}, "costs must be a list or tuple, got float"),
        ({1.0, 2.0}, {}, "costs must be a list or tuple, got set"),
        (["low"] * 30, {}, r"costs\[0\] must be a number, got 'low'"),
        ([1.0] * 30 + records([1.0]), {}, r"costs\[30\] must be a number, got Record"),
        (np.ones(30), {"full_batch": 1}, "full_batch must be True or False, got 1"),
        (np.ones(30), {"beta": "0.9"}, "beta must be a number"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused(costs, options, message):
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        cost_curve(costs, **options)
