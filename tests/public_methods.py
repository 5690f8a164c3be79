"""A valid call of every public method, of an object that is made for it."""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
from public_calls import X, Y, example, filled, network, operands, required, run_folder
from test_reprs import public_classes

import gdopt
from gdopt import tune
from gdopt.tune.scales import Scale


def fitted(kind):
    made = kind(max_iter=2)
    made.partial_fit(X, Y, **({"classes": [0, 1]} if "Class" in kind.__name__ else {}))
    return made


def stepped():
    made = gdopt.Adam({"W": np.ones((2, 3)), "b": np.ones(3)}, ema=0.5)
    made.step({"W": np.ones((2, 3)), "b": np.ones(3)})
    return made


def seen():
    made, part = network(batch_norm=True), gdopt.parallel.Part(0, 1.0)
    made.loss_and_grads(X, Y, part=part)
    return made


OBJECTS = {  # whose methods are called; by default, the example
    "Optimizer": stepped,
    "Rule": lambda: gdopt.rules.momentum,  # another's own errors pass
    "Muon": lambda: gdopt.Muon({"W": np.ones((2, 3)), "b": np.ones(3)}),
    "MLPClassifier": lambda: fitted(gdopt.MLPClassifier),
    "MLPRegressor": lambda: fitted(gdopt.MLPRegressor),
    "History": filled,
    "Arena": lambda: gdopt.Arena.of({"W": np.ones((2, 3)), "b": np.ones(3)}),
    "Network": seen,
    "Problem": gdopt.problems.rosenbrock,
    "Trial": lambda: tune.Trial(0, {"x": 1.5}, lambda _score, _step: False),
    "Augment": lambda: gdopt.data.augment.Augment([lambda x, generator: x], seed=3),
    "choice": lambda: tune.choice(["a", "b"]),
    "Normalizer": lambda: gdopt.Normalizer.fit(X),
}
XY = {"x": X, "y": Y}
WB = {"W": np.full((2, 3), 0.5), "b": np.full(3, 0.5)}
METHODS = {  # arguments that a method needs, from its object
    "Arena.__getitem__": lambda _: {"name": "b"},
    "Arena.__setitem__": lambda _: {"name": "b", "value": np.ones(3)},
    "Arena.of": lambda _: {"arrays": {"W": np.ones((2, 3)), "b": np.ones(3)}},
    "Arena.over": lambda one: {"layout": one.layout, "buffers": dict(one.buffers)},
    "Augment.__call__": lambda _: {"images": np.ones((3, 4, 4))},
    "Schedule.__call__": lambda _: {"step": 3},
    "EWA.update": lambda _: {"x": 1.0},
    "History.append": lambda _: {"record": example("Record")},
    "History.__getitem__": lambda _: {"name": "loss"},
    "History.plot": lambda _: {"path": Path("d.png")},
    "History.to_csv": lambda _: {"path": Path("d.csv")},
    "History.to_jsonl": lambda _: {"path": Path("d.jsonl")},
    "Interval.place": lambda _: {"value": 0.95},
    "Layout.cut": lambda _: {"parts": 2},
    "Kernel.__call__": lambda _: {"*": [np.ones((2, 3)), np.ones((2, 3))], "lr": 0.1},
    "MiniBatches.order": lambda _: {"epoch": 3},
    "Model.evaluate": lambda _: {"data": X, "y": np.where(Y == 1, "yes", "no")},
    "Model.predict": lambda _: {"data": X},
    "Model.predict_proba": lambda _: {"data": X},
    "Model.in_units": lambda _: {"outputs": np.ones(2, int)},
    "Model.save": lambda _: run_folder(),
    "Model.load": lambda _: run_folder(),
    **{
        f"Network.{name}": lambda _: XY
        for name in [
            "accuracy",
            "check_data",
            "loss",
            "loss_and_grads",
            "measure",
            "propagate",
        ]
    },
    **{
        f"Network.{name}": lambda _: {"x": X}
        for name in ["forward", "predict", "predict_proba", "use_statistics_of"]
    },
    "Network.loss_and_grads": lambda _: XY,
    "NetworkObjective.__call__": lambda _: {
        "trial": tune.Trial(
            0, {"learning_rate": 0.1, "hidden_units": 2, "batch_size": 8}
        )
    },
    "NetworkStep.__call__": lambda _: XY,
    "Normalizer.fit": lambda _: {"X": X},
    "Normalizer.from_state_dict": lambda one: {"state": one.state_dict()},
    "Normalizer.inverse": lambda _: {"X": X},
    "Normalizer.transform": lambda _: {"X": X},
    "Optimizer.step": lambda _: {"grads": WB},
    "Optimizer.load_state_dict": lambda one: {"saved": one.state_dict()},
    "Optimizer.replace": lambda _: {"name": "b", "array": np.full(3, 0.5)},
    "Plan.save": lambda _: {"path": Path("plan.json")},
    "Problem.distance": lambda _: {"p": np.array([0.3, 0.2])},
    "Problem.gradient": lambda _: {"p": np.array([0.3, 0.2])},
    "Problem.value": lambda _: {"p": np.array([0.3, 0.2])},
    "Problem.turned": lambda _: {"angle": 0.5},
    "Ranks.agree": lambda _: {"what": "lr", "value": 0.1},
    "Ranks.communicator": lambda _: {"backend": "numpy"},
    "Ranks.minibatches": lambda _: {"*": [X], "batch_size": 8},
    "Ranks.sharded": lambda _: {
        "kind": gdopt.SGD,
        "params": gdopt.Arena.of(np.ones(2)),
    },
    "Ranks.share": lambda _: {"values": np.ones(2)},
    "Sharded.add": lambda one: {
        "grads": np.ones(2),
        "part": gdopt.parallel.Part(0, 0.125),
    },
    "Sharded.step": lambda one: added(one),  # noqa: PLW0108 - it comes later
    "Sharded.load_state_dict": lambda one: {"saved": one.state_dict()},
    "Rule.__call__": operands,
    "RangeTest.plot": lambda _: {"path": Path("e.png")},
    "Space.__getitem__": lambda _: {"name": "x"},
    "choice.place": lambda _: {"value": "a"},
    "Trial.__getitem__": lambda _: {"name": "x"},
    "Trial.report": lambda _: {"score": 0.5, "step": 1},
}
for kind in ("MLPClassifier", "MLPRegressor"):
    METHODS |= {
        f"{kind}.{name}": lambda _: {"X": X, "y": Y}
        for name in ("fit", "partial_fit", "score")
    } | {
        f"{kind}.{name}": lambda _: {"X": X}
        for name in ("predict", "predict_proba", "predict_log_proba")
    }


