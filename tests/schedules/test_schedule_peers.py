"""The same figures from torch, Keras, optax and scikit-learn, to 1e-12.

What is compared with a schedule of theirs is the line to write for its name, and so the
lines are right. Arguments are at their edges, too: one step, nothing that changes, ...
"""

import inspect
import math

import numpy as np
import pytest

import gdopt
from gdopt import schedules
from gdopt.schedules import (
    cyclic,
    exponential,
    inverse_time,
    join,
    one_cycle,
    per_epoch,
    piecewise,
    polynomial,
)
from gdopt.schedules.names import LINES

LR = 0.1
STEPS = 60


def values(schedule, steps=STEPS):
    return [schedule(step) for step in range(steps)]


def same(expected):
    scale = max(map(abs, expected))
    return pytest.approx(expected, rel=1e-12, abs=1e-12 * min(scale, 1))


def ours_for(theirs, arguments):
    """Return what the line for a class or a function of another library makes."""
    parameters = inspect.signature(theirs).parameters.values()
    defaults = {p.name: p.default for p in parameters}
    start = {"lr": arguments.get("init_value", LR)}
    names = {"math": math, **vars(schedules), **start, **defaults, **arguments}
    return eval(LINES[theirs.__name__].replace(", ...", ""), names)  # noqa: S307 - our own text


def from_torch(torch, make, steps, arguments):
    """Return the rates and momenta of a torch scheduler, from its first step on."""
    p = torch.zeros(1, requires_grad=True, dtype=torch.float64)
    optimizer = torch.optim.SGD([p], lr=LR, momentum=0.9)
    scheduler = make(optimizer, **arguments)
    rates, momenta = [], []
    for step in range(steps):
        if step:
            optimizer.step()
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
    return rates, momenta


def torch_class(torch, name):
    where = torch.optim.swa_utils if name == "SWALR" else torch.optim.lr_scheduler
    return getattr(where, name)


@pytest.mark.parametrize(
    ("name", "steps", "arguments"),
    [
        # Up to T_max: past it torch rises again, and gdopt keeps the end.
        ("CosineAnnealingLR", 41, {"T_max": 40, "eta_min": 0.01}),
        ("CosineAnnealingLR", 2, {"T_max": 1}),
        ("CosineAnnealingLR", 3, {"T_max": 2, "eta_min": -0.2}),
        ("CosineAnnealingLR", 6, {"T_max": 5, "eta_min": LR}),
        ("CosineAnnealingWarmRestarts", 60, {"T_0": 7}),
        ("CosineAnnealingWarmRestarts", 160, {"T_0": 5, "T_mult": 2, "eta_min": 0.01}),
        ("CosineAnnealingWarmRestarts", 250, {"T_0": 2, "T_mult": 3}),
        ("CosineAnnealingWarmRestarts", 70, {"T_0": 1, "T_mult": 2}),
        ("CosineAnnealingWarmRestarts", 5, {"T_0": 1, "eta_min": -0.1}),
        ("CosineAnnealingWarmRestarts", 9, {"T_0": 3, "eta_min": LR}),
        ("PolynomialLR", 60, {"total_iters": 40, "power": 2}),
        ("PolynomialLR", 3, {"total_iters": 1}),
        ("ExponentialLR", 60, {"gamma": 0.9}),
        ("ExponentialLR", 60, {"gamma": 1.5}),
        ("ExponentialLR", 60, {"gamma": 1.0}),
        ("StepLR", 60, {"step_size": 7, "gamma": 0.5}),
        ("StepLR", 9, {"step_size": 1, "gamma": 2.0}),
        ("MultiStepLR", 60, {"milestones": [7, 20], "gamma": 0.5}),
        ("MultiStepLR", 9, {"milestones": [1, 2], "gamma": 1.0}),
        ("ConstantLR", 9, {"factor": 0.5, "total_iters": 4}),
        ("LinearLR", 9, {"start_factor": 0.25, "total_iters": 5}),
        ("LinearLR", 3, {"start_factor": 0.25, "end_factor": 0.0, "total_iters": 1}),
        ("LambdaLR", 9, {"lr_lambda": lambda step: -(0.9**step)}),
        ("MultiplicativeLR", 9, {"lr_lambda": lambda step: 0.9 + 0.1 * step}),
        ("SWALR", 15, {"swa_lr": 0.5, "anneal_epochs": 10}),
    ],
)
@pytest.mark.peers("torch")
def test_schedules_agree_with_torch(torch, name, steps, arguments):
    theirs = torch_class(torch, name)
    expected, _ = from_torch(torch, theirs, steps, arguments)
    assert values(ours_for(theirs, arguments), steps) == same(expected)


