"""What is public shows its values at a prompt, and no address of memory."""

import importlib
import inspect
from functools import partial

import numpy as np
import pytest

import gdopt
from gdopt import schedules, tune
from gdopt.data.augment import Augment, flip
from gdopt.training import RangeTest, diagnosis

PACKAGES = (
    "gdopt",
    *(f"gdopt.{n}" for n in gdopt.__all__ if inspect.ismodule(getattr(gdopt, n))),
    "gdopt.data.augment",
    "gdopt.training.diagnosis",
)
X = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def public_classes():
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if inspect.isclass(thing) and not issubclass(thing, BaseException):
                found[thing] = name
    return found


def descent(p, g, *, lr):
    return p - lr * g


def network():
    return gdopt.nn.Network((2, 3, 2), seed=0, backend="numpy")


def model():
    normalizer = gdopt.Normalizer.fit(X)
    own = gdopt.nn.Network((X.shape[1], 2), seed=0, backend="numpy")
    return gdopt.Model(own, normalizer, classes=("no", "yes"))


def network_step():
    model = network()
    return gdopt.planner.NetworkStep(model, gdopt.SGD(model.params))


def plan():
    step = network_step()
    return gdopt.plan_batch_size(step, (X, Y), step, sizes=(8, 16), repeats=2)


def study():
    return tune.tune(lambda trial: trial["x"], {"x": tune.uniform(0, 1)}, trials=2)


def result():
    x, history = np.array([1.0, 2.0]), gdopt.training.History()
    return gdopt.training.Result(x, 0.5, None, 3, 4, "It ended.", True, history)


def some_average():
    mean = gdopt.EWA(0.9)
    mean.update(2.0)
    return mean


def checked():
    return gdopt.check_gradient(lambda w: ((w**2).sum(), 2 * w), np.ones(2))


def ranks():
    with gdopt.parallel.world(timeout=5) as made:
        return made


def norms():
    return diagnosis.layer_norms(network(), X, Y)


