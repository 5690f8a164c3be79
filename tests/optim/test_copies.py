"""An optimizer is copied and pickled with its arrays, state and settings."""

import copy
import pickle

import numpy as np
import pytest
from oracles import CASES

import gdopt
from gdopt import schedules

GENERATOR = np.random.default_rng(37)
START = {"W": GENERATOR.standard_normal((3, 2)), "b": GENERATOR.standard_normal(2)}
ROWS = [
    {name: GENERATOR.standard_normal(array.shape) for name, array in START.items()}
    for _ in range(6)
]


@gdopt.rule(ranges={"rate": "[0, inf)"})
def decorated(p, v, g, *, rate):
    v = v + g
    return p - rate * v, v


def plain(p, v, g, *, rate):
    v = v + g
    return p - rate * v, v


class Paced(gdopt.Adam):
    pace: float

    def __init__(self, params, pace):
        super().__init__(params, lr=1e-2 * pace, ema=0.5)
        self.pace = pace


def fresh():
    return {name: array.copy() for name, array in START.items()}


MADE = {
    "plain": lambda: gdopt.Adam(fresh()),
    "in an arena": lambda: gdopt.AdamW(gdopt.Arena.of(START), lr=0.1),
    "positional": lambda: gdopt.SGD([array.copy() for array in START.values()]),
    "a schedule": lambda: gdopt.SGD(fresh(), lr=schedules.cosine(0.5, 0, steps=9)),
    "by pattern": lambda: gdopt.SGD(fresh(), lr={"W": 0.5, "*": np.full(2, 0.1)}),
    "frozen": lambda: gdopt.Adam(fresh(), frozen="W"),
    "options": lambda: gdopt.Adam(
        fresh(), clip_norm=0.5, ema=0.5, accumulate=2, bounds=(-1.0, 1.0)
    ),
    "dynamic": lambda: gdopt.SGD(fresh(), loss_scale="dynamic", lookahead=(2, 0.5)),
    "a decorated rule": lambda: gdopt.Optimizer(fresh(), decorated, rate=0.1),
    "a plain rule": lambda: gdopt.Optimizer(fresh(), plain, rate=0.1, ema=0.5),
    "a variant": lambda: gdopt.Adagrad(fresh(), initial_accumulator=0.25),
    "matrices": lambda: gdopt.Muon(fresh(), lr=0.1, accumulate=2, ema=0.5),
    "matrices with others": lambda: gdopt.Muon(
        fresh(), others=lambda params, lr: gdopt.SGD(params, 0.5)
    ),
    "a subclass": lambda: Paced(fresh(), 2.0),
}
WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301 - our own
}


def step(optimizer, row):
    given = row if "W" in optimizer.params else list(row.values())
    return optimizer.step(given)


def values(optimizer):
    return {
        name: [array, *optimizer.state.get(name, {}).values()]
        for name, array in optimizer.params.items()
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("made", MADE)
def test_a_copy_goes_on_as_the_original_does(made, way, numpy_engine):
    optimizer = MADE[made]()
    for row in ROWS[:3]:
        step(optimizer, row)
    other = WAYS[way](optimizer)
    assert type(other) is type(optimizer)
    assert repr(other) == repr(optimizer)
    assert type(other.params) is type(optimizer.params)
    for row in ROWS[3:]:
        assert step(other, row) == step(optimizer, row)
    for name, arrays in values(optimizer).items():
        for one, another in zip(arrays, values(other)[name], strict=True):
            assert one is not another
            np.testing.assert_array_equal(one, another, strict=True)
    before = optimizer.params
    kept = {name: array.copy() for name, array in before.items()}
    step(other, ROWS[0])
    step(other, ROWS[0])
    for name, array in kept.items():
        np.testing.assert_array_equal(before[name], array)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_every_rule_is_copied(name, way, numpy_engine):
    optimizer = CASES[name].make(fresh())
    optimizer.step(ROWS[0])
    other = WAYS[way](optimizer)
    for one in (optimizer, other):
        one.step(ROWS[1])
    for key, array in optimizer.params.items():
        np.testing.assert_array_equal(other.params[key], array, strict=True)


def test_what_is_copied_together_stays_together(numpy_engine):
    params = fresh()
    both = copy.deepcopy({"params": params, "optimizer": gdopt.SGD(params, lr=1.0)})
    both["optimizer"].step(ROWS[0])
    np.testing.assert_array_equal(both["params"]["b"], START["b"] - ROWS[0]["b"])
    np.testing.assert_array_equal(params["b"], START["b"])


def test_attributes_of_a_subclass_are_copied(numpy_engine):
    for way in WAYS.values():
        assert way(Paced(fresh(), 2.0)).pace == 2.0


def test_a_rule_is_itself_where_it_is_copied():
    for rule in (decorated, gdopt.rules.adam):
        for way in WAYS.values():
            assert way(rule) is rule


@pytest.mark.gpu
def test_an_optimizer_is_copied_on_a_gpu(cp):
    optimizer = gdopt.Adam({name: cp.asarray(a) for name, a in START.items()})
    grads = {name: cp.asarray(array) for name, array in ROWS[0].items()}
    optimizer.step(grads)
    for way in WAYS.values():
        other = way(optimizer)
        other.step(grads)
        assert other.t == 2
    optimizer.step(grads)
    for name in START:
        assert (other.params[name] == optimizer.params[name]).all()
