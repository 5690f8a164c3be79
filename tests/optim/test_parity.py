"""Every rule agrees with itself on floats, its textbook, torch and optax."""

import numpy as np
import pytest
from oracles import CASES, at, by_rule

STEPS, SIZE = 100, 6
GENERATOR = np.random.default_rng(5)
START = GENERATOR.standard_normal(SIZE)
# Sizes from 1e-3 to 1e3, so that an epsilon shows where it stands; every seventh is 0.
GRADIENTS = GENERATOR.standard_normal((STEPS, SIZE)) * 10 ** GENERATOR.uniform(
    -3, 3, (STEPS, SIZE)
)
GRADIENTS[::7, 0] = 0
FEW = GRADIENTS[:12] * 10 ** GENERATOR.uniform(-20, 20, (12, SIZE))
# Of the way the parameters have come, or of 1: 100 roundings, and the libraries' own
# 1 - beta in float32, which is off by 1e-5 of itself. Measured: 2e-15 and 3.6e-6.
TOLERANCE = {"float64": 1e-13, "float32": 1e-5}


def fading(step):
    return 0.02 / (1 + 0.05 * step)


RATES = pytest.mark.parametrize("rate", [0.02, fading], ids=["fixed", "fading"])
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


def run(case, dtype, rate):
    p = START.astype(dtype)
    optimizer = case.make(p, lr=rate)
    for gradient in GRADIENTS.astype(dtype):
        optimizer.step(gradient)
    return p


def assert_close(actual, expected, dtype):
    way = np.abs(np.asarray(expected) - START).max()
    atol = TOLERANCE[dtype] * max(way, 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@RATES
@pytest.mark.parametrize("name", CASES)
def test_every_optimizer_agrees_with_its_textbook(name, rate, engine):
    case = CASES[name]
    expected = case.by_textbook(START.tolist(), GRADIENTS.tolist(), lr=rate)
    assert_close(run(case, "float64", rate), expected, "float64")


@pytest.mark.parametrize("name", CASES)
def test_every_rule_on_floats_gives_the_bits_of_the_engines(name, engine):
    case = CASES[name]
    p = START.copy()
    optimizer = case.make(p, lr=fading)
    for gradient in FEW:
        optimizer.step(gradient)
    hyper = {**case.hyper, "lr": fading}
    expected = by_rule(optimizer.rule, START.tolist(), FEW.tolist(), **hyper)
    found = [p, *optimizer.state["0"].values()]
    assert [array.tolist() for array in found] == expected


@pytest.mark.parametrize("name", CASES)
def test_float32_gives_the_rule_on_floats_to_rounding(name, engine):
    case = CASES[name]
    gradients = FEW.clip(-10, 10).astype(np.float32)
    p = START.astype(np.float32)
    optimizer = case.make(p)
    for gradient in gradients:
        optimizer.step(gradient)
    start = START.astype(np.float32).tolist()
    expected = by_rule(optimizer.rule, start, gradients.tolist(), **case.hyper)
    found = [p, *optimizer.state["0"].values()]
    # A dozen steps of at most four roundings each of numbers of at most 60.
    for array, numbers in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, numbers, rtol=3e-6, atol=3e-6)


def torch_sgd(torch, p, hyper, **others):
    momentum = hyper.get("beta", 0.0)
    return torch.optim.SGD([p], lr=hyper["lr"], momentum=momentum, **others)


def torch_rmsprop(torch, p, hyper):
    alpha, eps = hyper["beta"], hyper["eps"]
    return torch.optim.RMSprop([p], lr=hyper["lr"], alpha=alpha, eps=eps)


def torch_adam(torch, p, hyper):
    betas = hyper["beta1"], hyper["beta2"]
    if "weight_decay" not in hyper:
        return torch.optim.Adam([p], lr=hyper["lr"], betas=betas, eps=hyper["eps"])
    decay = hyper["weight_decay"]
    return torch.optim.AdamW(
        [p], lr=hyper["lr"], betas=betas, eps=hyper["eps"], weight_decay=decay
    )


def raw_eps(hyper, t):
    """The eps with which torch's form, at step t, is the one with a raw root."""
    return hyper["eps"] / np.sqrt(1 - hyper["beta2"] ** t)


