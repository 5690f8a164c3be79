"""A valid call of everything public: names, constructors and methods."""

import copy
import functools
import importlib
import inspect
from functools import partial
from pathlib import Path

import numpy as np
from test_reprs import EXAMPLES, PACKAGES, X, Y, descent

import gdopt
from gdopt import schedules, tune
from gdopt.kernels.symbol import ELEMENT, reduced_shape

LABELS = np.array(["no", "yes"])[Y]


def fg(w, *_batch):
    return float((w * w).sum()), 2 * w


def network(**options):
    return gdopt.nn.Network((2, 3, 2), seed=0, backend="numpy", **options)


@functools.cache
def slow_example(name):
    return EXAMPLES[name][0]()


def example(name):
    slow = name in {"GradientCheck", "ParameterCheck", "Plan", "Study"}
    return copy.deepcopy(slow_example(name)) if slow else EXAMPLES[name][0]()


def training():
    own = network()
    batches = gdopt.minibatches(X, Y, batch_size=30, seed=1)
    optimizer = gdopt.Adam(own.params)
    return {"network": own, "optimizer": optimizer, "batches": batches, "epochs": 1}


def part(given, *names):
    return {name: given[name] for name in names}


def finding(network, optimizer, batches, epochs):
    return {"objective": network, "optimizer": optimizer, "data": batches, "steps": 5}


def planning():
    step = example("NetworkStep")
    return {"step": step, "data": (X, Y), "state": step, "sizes": (8, 16), "repeats": 2}


def layer(**more):
    rows, ones = np.arange(6.0).reshape(3, 2), np.ones(2)
    norm = {"z": rows, "gamma": ones, "beta": ones, "d_gamma": ones, "d_beta": ones}
    return {name: value.copy() for name, value in norm.items()} | more


def logits():
    return {"logits": np.ones((3, 2)), "labels": np.array([0, 1, 1])}


def images(**more):
    generator = np.random.default_rng(0)
    return {"images": np.ones((3, 4, 4)), "generator": generator, **more}


def written(name, write):
    path = Path(name)
    if not path.exists():
        write(path)
    return {"path": path}


def idx_file(path):
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 6]))


def csv_file(path):
    path.write_text("a,b,y\n1,2,no\n3,4,yes\n5,6,no\n", encoding="utf-8")


def npz_file(path):
    np.savez(path, X=X, y=Y)


def own_file(path):
    gdopt.save(path, {"a": np.ones(2)})


def run_folder():
    folder = Path("run")
    if not folder.exists():
        folder.mkdir()
        example("Model").save(folder)
    return {"run": folder}


def filled():
    history = gdopt.training.History()
    for step in range(3):
        history.append(gdopt.training.Record(step, 0, 1.0, 1.0, 0.1))
    return history


