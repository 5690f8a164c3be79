"""The same figures from optax and torch, where they have the schedule."""

import pytest

from gdopt.schedules import (
    cosine,
    exponential,
    halving,
    join,
    piecewise,
    polynomial,
)


def values(schedule, steps):
    return [schedule(step) for step in steps]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cosine(0.1, 0.0, 40), lambda o: o.cosine_decay_schedule(0.1, 40)),
        (
            polynomial(0.1, 0.02, 40, power=1.5),
            lambda o: o.polynomial_schedule(0.1, 0.02, 1.5, 40),
        ),
        (
            exponential(0.1, 0.9, 7, staircase=True),
            lambda o: o.exponential_decay(0.1, 7, 0.9, staircase=True),
        ),
        (exponential(0.1, 0.9, 7), lambda o: o.exponential_decay(0.1, 7, 0.9)),
        (
            piecewise([7, 20], [0.1, 0.05, 0.005]),
            lambda o: o.piecewise_constant_schedule(0.1, {7: 0.5, 20: 0.1}),
        ),
        (
            join([0.1, cosine(0.2, 0.0, 10)], [7]),
            lambda o: o.join_schedules(
                [o.constant_schedule(0.1), o.cosine_decay_schedule(0.2, 10)], [7]
            ),
        ),
    ],
    ids=repr,
)
@pytest.mark.peers("optax")
def test_schedules_agree_with_optax(ours, theirs):
    import optax

    expected = [float(theirs(optax)(step)) for step in range(60)]
    # optax computes in float32
    assert values(ours, range(60)) == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(
    ("ours", "name", "arguments", "steps"),
    [
        # up to T_max: behind it torch rises again, gdopt keeps the end
        (
            cosine(0.1, 0.01, 40),
            "CosineAnnealingLR",
            {"T_max": 40, "eta_min": 0.01},
            41,
        ),
        (
            polynomial(0.1, 0.0, 40, power=2),
            "PolynomialLR",
            {"total_iters": 40, "power": 2},
            60,
        ),
        (exponential(0.1, 0.9), "ExponentialLR", {"gamma": 0.9}, 60),
        (halving(0.1, 7), "StepLR", {"step_size": 7, "gamma": 0.5}, 60),
        (
            piecewise([7, 20], [0.1, 0.05, 0.025]),
            "MultiStepLR",
            {"milestones": [7, 20], "gamma": 0.5},
            60,
        ),
    ],
    ids=repr,
)
@pytest.mark.peers("torch")
def test_schedules_agree_with_torch(ours, name, arguments, steps):
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    # torch updates recursively: its rounding errors add up
    assert values(ours, range(steps)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.peers("torch")
def test_torch_rises_again_after_the_cosine_where_gdopt_keeps_the_end():
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
    for _ in range(10):
        optimizer.step()
        theirs.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    assert cosine(0.1, 0.0, 5)(10) == 0.0