# Methods by which gdopt's own parts talk to each other, or Optuna to a scale; a graph
# runs on a GPU alone.
INNER = {
    *(
        "Backend",
        "Dataset.of",
        "Layout.of",
        "Layout.only",
        "Layout.place",
        "ParameterCheck.at",
    ),
    *("EarlyStopping.begin", "EarlyStopping.end", "ReduceOnPlateau.begin"),
    *("EarlyStopping.__call__", "ReduceOnPlateau.__call__", "TrainingGraph.run"),
    *("Kernel.program", "Kernel.element_program", "Kernel.step", "Network.propagate"),
    *("NetworkStep.check", "NetworkStep.gradient_stats", "NetworkStep.stages"),
    *("Rule.bounds", "Rule.check_axes", "Rule.kind_of", "Rule.start"),
    *("Scale.draw", "Scale.narrowed", "Scale.value", "Space.draw", "Space.read"),
}
DUNDER = ("__call__", "__getitem__", "__setitem__")


def method_calls():
    """Return what makes each call, by its name, and the names that have none."""
    made, missing, seen = {}, [], set()
    classes = [one for one in public_classes() if not inspect.isabstract(one)]
    for own in classes:
        kind = own.__name__
        make = OBJECTS.get(kind, partial(example, kind))
        for name, function in methods_of(own):
            key = f"{kind}.{name}"
            general = "Scale" if issubclass(own, Scale) else kind
            if function in seen or not INNER.isdisjoint({f"{general}.{name}", kind}):
                continue
            seen.add(function)
            needed = METHODS.get(key, METHODS.get(function.__qualname__))
            if needed is None and name == "load_state_dict":
                needed = own_state
            if needed is None and [n for n in required(function) if n != "self"]:
                missing.append(key)
            else:
                made[key] = partial(call_of, make, name, needed or nothing)
    return made, missing


def methods_of(kind):
    """Yield the methods that a class has from gdopt, and their functions."""
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        function = inspect.unwrap(getattr(found, "__func__", found))
        own = inspect.isfunction(function) and function.__module__.startswith("gdopt.")
        if own and (not name.startswith("_") or name in DUNDER):
            yield name, function


def call_of(make, name, needed):
    one = make()
    return getattr(one, name), one, needed(one)


def added(one):
    for replica in one.own_replicas:
        one.add(np.ones(2), gdopt.parallel.Part(replica, 0.125))
    return {}


def own_state(one):
    return {"state": one.state_dict()}


def nothing(_):
    return {}