EXAMPLES = {  # a way to make one of each public class, and what its repr shows
    "Adam": (lambda: gdopt.Adam(np.zeros(2), lr=0.1), "lr=0.1, beta1=0.9"),
    "AdamW": (lambda: gdopt.AdamW(np.zeros(2)), "weight_decay=0.01"),
    "Arena": (lambda: gdopt.Arena.of(np.zeros(2)), "0(2,); float64 on cpu"),
    "Augment": (lambda: Augment([partial(flip, axis=2)], seed=3), "['flip'], seed=3"),
    "Backend": (lambda: gdopt.get_backend("numpy"), "NumpyBackend(name='numpy')"),
    "BiasVariance": (
        lambda: diagnosis.bias_variance(train_error=0.01, dev_error=0.11),
        "0.11",
    ),
    "Dataset": (lambda: gdopt.data.Dataset("a.npz", X[:2], Y[:2], (), ()), "a.npz"),
    "EWA": (some_average, "EWA(beta=0.9, bias_correction=True, initial='zero', t=1, v"),
    "RangeTest": (
        lambda: RangeTest(np.array([0.1, 1.0]), np.ones(2), np.ones(2), 0.1),
        "RangeTest(suggestion=0.1, 2 rates from 0.1 to 1)",
    ),
    "EarlyStopping": (
        lambda: gdopt.training.EarlyStopping(3),
        "patience=3, min_delta=0.0, best=None, best_step=None, waited=0",
    ),
    "GradientCheck": (checked, "calls="),
    "Evaluation": (lambda: model().evaluate(X, np.full(len(X), "no")), "classes=('no'"),
    "History": (gdopt.training.History, "History(0 records)"),
    "Kernel": (lambda: gdopt.Kernel(descent), "Kernel(descent(p, g, *, lr))"),
    "Layer": (lambda: norms().layers[0], "Layer("),
    "LayerNorms": (norms, "LayerNorms("),
    "Layout": (lambda: gdopt.Arena.of(np.zeros(2)).layout, "float64"),
    "MLPClassifier": (
        lambda: gdopt.MLPClassifier(max_iter=3),
        "MLPClassifier(max_iter=3)",
    ),
    "MLPRegressor": (lambda: gdopt.MLPRegressor(max_iter=3), "max_iter=3"),
    "MiniBatches": (
        lambda: gdopt.minibatches(X, Y, batch_size=8),
        "count=60, batch_size=8, seed=0, axis=0, shuffle=True, drop_last=False, ",
    ),
    "Momentum": (lambda: gdopt.Momentum(np.zeros(2)), "beta=0.9"),
    "Nesterov": (lambda: gdopt.Nesterov(np.zeros(2)), "beta=0.9"),
    "Network": (network, "Network(2-3-2, relu, softmax; float32 on cpu)"),
    "NetworkObjective": (
        lambda: tune.NetworkObjective((X, Y), (X, Y), 2, epochs=3),
        "classes=2",
    ),
    "NetworkStep": (network_step, "optimizer=SGD(lr=0.001;"),
    "NoiseScale": (
        lambda: gdopt.planner.noise_scale([2, 2, 1], [1, 1, 1], 1.0),
        "value=",
    ),
    "Model": (model, "classes=('no', 'yes')"),
    "Normalizer": (lambda: gdopt.Normalizer.fit(X), "mean="),
    "Optimizer": (
        lambda: gdopt.Optimizer(np.zeros(2), descent, lr=schedules.cosine(1, 0, 9)),
        "Optimizer(lr=cosine(start=1",
    ),
    "Outcome": (lambda: study().trials[0], "state='complete'"),
    "Part": (lambda: gdopt.parallel.Part(3, 0.25), "Part(replica=3, weight=0.25"),
    "ParameterCheck": (lambda: checked().worst, "error="),
    "Plan": (plan, "batch_size="),
    "Problem": (gdopt.problems.saddle, "saddle"),
    "RMSprop": (lambda: gdopt.RMSprop(np.zeros(2)), "beta=0.9"),
    "Ranks": (ranks, "Ranks(rank=0, size=1, timeout=5)"),
    "Record": (lambda: gdopt.training.Record(2, 1, 0.5, 0.5, 0.1), "step=2"),
    "ReplicaBatches": (
        lambda: ranks().minibatches(X, batch_size=8),
        "ReplicaBatches(global_batches=MiniBatches(count=60, batch_size=8",
    ),
    "ReduceOnPlateau": (
        gdopt.training.ReduceOnPlateau,
        "factor=0.1, patience=10, best=None, waited=0, cooldown_left=0",
    ),
    "Result": (result, "x: array([1., 2.])"),
    "Row": (lambda: plan().rows[0], "batch_size=8"),
    "Rule": (
        lambda: gdopt.rule(ranges={"lr": "[0, 1)"})(descent),
        "Rule(descent(p, g, *, lr), initial={}, ranges={'lr': '[0, 1)'})",
    ),
    "SGD": (lambda: gdopt.SGD(np.zeros(2)), "SGD(lr=0.001; 1 arrays, 2 elements on cp"),
    "Sharded": (
        lambda: ranks().sharded(gdopt.SGD, gdopt.Arena.of(np.zeros(2)), lr=0.5),
        "Sharded(SGD(lr=0.5; 1 arrays, 2 elements on cpu, t=0); replicas=8, rank 0 of",
    ),
    "Space": (lambda: tune.Space({"x": tune.uniform(0, 1)}), "x=uniform(low=0.0"),
    "Split": (lambda: gdopt.split(X, Y, seed=0), "train="),
    "Study": (study, "Study("),
    "Trial": (lambda: tune.Trial(0, {"x": 1.5}), "x=1.5"),
    "choice": (lambda: tune.choice([1, 2]), "(1, 2)"),
    "constant": (lambda: schedules.constant(0.1), "0.1"),
    "cosine": (lambda: schedules.cosine(0.1, 0, steps=9), "steps=9"),
    "cosine_restarts": (lambda: schedules.cosine_restarts(1, 0, steps=9), "m_mul=1.0"),
    "cyclic": (lambda: schedules.cyclic(0, 1, 9), "steps_up=9"),
    "exponential": (lambda: schedules.exponential(0.1, rate=0.5), "rate=0.5"),
    "interpolate": (lambda: schedules.interpolate([0, 1], [1, 2]), "curve='linear'"),
    "inv_sqrt": (lambda: schedules.inv_sqrt(0.1), "start=0.1"),
    "inverse_time": (lambda: schedules.inverse_time(0.1, rate=1), "rate=1"),
    "join": (
        lambda: schedules.join([schedules.constant(1), schedules.constant(2)], [3]),
        "constant(",
    ),
    "log_one_minus": (lambda: tune.log_one_minus(0.9, 0.999), "high=0.999"),
    "log_uniform": (lambda: tune.log_uniform(0.1, 1), "low=0.1"),
    "log_uniform_int": (lambda: tune.log_uniform_int(1, 100), "low=1"),
    "per_epoch": (
        lambda: schedules.per_epoch(schedules.constant(1), steps=5),
        "steps=5",
    ),
    "piecewise": (lambda: schedules.piecewise([3], [1, 2]), "boundaries="),
    "polynomial": (lambda: schedules.polynomial(0.1, 0, steps=9), "steps=9"),
    "power_of_two": (lambda: tune.power_of_two(2, 64), "high=64"),
    "uniform": (lambda: tune.uniform(0, 1), "low=0.0"),
    "uniform_int": (lambda: tune.uniform_int(1, 9), "high=9"),
    "warmup": (lambda: schedules.warmup(0.1, steps=9), "steps=9"),
}
EXAMPLES |= {
    kind.__name__: (partial(kind, np.zeros((1, 2))), "lr=")
    for kind in gdopt.optim.OPTIMIZERS.values()
    if kind.__name__ not in EXAMPLES
}
ELSEWHERE = {"TrainingGraph"}  # need a folder and a GPU: see below


def test_every_public_class_has_an_example():
    classes = [kind for kind in public_classes() if kind.__module__.startswith("gdopt")]
    names = {k.__name__ for k in classes if not inspect.isabstract(k)} - ELSEWHERE
    assert names == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_repr_shows_values_and_no_address(name):
    make, expected = EXAMPLES[name]
    shown = repr(make())
    assert expected in shown
    assert " at 0x" not in shown


def test_hyper_parameters_show_their_settings():
    params = {f"W{k}": np.zeros(2) for k in range(300)}
    optimizer = gdopt.SGD(params, lr=schedules.cosine(0.1, 0, steps=9), clip_norm=1.0)
    assert repr(optimizer.hyper).startswith("Hyper(lr=cosine(start=0.1, end=0.0, steps")
    assert repr(optimizer.hyper).endswith("), clip_norm=1.0)")
    with pytest.warns(UserWarning, match="lr was a schedule"):
        optimizer.hyper["lr"] = dict.fromkeys(params, 0.1)
    assert len(repr(optimizer.hyper)) < 300