TORCH = {
    "sgd": torch_sgd,
    "momentum heavy_ball": torch_sgd,
    "nesterov": lambda *given: torch_sgd(*given, nesterov=True),
    "rmsprop outside": torch_rmsprop,
    "adam corrected": torch_adam,
    "adam raw": torch_adam,
    "adamw corrected": torch_adam,
    "adamw raw": torch_adam,
}


@RATES
@DTYPES
@pytest.mark.parametrize("name", TORCH)
@pytest.mark.peers("torch")
def test_agrees_with_torch(name, dtype, rate, numpy_engine):
    import torch

    case = CASES[name]
    p = torch.tensor(START.astype(dtype), requires_grad=True)
    optimizer = TORCH[name](torch, p, at({**case.hyper, "lr": rate}, 0))
    for step, gradient in enumerate(GRADIENTS.astype(dtype)):
        group = optimizer.param_groups[0]
        group["lr"] = rate(step) if callable(rate) else rate
        if "raw" in name:
            group["eps"] = raw_eps(case.hyper, step + 1)
        p.grad = torch.tensor(gradient)
        optimizer.step()
    assert_close(run(case, dtype, rate), p.detach().numpy(), dtype)


def optax_adam(optax, hyper, *, inside=False, decay=False):
    """Adam of optax's parts, as its own `adam` has no learned place for eps."""
    eps = {"eps": 0.0, "eps_root": hyper["eps"]} if inside else {"eps": hyper["eps"]}
    return optax.chain(
        optax.scale_by_adam(hyper["beta1"], hyper["beta2"], **eps),
        *([optax.add_decayed_weights(hyper["weight_decay"])] if decay else []),
        optax.scale_by_learning_rate(hyper["lr"]),
    )


OPTAX = {
    "sgd": lambda optax, h: optax.sgd(h["lr"]),
    "momentum ewa": lambda optax, h: optax.chain(
        optax.ema(h["beta"], debias=False), optax.scale_by_learning_rate(h["lr"])
    ),
    "momentum ewa corrected": lambda optax, h: optax.chain(
        optax.ema(h["beta"], debias=True), optax.scale_by_learning_rate(h["lr"])
    ),
    "momentum heavy_ball": lambda optax, h: optax.sgd(h["lr"], momentum=h["beta"]),
    # The rate inside the velocity is what makes the form Keras'.
    "momentum keras": lambda optax, h: optax.chain(
        optax.scale_by_learning_rate(h["lr"]), optax.trace(h["beta"])
    ),
    "nesterov": lambda optax, h: optax.sgd(h["lr"], momentum=h["beta"], nesterov=True),
    "rmsprop outside": lambda optax, h: optax.rmsprop(
        h["lr"], h["beta"], h["eps"], eps_in_sqrt=False
    ),
    "rmsprop inside": lambda optax, h: optax.rmsprop(
        h["lr"], h["beta"], h["eps"], eps_in_sqrt=True
    ),
    "adam corrected": lambda optax, h: optax.adam(
        h["lr"], h["beta1"], h["beta2"], h["eps"]
    ),
    "adam inside": lambda optax, h: optax_adam(optax, h, inside=True),
    "adamw corrected": lambda optax, h: optax.adamw(
        h["lr"], h["beta1"], h["beta2"], h["eps"], weight_decay=h["weight_decay"]
    ),
    "adamw inside": lambda optax, h: optax_adam(optax, h, inside=True, decay=True),
}


@pytest.fixture
def jax():
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@RATES
@DTYPES
@pytest.mark.parametrize("name", OPTAX)
@pytest.mark.peers("jax", "optax")
def test_agrees_with_optax(name, dtype, rate, jax, numpy_engine):
    import optax

    case = CASES[name]
    transform = OPTAX[name](optax, {**case.hyper, "lr": rate})

    def step(carried, gradient):
        p, state = carried
        updates, state = transform.update(gradient, state, p)
        return (optax.apply_updates(p, updates), state), None

    p = jax.numpy.asarray(START.astype(dtype))
    gradients = jax.numpy.asarray(GRADIENTS.astype(dtype))
    (p, _), _ = jax.lax.scan(step, (p, transform.init(p)), gradients)
    assert str(p.dtype) == dtype
    assert_close(run(case, dtype, rate), np.asarray(p), dtype)
