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


def split(row, case):
    """Cut a row of numbers into arrays of the parameters' shapes."""
    ends = np.cumsum([array.size for array in START.values()])
    shapes = SHAPES | ({"row": (1, 2)} if case.whole else {})  # Adafactor's matrices
    parts = zip(shapes.items(), np.split(row, ends[:-1]), strict=True)
    return {name: part.reshape(shape) for (name, shape), part in parts}


def apart(row, case):
    """Return what another library is given: one array, if a rule is of elements."""
    if not case.whole:
        return [row]
    return [array for array in split(row, case).values() if array.size]


def together(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def by_textbook(case, rate, formula=None):
    start, gradients = FLAT.tolist(), GRADIENTS.tolist()
    if case.whole:
        start = apart(FLAT, case)
        gradients = [apart(row, case) for row in GRADIENTS]
    found = case.by_textbook(start, gradients, formula, lr=rate)
    return together(found) if case.whole else found


def run(case, dtype, rate):
    params = split(FLAT.astype(dtype), case)
    optimizer = case.make(params, lr=rate)
    for gradient in GRADIENTS.astype(dtype):
        optimizer.step(split(gradient, case))
    return together(params.values())


def assert_close(actual, expected, dtype, bound=0.0):
    way = np.abs(np.asarray(expected) - FLAT).max()
    atol = max(TOLERANCE[dtype], bound) * max(way, 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@RATES
@pytest.mark.parametrize("name", CASES)
def test_every_optimizer_agrees_with_its_textbook(name, rate, numpy_engine):
    case = CASES[name]
    expected = by_textbook(case, rate)
    assert_close(run(case, "float64", rate), expected, "float64")


@pytest.mark.parametrize("name", those_of("chainer"))
def test_agrees_with_chainer(name, numpy_engine):
    case = CASES[name]
    expected = by_textbook(case, fading, case.chainer)
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


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.whole])
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
    start = apart(FLAT.astype(dtype), case)
    params = [torch.tensor(array, requires_grad=True) for array in start]
    hyper = at({**case.hyper, "lr": rate}, 0)
    optimizer = case.torch(torch.optim, params, hyper)
    for step, gradient in enumerate(GRADIENTS.astype(dtype)):
        optimizer.param_groups[0]["lr"] = at({"lr": rate}, step)["lr"]
        for p, own in zip(params, apart(gradient, case), strict=True):
            p.grad = torch.tensor(own)
        optimizer.step()
    found = together(p.detach().numpy() for p in params)
    assert_close(run(case, dtype, rate), found, dtype)


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

    params = [jax.numpy.asarray(array) for array in apart(FLAT.astype(dtype), case)]
    rows = [apart(row, case) for row in GRADIENTS.astype(dtype)]
    gradients = [jax.numpy.stack(column) for column in zip(*rows, strict=True)]
    (params, _), _ = jax.lax.scan(step, (params, transform.init(params)), gradients)
    assert all(str(p.dtype) == dtype for p in params)
    bound = case.bounds.get("optax", 0.0)
    assert_close(run(case, dtype, rate), together(params), dtype, bound)


@RUNS
@pytest.mark.parametrize("name", those_of("keras"))
@pytest.mark.peers("jax", "keras")
def test_agrees_with_keras(name, dtype, rate, keras, numpy_engine):
    case = CASES[name]
    rate = rate_of(case, "keras", rate)
    keras.config.set_floatx(dtype)
    start = apart(FLAT.astype(dtype), case)
    params = [keras.Variable(array, dtype=dtype) for array in start]
    optimizer = case.keras(keras.optimizers, at({**case.hyper, "lr": rate}, 0))
    optimizer.build(params)
    for step, gradient in enumerate(GRADIENTS.astype(dtype)):
        optimizer.learning_rate = at({"lr": rate}, step)["lr"]
        optimizer.apply(list(map(keras.ops.convert_to_tensor, apart(gradient, case))))
    found, bound = together(np.asarray(p.value) for p in params), case.bounds
    assert_close(run(case, dtype, rate), found, dtype, bound.get("keras", 0.0))