SEARCH = {"objective": lambda t: t["x"], "space": {"x": tune.uniform(0, 1)}}
STARTED = {"start": 0.1, "end": 0.0, "steps": 9}
CONSTANT = schedules.constant(1)
OBJECTIVE = {"train": (X, Y), "dev": (X, Y), "classes": 2, "epochs": 1}
NEW = {  # what a call needs without having a default
    "gdopt.Optimizer": lambda: {"params": np.ones((2, 3)), "rule": descent, "lr": 0.1},
    "gdopt.Muon": lambda: {"params": {"W": np.ones((2, 3)), "b": np.ones(3)}},
    "gdopt.Kernel": lambda: {"function": descent},
    "gdopt.Rule": lambda: {"function": descent, "initial": {}},
    "gdopt.rule": lambda: {"function": descent},
    "gdopt.Model": lambda: dict(vars(example("Model"))),
    "gdopt.Normalizer": lambda: dict(vars(example("Normalizer"))),
    "gdopt.Arena": lambda: {
        "layout": example("Layout"),
        "backend": example("Backend"),
        "device": "cpu",
    },
    "gdopt.EWA": lambda: {"beta": 0.9},
    "gdopt.as_array": lambda: {"array": np.ones(3)},
    "gdopt.backend_of": lambda: {"*": [np.ones(3)]},
    "gdopt.check_gradient": lambda: {"loss_and_grads": fg, "params": np.ones((2, 3))},
    "gdopt.ewa": lambda: {"series": np.arange(5.0), "beta": 0.9},
    "gdopt.ewa_std": lambda: {"series": np.arange(5.0), "beta": 0.9},
    "gdopt.ewa_var": lambda: {"series": np.arange(5.0), "beta": 0.9},
    "gdopt.ewa_weights": lambda: {"beta": 0.9, "count": 5},
    "gdopt.ewa_window": lambda: {"beta": 0.9},
    "gdopt.fit": training,
    "gdopt.load": lambda: written("own.npz", own_file),
    "gdopt.save": lambda: {"path": Path("new.npz"), "tree": {"a": np.ones(2)}},
    "gdopt.MiniBatches": lambda: {"*": [X, Y], "batch_size": 30},
    "gdopt.Split": lambda: {"train": X, "dev": X, "test": X},
    "gdopt.split": lambda: {"*": [X, Y]},
    "gdopt.minimize": lambda: {"fg": fg, "params": np.ones((2, 3)), "max_iter": 2},
    "gdopt.steps": lambda: {"fg": fg, "params": np.ones((2, 3)), "max_iter": 2},
    "gdopt.plan_batch_size": planning,
    "gdopt.prefetch": lambda: {"batches": example("MiniBatches"), "backend": "numpy"},
    "gdopt.use": lambda: {"name": "numpy"},
    "gdopt.get_backend": lambda: {"name": "numpy"},
    "gdopt.averages.average": lambda: {"v": 1.0, "x": 2.0, "beta": 0.9},
    "gdopt.arrays.Layout": lambda: dict(vars(example("Layout"))),
    "gdopt.data.Dataset": lambda: {"X": X, "y": Y, "source": "a.npz"},
    "gdopt.data.read": lambda: written("table.csv", csv_file),
    "gdopt.data.read_csv": lambda: written("table.csv", csv_file),
    "gdopt.data.read_idx": lambda: written("labels.idx", idx_file),
    "gdopt.data.read_npz": lambda: written("data.npz", npz_file),
    "gdopt.data.augment.Augment": lambda: {"transforms": [lambda x, generator: x]},
    "gdopt.data.augment.flip": partial(images, axis=2),
    "gdopt.data.augment.rotate": partial(images, degrees=10.0),
    "gdopt.data.augment.shift": partial(images, most=1),
    "gdopt.GradientCheck": lambda: dict(vars(example("GradientCheck"))),
    "gdopt.gradient_check.ParameterCheck": lambda: dict(
        vars(example("ParameterCheck"))
    ),
    "gdopt.nn.Network": lambda: {"sizes": (2, 3, 2), "backend": "numpy"},
    "gdopt.nn.batch_norm": layer,
    "gdopt.nn.layer_norm": layer,
    "gdopt.nn.binary_cross_entropy": lambda: logits() | {"logits": np.ones(3)},
    "gdopt.nn.softmax_cross_entropy": logits,
    "gdopt.nn.squared_error": lambda: {
        "predictions": np.ones((3, 2)),
        "targets": np.zeros((3, 2)),
    },
    "gdopt.nn.dense": lambda: {
        "x": np.ones((4, 2)),
        "weights": np.ones((2, 3)),
        "bias": np.ones(3),
        "d_weights": np.ones((2, 3)),
        "d_bias": np.ones(3),
    },
    "gdopt.nn.dropout": lambda: {
        "a": np.ones((4, 2)),
        "keep_prob": 0.5,
        "generator": np.random.default_rng(0),
    },
    "gdopt.nn.example_gradients": lambda: {"network": network(), "x": X, "y": Y},
    **{
        f"gdopt.nn.{name}_std": lambda: {"fan_in": 3, "fan_out": 2}
        for name in ("glorot", "he", "xavier", "zeros")
    },
    "gdopt.nn.logistic": lambda: {"logits": np.ones(3)},
    "gdopt.nn.softmax": lambda: {"logits": np.ones((3, 2))},
    "gdopt.nn.one_hot": lambda: {"labels": np.array([0, 1]), "classes": 2},
    **{
        f"gdopt.nn.{name}": lambda: {"z": np.ones((3, 2))}
        for name in ("relu", "sigmoid", "tanh")
    },
    "gdopt.planner.NetworkStep": lambda: part(training(), "network", "optimizer"),
    "gdopt.planner.NoiseScale": lambda: dict(vars(example("NoiseScale"))),
    "gdopt.planner.Row": lambda: {"batch_size": 8, "predicted_bytes": 8},
    "gdopt.planner.noise_scale": lambda: {
        "squares": [2, 2, 1],
        "dots": [1, 1, 1],
        "total": 1.0,
    },
    "gdopt.Plan": lambda: dict(vars(example("Plan"))),
    "gdopt.plots.averages": lambda: {
        "series": np.arange(9.0),
        "betas": [0.9],
        "path": Path("a.png"),
    },
    "gdopt.plots.batch_sizes": lambda: {"plan": example("Plan"), "path": Path("b.png")},
    "gdopt.plots.curves": lambda: {
        "history": filled(),
        "path": Path("c.png"),
    },
    "gdopt.problems.Problem": lambda: part(
        vars(gdopt.problems.saddle()), "name", "formula", "slope", "start", "box"
    ),
    "gdopt.schedules.constant": lambda: {"value": 0.1},
    "gdopt.schedules.cosine": lambda: STARTED,
    "gdopt.schedules.cosine_restarts": lambda: STARTED,
    "gdopt.schedules.polynomial": lambda: STARTED,
    "gdopt.schedules.cyclic": lambda: {"start": 0.1, "peak": 1.0, "steps_up": 9},
    "gdopt.schedules.exponential": lambda: {"start": 0.1, "rate": 0.5},
    "gdopt.schedules.halving": lambda: {"start": 0.1, "every": 5},
    "gdopt.schedules.interpolate": lambda: {"steps": [0, 1], "values": [1, 2]},
    "gdopt.schedules.inv_sqrt": lambda: {"start": 0.1},
    "gdopt.schedules.inverse_time": lambda: {"start": 0.1, "rate": 0.5},
    "gdopt.schedules.join": lambda: {
        "schedules": [CONSTANT, CONSTANT],
        "boundaries": [3],
    },
    "gdopt.schedules.one_cycle": lambda: {"peak": 0.1, "steps": 9},
    "gdopt.schedules.per_epoch": lambda: {"schedule": CONSTANT, "steps": 5},
    "gdopt.schedules.piecewise": lambda: {"boundaries": [3], "values": [1, 2]},
    "gdopt.schedules.warmup": lambda: {"schedule": 0.1, "steps": 5},
    "gdopt.training.EarlyStopping": lambda: {"patience": 3},
    "gdopt.training.Evaluation": lambda: {"truth": Y, "predicted": Y},
    "gdopt.training.RangeTest": lambda: dict(vars(example("RangeTest"))),
    "gdopt.training.Record": lambda: dict(vars(example("Record"))),
    "gdopt.training.Result": lambda: dict(vars(example("Result"))),
    "gdopt.training.TrainingGraph": lambda: part(
        training(), "network", "optimizer", "batches"
    ),
    "gdopt.training.lr_finder": lambda: finding(**training()),
    "gdopt.training.diagnosis.BiasVariance": lambda: dict(
        vars(example("BiasVariance"))
    ),
    "gdopt.training.diagnosis.Layer": lambda: dict(vars(example("Layer"))),
    "gdopt.training.diagnosis.LayerNorms": lambda: dict(vars(example("LayerNorms"))),
    "gdopt.training.diagnosis.bias_variance": lambda: {
        "train_error": 0.01,
        "dev_error": 0.1,
    },
    "gdopt.training.diagnosis.layer_norms": lambda: {
        "network": network(),
        "x": X,
        "y": Y,
    },
    "gdopt.tune.NetworkObjective": lambda: OBJECTIVE,
    "gdopt.tune.Outcome": lambda: {"number": 0, "values": {"x": 1}, "state": "failed"},
    "gdopt.tune.Space": lambda: {"scales": {"x": tune.uniform(0, 1)}},
    "gdopt.tune.Study": lambda: {
        "space": tune.Space({"x": tune.uniform(0, 1)}),
        "trials": example("Study").trials,
    },
    "gdopt.tune.Trial": lambda: {"number": 0, "values": {"x": 1.5}},
    "gdopt.tune.choice": lambda: {"options": [1, 2]},
    "gdopt.parallel.Part": lambda: {"replica": 0, "weight": 0.5},
    "gdopt.tune.log_one_minus": lambda: {"low": 0.9, "high": 0.999},
    "gdopt.tune.log_uniform_int": lambda: {"low": 1, "high": 9},
    "gdopt.tune.log_uniform": lambda: {"low": 0.1, "high": 1.0},
    "gdopt.tune.power_of_two": lambda: {"low": 2, "high": 64},
    "gdopt.tune.uniform": lambda: {"low": 0.0, "high": 1.0},
    "gdopt.tune.uniform_int": lambda: {"low": 1, "high": 9},
    "gdopt.tune.tune": lambda: {**SEARCH, "trials": 2},
    "gdopt.tune.zoom": lambda: {"study": example("Study")},
}


