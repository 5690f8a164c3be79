"""What overflows on the way raises nothing, whatever NumPy was told to raise."""

import numpy as np
import pytest
from oracles import CASES

import gdopt
from gdopt.kernels.packing import random_bits
from gdopt.nn import Network, losses

VALUES = {
    "float16": (0.0, 6e-8, 6e4, np.inf, np.nan),
    "float32": (0.0, 1e-40, 1e-20, 1e20, 3e38, np.inf, np.nan),
    "float64": (0.0, 5e-324, 1e-200, 1e200, 1.7e308, np.inf, np.nan),
}
OPTIONS = {
    "clip_norm": {"clip_norm": 1e-30},
    "clip_each": {"clip_each": 1e-30, "loss_scale": 1e30},
    "agc": {"agc": 1e-20, "unit_axis": 0, "ema": 0.9},
    "skip": {"non_finite": "skip", "accumulate": 2, "lookahead": (2, 0.5)},
    "raise": {"non_finite": "raise", "swa_start": 0, "clip_value": 1e-30},
}
pytestmark = pytest.mark.usefixtures("numpy_engine")


@pytest.fixture(autouse=True)
def strict():
    with np.errstate(all="raise"):
        yield


def tried(call, *arguments, **options):
    """Return what a call gives; a refusal of its own is fine."""
    try:
        return call(*arguments, **options)
    except gdopt.GdoptError:
        return None


def full(value, dtype, shape=(3, 4)):
    with np.errstate(all="ignore"):
        return np.full(shape, value, dtype)


def walk(make, dtype, rows=3, of=dict, **how):
    def arrays(value):
        return of({"a": full(value, dtype, (rows, 4)), "b": full(value, dtype, rows)})

    for value in VALUES[dtype]:
        for start in (1.0, VALUES[dtype][1], VALUES[dtype][2]):
            optimizer = make(arrays(start))
            for _ in range(3):
                tried(optimizer.step, arrays(value), **how)
            optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("name", CASES)
def test_steps_of_every_rule(name):
    for dtype in ("float32", "float64"):
        walk(CASES[name].make, dtype)
        walk(CASES[name].make, dtype, of=gdopt.Arena.of)


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("option", OPTIONS)
def test_steps_with_every_option(option, dtype):
    walk(lambda params: gdopt.Adam(params, **OPTIONS[option]), dtype)