@pytest.mark.peers("torch")
def test_torch_rises_again_after_the_cosine_where_gdopt_keeps_the_end(torch):
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR
    rates, _ = from_torch(torch, theirs, 11, {"T_max": 5})
    assert rates[10] == pytest.approx(LR)
    assert schedules.cosine(LR, 0.0, 5)(10) == 0.0


@pytest.mark.peers("torch")
def test_joined_and_multiplied_schedules_agree_with_torch(torch):
    from torch.optim import lr_scheduler

    def parts(optimizer):
        yield lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=4)
        yield lr_scheduler.ExponentialLR(optimizer, gamma=0.9)

    def chained(optimizer):
        return lr_scheduler.ChainedScheduler(list(parts(optimizer)))

    def sequential(optimizer):
        return lr_scheduler.SequentialLR(optimizer, list(parts(optimizer)), [6])

    a, b = piecewise([4], [0.5, 1]), exponential(LR, 0.9)
    assert LINES["ChainedScheduler"] == "a * b"
    assert values(a * b) == same(from_torch(torch, chained, STEPS, {})[0])
    expected = from_torch(torch, sequential, STEPS, {})[0]
    assert values(join([LR * a, b], [6])) == same(expected)


# Fractions of a step, whole steps, phases of none, one step, and two that fill it.
CYCLES = [(47, 0.3), (40, 0.25), (2, 0.3), (9, 0.0), (1, 0.3), (9, 1.0), (10, 0.6)]


@pytest.mark.parametrize("curve", ["cosine", "linear"])
@pytest.mark.parametrize("phases", ["two", "three"])
@pytest.mark.parametrize(("steps", "pct_start"), CYCLES)
@pytest.mark.peers("torch")
def test_one_cycle_agrees_with_torch(torch, steps, pct_start, phases, curve):
    shared = {"pct_start": pct_start, "div_factor": 10.0, "final_div_factor": 100.0}
    arguments = {
        "max_lr": 0.3,
        "total_steps": steps,
        "anneal_strategy": {"cosine": "cos"}.get(curve, curve),
        "three_phase": phases == "three",
        **shared,
    }
    theirs = torch.optim.lr_scheduler.OneCycleLR
    expected = from_torch(torch, theirs, steps, arguments)
    ours = one_cycle(0.3, steps, phases=phases, curve=curve, **shared)
    for schedule, figures in zip(ours, expected, strict=True):
        assert values(schedule, steps) == same(figures)


@pytest.mark.peers("torch")
def test_the_defaults_of_one_cycle_are_those_of_torch(torch):
    theirs, arguments = torch_class(torch, "OneCycleLR"), {"total_steps": STEPS}
    expected = from_torch(torch, theirs, STEPS, {"max_lr": 0.3, **arguments})
    ours = ours_for(theirs, {"max_lr": 0.3, **arguments})
    for schedule, figures in zip(ours, expected, strict=True):
        assert values(schedule) == same(figures)


