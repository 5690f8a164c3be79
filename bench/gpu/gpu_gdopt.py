"""gdopt on CuPy arrays, in an arena or apart, and training plain and captured."""

from __future__ import annotations

import itertools

import cupy
import numpy as np
from adapters.gdopt_ import own_adam
from cases import HYPER
from cases_gpu import GpuCase, GpuTraining
from contenders import Contender

import gdopt
from gdopt.ewa.formula import average as formula
from gdopt.nn import Network


def wait():
    cupy.cuda.Device().synchronize()


def optimizer(case: GpuCase, params):
    if case.rule == "own":
        return gdopt.Optimizer(params, own_adam, **HYPER["adam"], **case.options)
    kinds = {"momentum": gdopt.Momentum, "rmsprop": gdopt.RMSprop}
    kinds |= {"adam": gdopt.Adam, "adamw": gdopt.AdamW, "sgd": gdopt.SGD}
    form = {"form": "heavy_ball"} if case.rule == "momentum" else {}
    return kinds[case.rule](params, **HYPER[case.rule], **form, **case.options)


def named(case: GpuCase, seed: int):
    return {
        f"p{k}": cupy.asarray(array.astype(case.dtype))
        for k, array in enumerate(case.arrays(seed))
    }


def make(_name: str, case: GpuCase) -> Contender:
    params, grads = named(case, 0), named(case, 1)
    if case.rule == "ewa":
        return average(params, grads)
    if case.layout == "arena":
        params, grads = gdopt.Arena.of(params), gdopt.Arena.of(grads)
    step = optimizer(case, params).step
    return Contender(lambda: step(grads), wait, lambda: values(params))


def values(params):
    return [array.get().astype(np.float32) for array in params.values()]


def average(params, grads) -> Contender:
    """Move an average towards values: the kernel that `gdopt.EWA` runs."""
    kernel = gdopt.Kernel(formula)
    beta = HYPER["ewa"]["beta"]
    pairs = list(zip(params.values(), grads.values(), strict=True))

    def step():
        for mean, x in pairs:
            kernel(mean, x, beta=beta)

    return Contender(step, wait, lambda: values(params))


def train(_name: str, training: GpuTraining) -> Contender:
    X, y = (cupy.asarray(array) for array in training.data())
    network = Network(training.sizes, seed=0, backend="cupy")
    network.check_data(X, y)
    descent = gdopt.Adam(network.params, **HYPER["adam"])
    batches = gdopt.minibatches(X, y, size=training.batch, seed=0)
    if training.captured:
        graph = gdopt.training.TrainingGraph(network, descent, batches)
        numbers = itertools.chain.from_iterable(
            batches.walk() for _ in itertools.count()
        )
        step = lambda: graph.run(*next(numbers))  # noqa: E731
    else:
        endless = itertools.chain.from_iterable(batches for _ in itertools.count())

        def step():
            x, labels = next(endless)
            _, grads = network.loss_and_grads(x, labels, checked=True)
            descent.step(grads)

    return Contender(step, wait, lambda: values(network.params))