@pytest.mark.parametrize("name", ["sgd", "adam corrected", "lars", "lamb"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rounding": "stochastic"}, {"master_weights": True}],
    ids=["nearest", "stochastic", "master weights"],
)
def test_steps_of_half_precision(name, options):
    kind = type(CASES[name].make(np.ones(1, np.float16)))
    walk(lambda params: kind(params, 100.0, **options), "float16")
    at = {"a": [2, 0, 2], "b": [0, 0, 0]}
    walk(lambda params: kind(params, 100.0, **options), "float16", at=at)


def test_steps_of_many_elements():
    walk(lambda params: gdopt.Adam(params, 10.0, eps=1e-30), "float32", rows=70_000)
    walk(lambda params: gdopt.SGD(params, 10.0), "float32", rows=5, at=[4, 0, 1, 4, 2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_matrices(dtype):
    for options in ({}, {"accumulate": 2}, {"weight_decay": 1e30}):
        walk(lambda params, o=options: gdopt.Muon(params, 10.0, **o), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_a_shard(dtype):
    with gdopt.parallel.world() as ranks:
        for value in VALUES[dtype]:
            params = gdopt.Arena.of({"a": full(1.0, dtype)})
            sharded = ranks.sharded(
                gdopt.SGD, params, lr=10.0, replicas=1, clip_norm=1.0
            )
            sharded.add({"a": full(value, dtype)}, gdopt.parallel.Part(0, 1.0))
            sharded.step()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rules_on_arrays(dtype):
    def centred(p, g, *, lr):
        return p - lr * (g - np.mean(g)) / np.linalg.norm(g)

    rule = gdopt.rule(centred)
    random_bits(2**31, 2**40, np.arange(3))
    for value in VALUES[dtype]:
        p, g = full(value, dtype), full(value, dtype)
        gdopt.rules.adam(p, g, g, g, lr=1e30, beta1=0.9, beta2=0.9, eps=0.0, t=1)
        gdopt.Kernel(centred)(p, g, lr=10.0)
        gdopt.Optimizer(full(value, dtype), rule, lr=10.0).step(g)


@pytest.mark.parametrize("t", [2**31 - 1, 2**31, 2**32, 2**53, 2**53 + 1, 2**62])
def test_steps_after_very_many(t):
    for name in ("adam corrected", "nadam", "radam", "adafactor", "asgd"):
        p = np.ones((2, 2))
        optimizer = CASES[name].make(p)
        optimizer.load_state_dict(optimizer.state_dict() | {"t": t})
        optimizer.step(np.ones((2, 2)))
        assert optimizer.t == t + 1
        assert np.isfinite(p).all()


def test_schedules():
    kinds, ends = gdopt.schedules, (0.0, 5e-324, 1e-300, 1.0, 1e300, 1.7e308)
    for a in ends:
        for b in ends:
            made = [
                tried(kinds.cosine, a, b, 10, power=3.0),
                tried(kinds.polynomial, a, b, 3, power=2.5, cycle=True),
                tried(kinds.cosine_restarts, a, b, 3, t_mul=1e300, m_mul=0.5),
                tried(kinds.cyclic, a, b, 3, form="exp_range", gamma=0.5),
                tried(kinds.exponential, a, b, 3, staircase=True),
                tried(kinds.inv_sqrt, a, b),
                tried(kinds.inverse_time, a, b, power=1e300),
                tried(kinds.interpolate, [0, 1, 9], [a, b, a], curve="cosine"),
                tried(kinds.warmup, a, 10),
            ]
            for schedule in filter(None, made):
                for step in (0, 1, 5, 2**31, 2**53, 2**62):
                    tried(schedule, step)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_averages_and_normalization(dtype):
    gdopt.averages.ewa_weights(0.5, 5000)
    for value in VALUES[dtype]:
        x = full(value, dtype, (20, 3))
        x[3] = 1
        for beta in (0.0, 0.9, 0.999999):
            for options in ({}, {"bias_correction": False}, {"ignore_na": True}):
                tried(gdopt.ewa, x, beta, **options)
            tried(gdopt.averages.ewa_std, x, beta)
            mean = gdopt.EWA(beta)
            for row in x:
                mean.update(row)
        tried(gdopt.ewa, x, times=np.arange(20) * 1e300, halflife=1.0)
        for skipna in (False, True):
            normalizer = tried(gdopt.Normalizer.fit, x, skipna=skipna)
            if normalizer is not None:
                tried(normalizer.transform, x)
                tried(normalizer.inverse, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_networks_and_losses(output, dtype):
    width = 1 if output == "sigmoid" else 2
    y = np.array([0, 1] * 4) if output != "linear" else np.ones((8, width), dtype)
    kinds = {}, {"batch_norm": True}, {"layer_norm": True, "l2": 0.1}, {"l1": 0.1}
    for kind in kinds:
        network = Network((3, 4, width), output=output, dtype=dtype, seed=0, **kind)
        for value in VALUES[dtype]:
            x = full(value, dtype, (8, 3))
            tried(network.loss_and_grads, x, y)
            tried(network.loss, x, y)
            tried(network.predict, x)
    for value in VALUES[dtype]:
        z = full(value, dtype, (8, 2))
        tried(losses.softmax_cross_entropy, z, np.array([0, 1] * 4))
        tried(losses.binary_cross_entropy, z[:, 0].copy(), np.array([0, 1] * 4))
        tried(losses.squared_error, z, -z)
        losses.softmax(z)
        losses.logistic(z)


def test_layers_and_estimators():
    network = Network((3, 4, 4, 2), seed=0, dtype=np.float64)
    network.params.flat[...] = 1e160
    x, y = np.ones((8, 3)), np.array([0, 1] * 4)
    assert gdopt.training.diagnosis.layer_norms(network, x, y).verdict == "exploding"
    model = gdopt.MLPClassifier((2,), random_state=0).partial_fit(x, y, classes=[0, 1])
    model.partial_fit(x * 1e30, y)
    assert (model.predict_log_proba(x * 1e30) <= 0).all()


@pytest.mark.parametrize("directions", [None, 2])
def test_gradient_checks_at_the_end_of_the_range(directions):
    p = np.full(3, np.finfo(np.float32).max, np.float32)
    grads = np.zeros(3, np.float32)
    with pytest.raises(gdopt.GdoptError, match="loss"):
        gdopt.check_gradient(
            lambda p: (float(p[0]), grads), p, directions=directions, step=1e38
        )


@pytest.mark.parametrize("method", ["l-bfgs", "cg", "gd"])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_line_searches(method, scale):
    def function(p):
        return scale * float(p @ p), 2 * scale * p

    p = np.array([1.0, 2.0])
    if scale > 1e150:
        with pytest.raises(gdopt.DivergenceError, match=r"scale the function down"):
            gdopt.minimize(function, p, method=method, max_iter=20)
        assert p.tolist() == [1.0, 2.0]
    else:
        gdopt.minimize(function, p, method=method, max_iter=20, gtol=0.0)

    def quartic(p):
        return float(p[0] ** 4), np.array([4 * p[0] ** 3, 1e-310])

    gdopt.minimize(quartic, np.ones(2), method=method, max_iter=20)
    gdopt.check_gradient(function, np.array([1.0, 2.0]))
