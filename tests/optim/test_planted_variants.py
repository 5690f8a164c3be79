"""The formulas that other libraries, notes and slips have are told from the right ones.

Each is planted in place of the textbook's formula, and the comparison must fail.
"""

from math import sqrt

import numpy as np
import pytest
from oracles import CASES
from parity import adam, adaptive, descent, layers, moments, schedule_free, signs

import gdopt

STEPS, SIZE = 30, 3
GENERATOR = np.random.default_rng(3)
START = GENERATOR.standard_normal(SIZE)
GRADIENTS = GENERATOR.standard_normal((STEPS, SIZE)) + 0.3
MATRIX = GENERATOR.standard_normal((3, 4))
MATRICES = GENERATOR.standard_normal((STEPS, 3, 4)) + 0.3


def fading(step):
    return 0.02 / (1 + 0.05 * step)


def changed(formula, **changes):
    return lambda *given, **scalars: formula(*given, **{**scalars, **changes})


def one_step_later(formula):
    return lambda *given, t, **scalars: formula(*given, t=t + 1, **scalars)


def rate_of_the_next_step(p, g, state, *, t, lr, **scalars):
    return p - fading(t) * g


def overwriting_adam(p, g, state, *, lr, beta1, beta2, eps, t, **_):
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    m, v = state["m"], state["v"] = m / (1 - beta1**t), v / (1 - beta2**t)
    return p - lr * m / (sqrt(v) + eps)


def adam_by_the_uncorrected_root(p, g, state, *, lr, beta1, beta2, eps, t, **_):
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    return p - lr * m / (1 - beta1**t) / (sqrt(v) + eps)


def decay_in_the_gradient(p, g, state, *, weight_decay, **scalars):
    return adam.adam(p, g + weight_decay * p, state, **scalars)


def decay_without_the_rate(p, g, state, *, weight_decay, **scalars):
    return adam.adam((1 - weight_decay) * p, g, state, **scalars)


def decay_after_the_step(p, g, state, *, weight_decay, lr, **scalars):
    return (1 - lr * weight_decay) * adam.adam(p, g, state, lr=lr, **scalars)


def dampened_from_the_start(p, g, state, **scalars):
    state.setdefault("b", 0.0)
    return descent.torch_sgd(p, g, state, **scalars)


def rmsprop_from_one(p, g, state, **scalars):
    state.setdefault("v", 1.0)
    return adaptive.rmsprop(p, g, state, **scalars)


def adadelta_of_the_new_step(p, g, state, *, lr, rho, eps, **_):
    v = state["v"] = rho * state.get("v", 0.0) + (1 - rho) * g**2
    u = state["u"] = rho * state.get("u", 0.0) + (1 - rho) * g**2 * eps / (v + eps)
    return p - lr * sqrt(u + eps) / sqrt(v + eps) * g


def lion_by_the_new_mean(p, g, state, *, lr, beta2, weight_decay, **_):
    m = state["m"] = beta2 * state.get("m", 0.0) + (1 - beta2) * g
    return p - lr * (signs.sign(m) + weight_decay * p)


def adopt_by_the_new_v(p, g, state, *, lr, beta1, beta2, eps, t, **_):
    v = state["v"] = beta2 * state.get("v", g**2) + (1 - beta2) * g**2
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g / max(sqrt(v), eps)
    state["m"] = m if t > 1 else 0.0
    return p - lr * state["m"]


def adabelief_by_the_mean_before(p, g, state, *, beta1, **scalars):
    m = state.get("m", 0.0)
    return moments.adabelief(p, g, state, beta1=beta1, **scalars) if m else p


def adan_of_optax(p, g, state, *, lr, beta1, beta2, beta3, eps, weight_decay, t):
    d = g - state.get("g", g)
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * d
    n = beta3 * state.get("n", 0.0) + (1 - beta3) * (g + (1 - beta2) * d) ** 2
    state["n"], state["g"] = n, g
    ahead = m / (1 - beta1**t) + (1 - beta2) * v / (1 - beta2**t)
    step = lr * ahead / (sqrt(n / (1 - beta3**t)) + eps)
    return (p - step) / (1 + weight_decay * lr)


def rprop_that_goes_on(p, g, state, **scalars):
    turned = g * state.get("g", 0.0) < 0
    found = signs.rprop(p, g, state, **scalars)
    state["g"] = g
    return found - signs.sign(g) * state["size"] * turned