@pytest.mark.parametrize("peak", [0.5, 0.02])
@pytest.mark.parametrize(("up", "down"), [(7, 3), (1, 1), (3, 1), (1, 4), (4, None)])
@pytest.mark.parametrize(
    "form",
    [
        {"form": "triangular"},
        {"form": "triangular2"},
        {"form": "exp_range", "gamma": 0.97},
        {"form": "exp_range", "gamma": 1.03},
    ],
)
@pytest.mark.peers("torch")
def test_cyclic_schedules_agree_with_torch(torch, form, up, down, peak):
    arguments = {"base_lr": 0.02, "max_lr": peak, "mode": form["form"]}
    arguments |= {"step_size_up": up, "step_size_down": down}
    arguments |= {"gamma": form.get("gamma", 1.0)}
    theirs = torch.optim.lr_scheduler.CyclicLR
    rates, momenta = from_torch(torch, theirs, STEPS, arguments)
    assert values(ours_for(theirs, arguments)) == same(rates)
    assert values(cyclic(0.9, 0.8, up, down, **form)) == same(momenta)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.9, "staircase": True}),
        ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.9}),
        ("ExponentialDecay", {"decay_steps": 1, "decay_rate": 1.3}),
        ("ExponentialDecay", {"decay_steps": 3, "decay_rate": 1.0}),
        (
            "PiecewiseConstantDecay",
            {"boundaries": [7, 20], "values": [0.1, 0.05, -0.5]},
        ),
        ("PiecewiseConstantDecay", {"boundaries": [1], "values": [0.1, 0.1]}),
        ("PolynomialDecay", {"decay_steps": 9, "power": 2.0}),
        ("PolynomialDecay", {"decay_steps": 1, "end_learning_rate": -0.1}),
        ("PolynomialDecay", {"decay_steps": 9, "power": 0.5, "cycle": True}),
        ("PolynomialDecay", {"decay_steps": 1, "cycle": True}),
        ("PolynomialDecay", {"decay_steps": 4, "end_learning_rate": LR, "cycle": True}),
        ("InverseTimeDecay", {"decay_steps": 7, "decay_rate": 0.5}),
        ("InverseTimeDecay", {"decay_steps": 7, "decay_rate": 0.5, "staircase": True}),
        ("InverseTimeDecay", {"decay_steps": 1, "decay_rate": 2.0, "staircase": True}),
        ("InverseTimeDecay", {"decay_steps": 1, "decay_rate": 0.0}),
        ("CosineDecay", {"decay_steps": 40, "alpha": 0.2}),
        ("CosineDecay", {"decay_steps": 1}),
        ("CosineDecay", {"decay_steps": 5, "alpha": 1.0}),
        ("CosineDecayRestarts", {"first_decay_steps": 5, "alpha": 0.1}),
        ("CosineDecayRestarts", {"first_decay_steps": 4, "t_mul": 1.5, "m_mul": 0.5}),
        ("CosineDecayRestarts", {"first_decay_steps": 7, "t_mul": 1.0, "alpha": -1.0}),
        ("CosineDecayRestarts", {"first_decay_steps": 1, "t_mul": 1.0, "m_mul": 1.5}),
        ("CosineDecayRestarts", {"first_decay_steps": 1, "m_mul": 1.5, "alpha": 1.0}),
        ("CosineDecayRestarts", {"first_decay_steps": 2, "t_mul": 1.0, "m_mul": 0.0}),
    ],
)
@pytest.mark.peers("keras", "jax")
def test_schedules_agree_with_keras(keras_in_double, name, arguments):
    theirs = getattr(keras_in_double.optimizers.schedules, name)
    first = {} if name == "PiecewiseConstantDecay" else {"initial_learning_rate": LR}
    expected = theirs(**first, **arguments)(np.arange(STEPS))
    assert values(ours_for(theirs, arguments)) == same(np.asarray(expected).tolist())


@pytest.fixture
def keras_in_double(keras, jax, monkeypatch):
    """Return Keras with the two functions in float64 that it rounds to float32."""
    keras.config.set_floatx("float64")
    for name in ("cos", "log"):
        monkeypatch.setattr(keras.src.ops, name, getattr(jax.numpy, name))
    return keras


@pytest.mark.parametrize(
    ("warmup_steps", "decay_steps", "steps"),
    [(5, 40, (0, 1, 5, 6, 45, 60)), (1, 3, (0, 1, 4))],
)
@pytest.mark.peers("keras", "jax")
def test_a_warmup_before_a_cosine_agrees_with_keras(
    keras_in_double, jax, warmup_steps, decay_steps, steps
):
    kinds = keras_in_double.optimizers.schedules
    theirs = kinds.CosineDecay(
        0.01, decay_steps, 0.2, warmup_target=LR, warmup_steps=warmup_steps
    )
    rise = polynomial(0.01, LR, warmup_steps)
    ours = join([rise, schedules.cosine(LR, 0.2 * LR, decay_steps)], [warmup_steps])
    expected = jax.vmap(theirs)(np.array(steps))
    assert [ours(step) for step in steps] == same(np.asarray(expected).tolist())


