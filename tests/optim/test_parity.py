"""Every rule agrees with itself on floats, its textbook, torch, optax, Keras, chainer.

One table has all rows: `oracles.CASES`. A row says how each library names the same.
"""

import numpy as np
import pytest
from oracles import CASES, at, by_rule
from rules import EXACT

STEPS = 200
SHAPES = {"W": (3, 5), "b": (7,), "scale": (), "none": (0, 2), "row": (1, 1, 2)}
GENERATOR = np.random.default_rng(5)
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
FLAT = np.concatenate([np.ravel(array) for array in START.values()])
# Sizes from 1e-3 to 1e3, so that an epsilon shows where it stands; every seventh is 0.
GRADIENTS = GENERATOR.standard_normal((STEPS, FLAT.size)) * 10 ** GENERATOR.uniform(
    -3, 3, (STEPS, FLAT.size)
)
GRADIENTS[::7, 0] = 0
FEW = GRADIENTS[:12] * 10 ** GENERATOR.uniform(-20, 20, (12, FLAT.size))
# Of the way the parameters have come, or of 1: 200 roundings, and the libraries' own
# 1 - beta in float32, which is off by 1e-5 of itself.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def fading(step):
    return 0.02 / (1 + 0.05 * step)


RATES = pytest.mark.parametrize("rate", [0.02, fading], ids=["fixed", "fading"])
# One of float32's rates and one of float64's, as every compared run takes its time.
RUNS = pytest.mark.parametrize(
    ("dtype", "rate"),
    [("float64", fading), ("float32", 0.02)],
    ids=["float64, fading", "float32, fixed"],
)


def those_of(library):
    return [name for name, case in CASES.items() if getattr(case, library)]


def rate_of(case, library, rate):
    return 0.02 if library in case.fixed else rate


def split(row):
    """Cut a row of numbers into arrays of the parameters' shapes."""
    ends = np.cumsum([array.size for array in START.values()])
    parts = np.split(row, ends[:-1])
    return {n: part.reshape(SHAPES[n]) for n, part in zip(SHAPES, parts, strict=True)}


def run(case, dtype, rate):
    params = {name: array.astype(dtype) for name, array in START.items()}
    params = {name: np.array(array) for name, array in params.items()}
    optimizer = case.make(params, lr=rate)
    for gradient in GRADIENTS.astype(dtype):
        optimizer.step(split(gradient))
    return np.concatenate([np.ravel(array) for array in params.values()])


def assert_close(actual, expected, dtype):
    way = np.abs(np.asarray(expected) - FLAT).max()
    atol = TOLERANCE[dtype] * max(way, 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@RATES
@pytest.mark.parametrize("name", CASES)
def test_every_optimizer_agrees_with_its_textbook(name, rate, numpy_engine):
    case = CASES[name]
    expected = case.by_textbook(FLAT.tolist(), GRADIENTS.tolist(), lr=rate)
    assert_close(run(case, "float64", rate), expected, "float64")


@pytest.mark.parametrize("name", those_of("chainer"))
def test_agrees_with_chainer(name, numpy_engine):
    case = CASES[name]
    given = FLAT.tolist(), GRADIENTS.tolist(), case.chainer
    expected = case.by_textbook(*given, lr=fading)
    assert_close(run(case, "float64", fading), expected, "float64")


@pytest.mark.parametrize("name", EXACT)
def test_every_rule_on_floats_gives_the_bits_of_the_engines(name, engine):
    case = CASES[name]
    p = FLAT.copy()
    optimizer = case.make(p, lr=fading)
    for gradient in FEW:
        optimizer.step(gradient)
    hyper = {**case.hyper, "lr": fading}
    expected = by_rule(optimizer.rule, FLAT.tolist(), FEW.tolist(), **hyper)
    found = [p, *optimizer.state["0"].values()]
    assert [array.tolist() for array in found] == expected


@pytest.mark.parametrize("name", CASES)
def test_float32_gives_the_rule_on_floats_to_rounding(name, numpy_engine):
    case = CASES[name]
    gradients = FEW.clip(-10, 10).astype(np.float32)
    gradients[np.abs(gradients) < 1e-15] = 0  # their squares vanish in float32 alone
    p = FLAT.astype(np.float32)
    optimizer = case.make(p)
    for gradient in gradients:
        optimizer.step(gradient)
    start = FLAT.astype(np.float32).tolist()
    expected = by_rule(optimizer.rule, start, gradients.tolist(), **case.hyper)
    found = [p, *optimizer.state["0"].values()]
    # A dozen steps of at most four roundings each of numbers of at most 60.
    for array, numbers in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, numbers, rtol=3e-6, atol=3e-6)


@RUNS
@pytest.mark.parametrize("name", those_of("torch"))
@pytest.mark.peers("torch")
def test_agrees_with_torch(name, dtype, rate, torch, numpy_engine):
    case = CASES[name]
    rate = rate_of(case, "torch", rate)
    torch.set_default_dtype(getattr(torch, dtype))  # of scalars in its state
    p = torch.tensor(FLAT.astype(dtype), requires_grad=True)
    hyper = at({**case.hyper, "lr": rate}, 0)
    optimizer = case.torch(torch.optim, [p], hyper)
    for step, gradient in enumerate(GRADIENTS.astype(dtype)):
        optimizer.param_groups[0]["lr"] = at({"lr": rate}, step)["lr"]
        p.grad = torch.tensor(gradient)
        optimizer.step()
    assert_close(run(case, dtype, rate), p.detach().numpy(), dtype)


@RUNS
@pytest.mark.parametrize("name", those_of("optax"))
@pytest.mark.peers("jax", "optax")
def test_agrees_with_optax(name, dtype, rate, jax, numpy_engine):
    import optax
    import optax.contrib  # which optax does not import by itself

    case = CASES[name]
    transform = case.optax(optax, {**case.hyper, "lr": rate})

    def step(carried, gradient):
        p, state = carried
        updates, state = transform.update(gradient, state, p)
        return (optax.apply_updates(p, updates), state), None

    p = jax.numpy.asarray(FLAT.astype(dtype))
    gradients = jax.numpy.asarray(GRADIENTS.astype(dtype))
    (p, _), _ = jax.lax.scan(step, (p, transform.init(p)), gradients)
    assert str(p.dtype) == dtype
    assert_close(run(case, dtype, rate), np.asarray(p), dtype)


@RUNS
@pytest.mark.parametrize("name", those_of("keras"))
@pytest.mark.peers("jax", "keras")
def test_agrees_with_keras(name, dtype, rate, keras, numpy_engine):
    case = CASES[name]
    rate = rate_of(case, "keras", rate)
    keras.config.set_floatx(dtype)
    p = keras.Variable(FLAT.astype(dtype), dtype=dtype)
    optimizer = case.keras(keras.optimizers, at({**case.hyper, "lr": rate}, 0))
    optimizer.build([p])
    for step, gradient in enumerate(GRADIENTS.astype(dtype)):
        optimizer.learning_rate = at({"lr": rate}, step)["lr"]
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    assert_close(run(case, dtype, rate), np.asarray(p.value), dtype)
