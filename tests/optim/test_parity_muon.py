"""Muon agrees with its textbook, optax, Keras and torch; planted variants do not."""

import numpy as np
import pytest
from oracles import MATRIX_CASES, at
from parity.muon import muon

STEPS = 200
SHAPES = {
    "tall": (7, 3),
    "wide": (3, 5),
    "square": (4, 4),
    "row": (1, 6),
    "lone": (5, 1),
}
GENERATOR = np.random.default_rng(11)
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
OF_ONE_SIZE = [
    {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
    for _ in range(STEPS)
]
GRADIENTS = [
    {name: g * 10 ** GENERATOR.uniform(-2, 2) for name, g in row.items()}
    for row in OF_ONE_SIZE
]


def fading(step):
    return 0.02 / (1 + 0.05 * step)


RATES = pytest.mark.parametrize("rate", [0.02, fading], ids=["fixed", "fading"])


def those_of(library):
    return [name for name, case in MATRIX_CASES.items() if getattr(case, library)]


def run(case, rate, rows=GRADIENTS, dtype="float64", **changes):
    params = {name: array.astype(dtype) for name, array in START.items()}
    optimizer = case.make(params, lr=rate, **changes)
    for row in rows:
        optimizer.step({name: array.astype(dtype) for name, array in row.items()})
    return params


def by_textbook(case, rate, rows=GRADIENTS, formula=muon):
    params, states = dict(START), {name: {} for name in START}
    for step, row in enumerate(rows):
        hyper = {**at({**case.hyper, "lr": rate}, step), **case.choices, "t": step + 1}
        for name, g in row.items():
            params[name] = formula(params[name], g, states[name], **hyper)
    return params


def assert_close(actual, expected, tolerance):
    """Compare parameters, of which steps may have moved each by some 4 in all."""
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=tolerance)


@RATES
@pytest.mark.parametrize("name", MATRIX_CASES)
def test_muon_agrees_with_its_textbook(name, rate, numpy_engine):
    case = MATRIX_CASES[name]
    assert_close(run(case, rate), by_textbook(case, rate), 1e-10)


@pytest.mark.parametrize("name", MATRIX_CASES)
def test_muon_in_float32_is_close_to_float64(name, numpy_engine):
    case = MATRIX_CASES[name]
    eps = max(case.hyper["eps"], 1e-30)
    found = run(case, fading, dtype="float32", eps=eps)
    # 200 steps of at most .02; the iteration multiplies a rounding by up to 500.
    assert_close(found, run(case, fading), 2e-4)


@pytest.mark.parametrize("name", those_of("optax"))
@pytest.mark.peers("jax", "optax")
def test_muon_agrees_with_optax(name, jax, numpy_engine):
    import optax
    import optax.contrib

    case = MATRIX_CASES[name]
    transform = case.optax(optax, {**case.hyper, "lr": fading})
    params = {name: jax.numpy.asarray(array) for name, array in START.items()}
    state = transform.init(params)
    step = jax.jit(transform.update)
    for row in GRADIENTS:
        updates, state = step(row, state, params)
        params = optax.apply_updates(params, updates)
    assert_close(run(case, fading), params, 1e-10)


@pytest.mark.parametrize("name", those_of("keras"))
@pytest.mark.peers("jax", "keras")
def test_muon_agrees_with_keras(name, keras, numpy_engine):
    case = MATRIX_CASES[name]
    keras.config.set_floatx("float64")
    params = [keras.Variable(array, dtype="float64") for array in START.values()]
    optimizer = case.keras(keras.optimizers, at({**case.hyper, "lr": fading}, 0))
    optimizer.build(params)
    for step, row in enumerate(GRADIENTS):
        optimizer.learning_rate = at({"lr": fading}, step)["lr"]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in row.values()])
    found = {n: np.asarray(p.value) for n, p in zip(START, params, strict=True)}
    assert_close(run(case, fading), found, 1e-7)  # Keras' norm is of float32


@pytest.mark.parametrize("name", those_of("torch"))
@pytest.mark.peers("torch")
def test_muon_agrees_with_torch_to_the_rounding_of_bfloat16(
    name,
    torch,
    numpy_engine,
):
    case = MATRIX_CASES[name]
    params = {n: torch.tensor(a, requires_grad=True) for n, a in START.items()}
    hyper = at({**case.hyper, "lr": fading}, 0)
    optimizer = case.torch(torch.optim, list(params.values()), hyper)
    for step, row in enumerate(OF_ONE_SIZE):
        optimizer.param_groups[0]["lr"] = at({"lr": fading}, step)["lr"]
        for key, p in params.items():
            p.grad = torch.tensor(row[key])
        optimizer.step()
    found = {n: p.detach().numpy() for n, p in params.items()}
    assert_close(run(case, fading, OF_ONE_SIZE), found, 2e-2)


def changed(**changes):
    return lambda *given, **hyper: muon(*given, **{**hyper, **changes})


def square_ones_transposed(p, g, state, **hyper):
    return muon(p, g.T if g.shape == (4, 4) else g, state, **hyper)


def one_step_later(p, g, state, *, t, **hyper):
    return muon(p, g, state, t=t + 1, **hyper)


def decay_without_the_rate(p, g, state, *, lr, weight_decay, **hyper):
    return muon(p, g, state, lr=lr, weight_decay=weight_decay / lr, **hyper)


def decay_after_the_step(p, g, state, *, lr, weight_decay, **hyper):
    p = muon(p, g, state, lr=lr, weight_decay=0.0, **hyper)
    return (1 - lr * weight_decay) * p


def ratio_of_the_decay(p, g, state, *, weight_decay, **hyper):
    step = muon(p, g, state, weight_decay=0.0, **hyper) - p
    rows, columns = p.shape
    return p + step - hyper["lr"] * max(1, columns / rows) ** 0.5 * weight_decay * p


def the_whole_gradient_ahead(p, g, state, *, momentum, t, **hyper):
    m = state["m"] = momentum * state.get("m", 0.0) + (1 - momentum) * g
    u = momentum * m + g
    given = {**hyper, "nesterov": False, "bias_correction": False}
    return muon(p, u, {}, momentum=0.0, t=t, **given)


PLANTED = {
    "a wrong coefficient": changed(ns_coefficients=(3.4445, -4.775, 2.0351)),
    "one iteration less": changed(ns_steps=4),
    "without nesterov": changed(nesterov=False, bias_correction=False),
    "torch's nesterov": changed(bias_correction=False),
    "the ratio of the transposed matrix": changed(adjust_lr="rows"),
    "no ratio": changed(adjust_lr="none"),
    "square matrices transposed": square_ones_transposed,
    "counted from 2": one_step_later,
    "another epsilon": changed(eps=1e-7),
    "decay without the rate": decay_without_the_rate,
    "decay after the step": decay_after_the_step,
    "a ratio of the decay, too": ratio_of_the_decay,
    "the whole gradient ahead": the_whole_gradient_ahead,
}


@pytest.mark.parametrize("variant", PLANTED)
def test_a_planted_variant_of_muon_is_found(variant, numpy_engine):
    case, few = MATRIX_CASES["muon corrected"], GRADIENTS[:30]
    found = run(case, fading, few)
    assert_close(found, by_textbook(case, fading, few), 1e-12)
    wrong = by_textbook(case, fading, few, PLANTED[variant])
    worst = max(np.abs(found[name] - wrong[name]).max() for name in START)
    assert worst > 1e-7  # what is right is closer than 1e-12