START = {"init_value": LR}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("constant_schedule", {"value": -0.1}),
        ("cosine_decay_schedule", {**START, "decay_steps": 40}),
        ("cosine_decay_schedule", {**START, "decay_steps": 9, "exponent": 1.5}),
        ("cosine_decay_schedule", {**START, "decay_steps": 1, "alpha": -1.0}),
        (
            "cosine_decay_schedule",
            {**START, "decay_steps": 7, "alpha": 1.0, "exponent": 0.5},
        ),
        (
            "linear_schedule",
            {"init_value": -0.1, "end_value": 0.2, "transition_steps": 1},
        ),
        ("linear_schedule", {**START, "end_value": LR, "transition_steps": 7}),
        (
            "polynomial_schedule",
            {**START, "end_value": 0.0, "power": 1.5, "transition_steps": 40},
        ),
        ("exponential_decay", {**START, "transition_steps": 7, "decay_rate": 0.9}),
        (
            "exponential_decay",
            {**START, "transition_steps": 7, "decay_rate": 0.9, "staircase": True},
        ),
        (
            "exponential_decay",
            {**START, "transition_steps": 7, "decay_rate": 0.9, "end_value": 0.06},
        ),
        (
            "exponential_decay",
            {**START, "transition_steps": 1, "decay_rate": 1.5, "end_value": 3.0},
        ),
        (
            "exponential_decay",
            {**START, "transition_steps": 1, "decay_rate": 1.0, "end_value": 0.05},
        ),
        (
            "exponential_decay",
            {
                "init_value": 1e300,
                "transition_steps": 1,
                "decay_rate": 1e9,
                "end_value": 2e300,
            },
        ),
        ("warmup_constant_schedule", {**START, "peak_value": 0.5, "warmup_steps": 1}),
        (
            "warmup_exponential_decay_schedule",
            {
                "init_value": 0.5,
                "peak_value": LR,
                "warmup_steps": 4,
                "transition_steps": 3,
                "decay_rate": 0.5,
            },
        ),
    ],
)
@pytest.mark.peers("optax", "jax")
def test_schedules_agree_with_optax(jax, name, arguments):
    import optax

    theirs = getattr(optax, name)
    found = theirs(**arguments)(np.arange(STEPS))
    expected = np.broadcast_to(found, STEPS).tolist()
    assert values(ours_for(theirs, arguments)) == same(expected)


@pytest.mark.peers("optax", "jax")
def test_pieces_agree_with_optax(jax):
    import optax

    theirs = optax.piecewise_constant_schedule(0.1, {7: 0.5, 20: 0.1, 21: 0.0})
    ours = piecewise([7, 20, 21], [0.1, 0.05, 0.005, 0.0])
    assert values(ours) == same(theirs(np.arange(STEPS)).tolist())
    parts = [optax.constant_schedule(0.1), optax.cosine_decay_schedule(0.2, 10)]
    theirs = optax.join_schedules(parts, [7])
    ours = join([0.1, schedules.cosine(0.2, 0, 10)], [7])
    assert values(ours) == same(theirs(np.arange(STEPS)).tolist())


@pytest.mark.parametrize(("start", "warmup"), [(0.0, 5), (0.2, 1)])
@pytest.mark.peers("optax", "jax")
def test_cycles_of_warmup_and_cosine_agree_with_optax(jax, start, warmup):
    import optax

    cycles = [
        {
            "init_value": start,
            "peak_value": LR / (k + 1),
            "warmup_steps": min(warmup, steps - 1),
            "decay_steps": steps,
            "end_value": 0.01,
            "exponent": 1 + k,
        }
        for k, steps in enumerate((20, 2, 30))
    ]
    theirs = optax.warmup_cosine_decay_schedule
    ours = join([ours_for(theirs, cycle) for cycle in cycles], [20, 22])
    expected = optax.sgdr_schedule(cycles)(np.arange(STEPS))
    assert values(ours) == same(expected.tolist())


