"""A step that changes what no state names is refused, and its changes are undone."""

import functools
import random
from types import SimpleNamespace

import numpy as np
import pytest

import gdopt

X = np.ones((300, 2))
GLOBAL = np.zeros(2)


def helper(x):
    GLOBAL[...] += x[0]


class Model:
    def __init__(self, w):
        self.w = w

    def step(self, x):
        self.w += x[0]

    __call__ = step


def with_closure(w):
    def step(x):
        def inner():
            w.__iadd__(x[0])

        inner()

    return step


def with_variable(model):
    def step(x):
        model.step(x)

    return step


def with_default(w):
    def step(x, own=w, *, other=3):
        own += x[0]

    return step


def with_containers(w):
    parts = {"layers": [3, (w,)]}

    def step(x):
        parts["layers"][1][0][...] += x[0]

    return step


REACHED = {
    "w": with_closure,
    "default[0]": with_default,
    "parts['layers'][1][0]": with_containers,
    "self.w": lambda w: Model(w).step,
    "step.w": Model,
    "step[1]": lambda w: functools.partial(lambda w, x: w.__iadd__(x[0]), w),
    "model.w": lambda w: with_variable(Model(w)),
}


@pytest.mark.parametrize("name", REACHED)
def test_arrays_that_the_step_reaches_are_refused_by_their_names(quick, name):
    w = np.zeros(2)
    step = REACHED[name](w)
    with pytest.raises(gdopt.ArgumentError) as caught:
        quick(step, X)
    assert f"but it changed {name} too" in str(caught.value)
    assert not w.any()
    quick(step, X, w)
    assert not w.any()


class Caller:
    def __call__(self, x):
        helper(x)


def nested(x):
    def inner():
        helper(x)

    inner()


@pytest.mark.parametrize("step", [nested, Caller()])
def test_global_variables_and_functions_of_the_package_are_followed(quick, step):
    with pytest.raises(gdopt.ArgumentError, match="it changed GLOBAL too"):
        quick(step, X)
    assert not GLOBAL.any()


def optimizer():
    made = gdopt.SGD(np.zeros(2), lr=0.1)
    return made, lambda: made.step(np.ones(2)), lambda: made.t


def generator(kind):
    def make():
        made = kind(0)
        return made, made.random, made.random

    return make


def batches():
    made = gdopt.minibatches(X, batch_size=10, seed=0)
    return made, lambda: next(iter(made)), made.state_dict


def average():
    made = gdopt.EWA(0.9)
    return made, lambda: made.update(1.0), lambda: made.t


KINDS = {
    "an optimizer": optimizer,
    "NumPy's generator": generator(np.random.default_rng),
    "NumPy's former generator": generator(np.random.RandomState),
    "Python's generator": generator(random.Random),
    "batches": batches,
    "an average": average,
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_things_are_refused_and_restored_too(quick, kind):
    thing, change, look = KINDS[kind]()

    def step(x):
        change()

    with pytest.raises(gdopt.ArgumentError, match="state must name everything"):
        quick(step, X)
    assert look() == KINDS[kind]()[2]()
    quick(step, X, thing)


def test_a_networks_gradients_are_to_be_named_too(quick, numpy_engine):
    network = gdopt.nn.Network((2, 3, 2), seed=0, backend="numpy")
    opt = gdopt.Adam(network.params)
    data = X.astype(np.float32), np.zeros(300, int)

    def step(x, y):
        opt.step(network.loss_and_grads(x, y)[1])

    before = network.grads.flat.tobytes()
    with pytest.raises(gdopt.ArgumentError, match="it changed network too"):
        quick(step, data, opt)
    assert network.grads.flat.tobytes() == before
    quick(step, data, (network, opt))
    assert opt.t == 0


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_changes_of_later_steps_are_undone_too(quick, error):
    w, seen = np.zeros(2), []

    def step(x):
        seen.append(1)
        if len(seen) > 30:
            w[0] += 1
            if error is not None:
                raise error

    with pytest.raises(error or gdopt.ArgumentError):
        quick(step, X)
    assert not w.any()


def test_what_is_named_holds_what_lies_in_it(quick):
    whole = np.zeros((3, 4))
    params = gdopt.Arena.of({"W": np.zeros((2, 2)), "b": np.zeros(2)})
    opt = gdopt.SGD(params, lr=0.1)
    model = SimpleNamespace(
        part=whole[:, ::2], flat=params.flat, W=params["W"], opt=opt
    )

    def step(x):
        model.part[...] += 1
        model.opt.step(params.like())
        model.flat += 1

    quick(step, X, {"whole": whole, "opt": opt})
    assert not whole.any()
    assert not params.flat.any()


@pytest.mark.parametrize("draw", [random.random, random.gauss, np.random.normal])
def test_the_global_generators_need_not_be_named(quick, hashed, draw):
    before = hashed()
    quick(lambda x: draw(), X)
    assert hashed() == before


def test_what_does_not_change_need_not_be_named(quick):
    dev, fixed = np.ones((50, 2)), np.ones(2)
    fixed.flags.writeable = False
    counts = []

    def step(x):
        counts.append(float((x @ fixed).sum() + dev.sum() + X.sum()))

    assert quick(step, X).rows


def test_the_state_must_be_given():
    with pytest.raises(TypeError, match="'state'"):
        gdopt.plan_batch_size(lambda x: None, X)