def row_by_row(formula):
    """Let every row of a matrix be an array of its own."""

    def wrong(p, g, state, **scalars):
        rows = zip(p, g, state.setdefault("rows", [{} for _ in p]), strict=True)
        return np.array([formula(*row, **scalars) for row in rows])

    return wrong


def lamb_with_decay_outside(p, g, state, *, lr, weight_decay, **scalars):
    p = p - lr * weight_decay * p
    return layers.lamb(p, g, state, lr=lr, weight_decay=0.0, **scalars)


def adafactor_with_beta2_of_the_next_step(p, g, state, *, t, **scalars):
    return layers.adafactor(p, g, state, t=t + 1, **scalars)


def nadam_whose_product_is_late(
    p, g, state, *, lr, beta1, momentum_decay, t, **scalars
):
    decay = {"beta1": beta1, "momentum_decay": momentum_decay}
    now = beta1 * (1 - 0.96 ** (momentum_decay * t) / 2)
    product = state.get("product", 1.0)
    state["product"] = product / now if t > 1 else product
    return moments.nadam(p, g, state, lr=lr, t=t, **decay, **scalars)


def weights_of_the_rate_itself(p, g, state, *, lr, **scalars):
    state["largest"] = 0.0
    return schedule_free.schedule_free_sgd(p, g, state, lr=lr, **scalars)


PLANTED = {
    "chainer's Nesterov": ("nesterov", descent.chainer_nesterov),
    "the heavy ball for Nesterov": ("nesterov", descent.heavy_ball),
    "the rate inside the velocity": ("momentum heavy_ball", descent.keras_momentum),
    "the rate outside the velocity": ("momentum keras", descent.heavy_ball),
    "a velocity that is not an average": ("momentum ewa", descent.heavy_ball),
    "an average with its bias": (
        "momentum ewa corrected",
        changed(descent.momentum_ewa, bias_correction=False),
    ),
    "a first gradient that is dampened": ("sgd with momentum", dampened_from_the_start),
    "a schedule from 1": ("sgd", rate_of_the_next_step),
    "an average from the second step": ("asgd", changed(descent.asgd, alpha=0.75)),
    "Adagrad's epsilon inside": (
        "adagrad outside",
        changed(adaptive.adagrad, eps_mode="inside"),
    ),
    "Adagrad's start": (
        "adagrad inside",
        changed(adaptive.adagrad, initial_accumulator=0.0),
    ),
    "Adadelta by the new mean": ("adadelta", adadelta_of_the_new_step),
    "RMSprop's epsilon inside": (
        "rmsprop outside",
        changed(adaptive.rmsprop, eps_mode="inside"),
    ),
    "RMSprop's epsilon outside": (
        "rmsprop inside",
        changed(adaptive.rmsprop, eps_mode="outside"),
    ),
    "RMSprop from 1": ("rmsprop outside", rmsprop_from_one),
    "RMSprop's rate inside": (
        "rmsprop heavy_ball outside",
        changed(adaptive.rmsprop, form="keras"),
    ),
    "RMSprop's rate outside": (
        "rmsprop keras inside",
        changed(adaptive.rmsprop, form="heavy_ball"),
    ),
    "RMSprop that is not centered": (
        "rmsprop centered outside",
        changed(adaptive.rmsprop, centered=False),
    ),
    "FTRL without shrinkage": ("ftrl", changed(adaptive.ftrl, l2_shrinkage=0.0)),
    "FTRL's power": ("ftrl with another power", changed(adaptive.ftrl, lr_power=-0.5)),
    "Adam's epsilon raw": ("adam corrected", changed(adam.adam, eps_mode="raw")),
    "Adam's epsilon corrected": ("adam raw", changed(adam.adam, eps_mode="corrected")),
    "Adam's epsilon inside": ("adam corrected", changed(adam.adam, eps_mode="inside")),
    "Adam with its bias": (
        "adam corrected",
        changed(adam.adam, bias_correction=False),
    ),
    "Adam that overwrites its moments": ("adam corrected", overwriting_adam),
    "Adam by the uncorrected root": ("adam corrected", adam_by_the_uncorrected_root),
    "Adam counted from 2": ("adam corrected", one_step_later(adam.adam)),
    "AMSGrad of the corrected v": (
        "adam amsgrad",
        changed(adam.adam, amsgrad_form="optax"),
    ),
    "AMSGrad of the raw v": (
        "adam amsgrad optax",
        changed(adam.adam, amsgrad_form="torch"),
    ),
    "Adam without the look ahead": (
        "adam nesterov",
        changed(adam.adam, nesterov=False),
    ),
    "decay in the gradient": ("adamw corrected", decay_in_the_gradient),
    "decay without the rate": ("adamw corrected", decay_without_the_rate),
    "decay after the step": ("adamw corrected", decay_after_the_step),
    "Adamax' epsilon outside": (
        "adamax inside",
        changed(moments.adamax, eps_mode="outside"),
    ),
    "thinc's RAdam, counted from 2": ("radam", one_step_later(moments.radam)),
    "Yogi with correction": ("yogi", changed(moments.yogi, bias_correction=True)),
    "AdaBelief from the second step": ("adabelief", adabelief_by_the_mean_before),
    "optax' Adan": ("adan", adan_of_optax),
    "ADOPT by the new v": ("adopt", adopt_by_the_new_v),
    "ADOPT without its bound": ("adopt clipped", changed(moments.adopt, clip=False)),
    "Lion by the new mean": ("lion", lion_by_the_new_mean),
    "Rprop that goes on": ("rprop", rprop_that_goes_on),
    "LARS of the update": ("lars", changed(layers.lars, trust_ratio="update")),
    "LARS of norms apart": (
        "lars of the update",
        changed(layers.lars, trust_ratio="separate"),
    ),
    "LARS of rows": ("lars", row_by_row(layers.lars)),
    "LAMB of rows": ("lamb", row_by_row(layers.lamb)),
    "LAMB with decay outside": ("lamb", lamb_with_decay_outside),
    "Keras' Adafactor": ("adafactor", changed(layers.adafactor, form="keras")),
    "Adafactor with an absolute step": (
        "adafactor",
        changed(layers.adafactor, relative_step=False, lr=0.9),
    ),
    "Adafactor without its clipping": ("adafactor", changed(layers.adafactor, d=1e9)),
    "Adafactor of the next step": ("adafactor", adafactor_with_beta2_of_the_next_step),
    "Adafactor of vectors": ("adafactor", row_by_row(layers.adafactor)),
    "NAdam whose product is late": ("nadam", nadam_whose_product_is_late),
    "Keras' NAdam": ("nadam", changed(moments.nadam, momentum_decay=1.0)),
    "weights of the rate itself": ("schedule-free sgd", weights_of_the_rate_itself),
    "schedule-free counted from 2": (
        "schedule-free adamw",
        one_step_later(schedule_free.schedule_free_adamw),
    ),
}