@pytest.mark.peers("optax", "jax")
def test_restarts_agree_with_optax(jax):
    import optax

    shared = {"init_value": 0.0, "warmup_steps": 0}
    cycles = [
        {**shared, "peak_value": LR * 0.5**k, "decay_steps": 4 * 2**k} for k in range(5)
    ]
    ours = schedules.cosine_restarts(LR, 0.0, 4, t_mul=2, m_mul=0.5)
    expected = optax.sgdr_schedule(cycles)(np.arange(STEPS))
    assert values(ours) == same(expected.tolist())


@pytest.mark.peers("optax", "jax")
def test_one_cycle_and_interpolation_agree_with_optax(jax):
    import optax

    shared = {"pct_start": 0.4, "div_factor": 10.0, "final_div_factor": 100.0}
    theirs = optax.linear_onecycle_schedule(9, LR, pct_final=0.7, **shared)
    rate, momentum = one_cycle(LR, 9, phases="paper", **shared)
    assert values(rate, 12) == same(jax.vmap(theirs)(np.arange(12)).tolist())
    assert [momentum(step) for step in (0, 3, 6, 9)] == [0.95, 0.85, 0.95, 0.95]
    theirs = optax.cosine_onecycle_schedule(9, LR, **shared)
    at = {"up": 3, "steps": 9, "values": [LR / 10, LR, LR / 1000]}
    ours = ours_for(optax.cosine_onecycle_schedule, at)
    assert values(ours, 12) == same(jax.vmap(theirs)(np.arange(12)).tolist())


def test_inverse_time_agrees_with_invscaling_of_scikit_learn():
    optimizers = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    theirs = optimizers.SGDOptimizer([], LR, "invscaling", power_t=0.3)
    expected = [LR]
    for epoch in range(1, STEPS):
        theirs.iteration_ends(32 * epoch)
        expected.append(theirs.learning_rate)
    ours = per_epoch(inverse_time(LR, rate=32, power=0.3), steps=1)
    assert values(ours) == same(expected)
    names = {**vars(schedules), "eta0": LR, "power_t": 0.3}
    by_example = eval(LINES["invscaling"], names)  # noqa: S307 - our own text
    assert values(by_example, 33)[::32] == same(expected[:2])


@pytest.mark.peers("torch", "keras", "jax", "optax")
def test_every_schedule_of_torch_keras_and_optax_has_a_line(torch, keras):
    import optax

    scheduler = torch.optim.lr_scheduler.LRScheduler
    of_torch = {
        name
        for module in (torch.optim.lr_scheduler, torch.optim.swa_utils)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, scheduler)
    }
    base = keras.optimizers.schedules.LearningRateSchedule
    of_keras = {
        name
        for name, thing in vars(keras.optimizers.schedules).items()
        if isinstance(thing, type) and issubclass(thing, base)
    }
    of_optax = {
        name
        for name, thing in vars(optax.schedules).items()
        if inspect.isfunction(thing) and not name.startswith("inject")
    }
    assert {"StepLR", "CosineDecay", "sgdr_schedule"} < of_torch | of_keras | of_optax
    found = {name for name in of_torch | of_keras | of_optax if name[0] != "_"}
    assert found - LINES.keys() == {"LRScheduler"}


def test_the_plateau_s_line_is_one_that_runs():
    names = {"gdopt": gdopt, "factor": 0.3, "patience": 7}
    given = eval(f"dict({LINES['ReduceLROnPlateau']})", names)  # noqa: S307 - our own
    assert (given["callback"].factor, given["callback"].patience) == (0.3, 7)


@pytest.mark.parametrize("module", [gdopt, schedules])
def test_names_of_other_libraries_say_what_to_write(module):
    for name, line in LINES.items():
        with pytest.raises(AttributeError) as error:
            getattr(module, name)
        message = f"module {module.__name__!r} has no attribute {name!r}"
        assert str(error.value) == f"{message}; with gdopt.schedules, write {line}"
    with pytest.raises(AttributeError, match=r"has no attribute 'cosinus'$"):
        module.cosinus  # noqa: B018 - the error is what is asked for