# Not called here, and why.
LEFT_OUT = {
    "gdopt.arrays.Array": "a type",
    "gdopt.arrays.Backend": "a type",
    "gdopt.parallel.Ranks": "world makes it",
    "gdopt.parallel.ReplicaBatches": "Ranks.minibatches makes it",
    "gdopt.parallel.Sharded": "Ranks.sharded makes it",
}


def public_names():
    """Return what is public and can be called, by its shortest name."""
    found, seen = {}, set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and id(thing) not in seen:
                seen.add(id(thing))
                found[f"{package}.{name}"] = thing
    return found


def is_called(name, thing):
    """Return whether a public name is one that these tests call."""
    if inspect.isclass(thing):
        own = not issubclass(thing, BaseException) and not inspect.isabstract(thing)
    else:
        own = True
    return own and name not in LEFT_OUT


def required(function):
    """Return the names of the arguments that a call must have."""
    kinds = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]


def function_calls():
    """Return what makes each call, by its name, and the names that have none."""
    made, missing = {}, []
    for name, thing in public_names().items():
        if not is_called(name, thing):
            continue
        optimizer = inspect.isclass(thing) and issubclass(thing, gdopt.Optimizer)
        given = NEW.get(name, params if optimizer else None)
        if isinstance(thing, gdopt.Rule):
            given = partial(operands, thing)
        if given is None and required(thing):
            missing.append(name)
            continue
        made[name] = partial(call, thing, given or dict)
    return made, missing


def call(thing, given):
    return thing, None, given()


def operands(rule):
    signature = rule.kernel.signature
    shapes = [reduced_shape(rule.per.get(n, ELEMENT), (2, 3)) for n in signature.arrays]
    arrays = [np.full(shape, 0.5) for shape in shapes]
    return {"*": arrays} | dict.fromkeys(signature.scalars, 0.5)


def params():
    return {"params": np.ones((2, 3))}