@pytest.mark.parametrize("variant", PLANTED)
def test_a_planted_variant_is_found(variant, numpy_engine):
    case, wrong = CASES[PLANTED[variant][0]], PLANTED[variant][1]
    start, gradients = START, GRADIENTS
    if case.whole:
        start, gradients = MATRIX, MATRICES
    p = start.copy()
    optimizer = case.make(p, lr=fading)
    for gradient in gradients:
        optimizer.step(gradient)
    given = start.tolist(), gradients.tolist()
    if case.whole:
        given = [start], [[gradient] for gradient in gradients]
    right, planted = (
        np.reshape(case.by_textbook(*given, formula, lr=fading), start.shape)
        for formula in (None, wrong)
    )
    np.testing.assert_allclose(p, right, rtol=1e-12)
    assert not np.allclose(p, planted, rtol=1e-8, atol=0)


def test_every_class_has_a_variant_but_those_without_any():
    kinds = {CASES[row].kind for row, _ in PLANTED.values()}
    assert {case.kind for case in CASES.values()} - kinds == {gdopt.SignSGD}


def naive(p, m, v, g, *, lr, beta, eps):
    v = beta * v + (1 - beta) * (g * g)
    m = beta * m + (1 - beta) * g
    return p - lr * g / (np.sqrt(v - m * m) + eps), m, v


def test_a_variance_by_differences_goes_negative_and_the_recurrence_does_not(engine):
    gradients = 1 + 1e-4 * np.random.default_rng(0).standard_normal((250, 2000))
    found = {}
    for name in ("naive", "recurrence"):
        p = np.zeros(2000, np.float32)
        optimizer = (
            gdopt.Optimizer(p, naive, lr=1e-3, beta=0.9, eps=1e-8)
            if name == "naive"
            else gdopt.RMSprop(p, 1e-3, beta=0.9, centered=True)
        )
        for gradient in gradients.astype(np.float32):
            optimizer.step(gradient)
        found[name] = int(np.isnan(p).sum())
    assert found["naive"] > 20
    assert found["recurrence"] == 0
