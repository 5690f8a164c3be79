"""What goes around a rule has the values of torch, optax and Keras, also combined."""

import numpy as np
import pytest

import gdopt

STEPS, RATE = 12, 0.1
SHAPES = {"W": (4, 3), "b": (3,)}
GENERATOR = np.random.default_rng(11)
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
GRADIENTS = [
    {name: 3 * GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
    for _ in range(STEPS)
]


def ours(kind, grads=GRADIENTS, **options):
    params = {name: array.copy() for name, array in START.items()}
    optimizer = kind(params, lr=RATE, **options)
    for row in grads:
        optimizer.step(row)
    return params, optimizer


def assert_same(found, expected, rtol=1e-12):
    for name, array in found.items():
        np.testing.assert_allclose(array, np.asarray(expected[name]), rtol=rtol)


def decay(mode, **options):
    return {"weight_decay": 0.3, "decay_mode": mode, **options}


TORCH = {
    "coupled": (gdopt.SGD, decay("coupled"), "SGD", {"weight_decay": 0.3}, ()),
    "coupled Adam, up": (
        gdopt.Adam,
        decay("coupled", maximize=True),
        "Adam",
        {"weight_decay": 0.3, "maximize": True},
        (),
    ),
    "decoupled": (gdopt.Adam, decay("decoupled"), "AdamW", {"weight_decay": 0.3}, ()),
    "by value, then by norm": (
        gdopt.SGD,
        decay("coupled", clip_value=2.0, clip_norm=1e9),
        "SGD",
        {"weight_decay": 0.3},
        ("value",),
    ),
    "of norm": (
        gdopt.Adam,
        decay("coupled", clip_norm=1.5),
        "Adam",
        {"weight_decay": 0.3},
        ("norm",),
    ),
    "by value and of norm": (
        gdopt.Adam,
        {"clip_value": 2.0, "clip_norm": 1.5},
        "Adam",
        {},
        ("value", "norm"),
    ),
}


@pytest.mark.peers("torch")
@pytest.mark.parametrize("name", TORCH)
def test_torch(name, torch, engine):
    kind, options, theirs, given, clips = TORCH[name]
    params = {
        n: torch.tensor(array, requires_grad=True, dtype=torch.float64)
        for n, array in START.items()
    }
    optimizer = getattr(torch.optim, theirs)(params.values(), lr=RATE, **given)
    for row in GRADIENTS:
        for n, p in params.items():
            p.grad = torch.tensor(row[n])
        if "value" in clips:
            torch.nn.utils.clip_grad_value_(params.values(), 2.0)
        if "norm" in clips:
            torch.nn.utils.clip_grad_norm_(params.values(), 1.5)
        optimizer.step()
    found, _ = ours(kind, **options)
    # torch divides by the norm and a millionth.
    loose = 2e-5 if "norm" in clips else 1e-10
    assert_same(found, {n: p.detach() for n, p in params.items()}, loose)


@pytest.mark.peers("torch")
@pytest.mark.parametrize("swa", [True, False])
def test_torch_s_averages(swa, torch, engine):
    average = torch.optim.swa_utils
    model = torch.nn.Linear(3, 4, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(START["W"]))
        model.bias.copy_(torch.tensor(GRADIENTS[0]["W"][:, 0]))
    beta = None if swa else average.get_ema_multi_avg_fn(0.8)
    averaged = average.AveragedModel(model, multi_avg_fn=beta)
    if not swa:
        averaged.update_parameters(model)  # the parameters before the first step
    descent = torch.optim.SGD([model.weight], lr=RATE)
    for step, row in enumerate(GRADIENTS):
        model.weight.grad = torch.tensor(row["W"])
        descent.step()
        if not swa or step >= 4:
            averaged.update_parameters(model)
    p = START["W"].copy()
    optimizer = gdopt.SGD(p, RATE, **({"swa_start": 4} if swa else {"ema": 0.8}))
    for row in GRADIENTS:
        optimizer.step(row["W"])
    expected = averaged.module.weight.detach().numpy()
    np.testing.assert_allclose(optimizer.average["0"], expected, rtol=1e-12)


def by_optax(jax, transform, grads=GRADIENTS):
    import optax

    params = jax.tree.map(jax.numpy.asarray, START)
    state = transform.init(params)
    for row in grads:
        updates, state = transform.update(row, state, params)
        params = optax.apply_updates(params, updates)
    return params


OPTAX = {
    "all clips, coupled": (
        gdopt.SGD,
        decay("coupled", clip_value=2.5, clip_norm=2.0),
        lambda o: o.chain(
            o.clip(2.5),
            o.clip_by_global_norm(2.0),
            o.add_decayed_weights(0.3),
            o.sgd(RATE),
        ),
    ),
    "independent": (
        gdopt.SGD,
        decay("independent"),
        lambda o: o.chain(o.sgd(RATE), o.add_decayed_weights(-0.3)),
    ),
    "decoupled": (
        gdopt.Momentum,
        decay("decoupled", form="heavy_ball", clip_norm=1.0),
        lambda o: o.chain(
            o.clip_by_global_norm(1.0),
            o.trace(0.9),
            o.add_decayed_weights(0.3),
            o.scale_by_learning_rate(RATE),
        ),
    ),
    "units": (
        gdopt.Adam,
        {"agc": 0.2, "unit_axis": 1},
        lambda o: o.chain(o.adaptive_grad_clip(0.2), o.adam(RATE)),
    ),
    "own norm": (
        gdopt.Adam,
        {"clip_each": 1.5},
        lambda o: o.chain(o.clip_by_block_rms(1.5), o.adam(RATE)),
    ),
    "accumulated": (
        gdopt.Adam,
        {"accumulate": 3, "clip_norm": 1.0},
        lambda o: o.MultiSteps(
            o.chain(o.clip_by_global_norm(1.0), o.adam(RATE)), every_k_schedule=3
        ),
    ),
}


@pytest.mark.peers("jax", "optax")
@pytest.mark.parametrize("name", OPTAX)
def test_optax(name, jax, engine):
    import optax

    kind, options, transform = OPTAX[name]
    if name == "own norm":  # optax clips the root of the mean square
        params = {"W": START["W"].copy()}
        optimizer = kind(params, lr=RATE, clip_each=1.5 * np.sqrt(12))
        for row in GRADIENTS:
            optimizer.step({"W": row["W"]})
        expected = by_optax(jax, transform(optax))
        np.testing.assert_allclose(params["W"], expected["W"], rtol=1e-9)
        return
    found, _ = ours(kind, **options)
    loose = 1e-7 if name == "accumulated" else 1e-9  # a mean with float32 in it
    assert_same(found, by_optax(jax, transform(optax)), loose)


@pytest.mark.peers("jax", "optax")
def test_optax_s_lookahead_and_box(jax, engine):
    import optax

    transform = optax.lookahead(optax.sgd(RATE), sync_period=3, slow_step_size=0.4)
    start = jax.tree.map(jax.numpy.asarray, START)
    params = optax.LookaheadParams.init_synced(start)
    state = transform.init(params)
    box = {name: array.copy() for name, array in START.items()}
    bounded = gdopt.SGD(box, RATE, bounds=(-0.5, 0.7))
    boxed = start
    for row in GRADIENTS:
        updates, state = transform.update(row, state, params)
        params = optax.apply_updates(params, updates)
        bounded.step(row)
        boxed = optax.projections.projection_box(
            jax.tree.map(lambda p, g: p - RATE * g, boxed, row),
            dict.fromkeys(START, -0.5),
            dict.fromkeys(START, 0.7),
        )
    found, _ = ours(gdopt.SGD, lookahead=(3, 0.4))
    assert_same(found, params.fast, 1e-10)
    assert_same(box, boxed, 1e-10)


KERAS = {
    "decay and norm": (
        decay("decoupled", clip_norm=2.0),
        {"weight_decay": 0.3, "global_clipnorm": 2.0},
    ),
    "each": ({"clip_each": 2.0}, {"clipnorm": 2.0}),
    "value": ({"clip_value": 2.0}, {"clipvalue": 2.0}),
    "scaled": (
        {"loss_scale": 4.0, "clip_norm": 1.0},
        {"loss_scale_factor": 4.0, "global_clipnorm": 1.0},
    ),
    "accumulated": (
        decay("decoupled", accumulate=3, clip_norm=1.0),
        {
            "weight_decay": 0.3,
            "gradient_accumulation_steps": 3,
            "global_clipnorm": 1.0,
        },
    ),
}


@pytest.mark.peers("jax", "keras")
@pytest.mark.parametrize("name", KERAS)
def test_keras(name, keras, engine):
    keras.config.set_floatx("float64")
    options, given = KERAS[name]
    params = [keras.Variable(array, dtype="float64") for array in START.values()]
    optimizer = keras.optimizers.SGD(RATE, **given)
    optimizer.build(params)
    for row in GRADIENTS:
        optimizer.apply(list(map(keras.ops.convert_to_tensor, row.values())))
    found, _ = ours(gdopt.SGD, **options)
    expected = {n: p.value for n, p in zip(START, params, strict=True)}
    assert_same(found, expected, 2e-6)  # its rate and factors are float32
