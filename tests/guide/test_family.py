"""Every arrow of the family tree: where the child becomes its parent."""

import numpy as np
import pytest

import gdopt
from gdopt.problems import rosenbrock

optimizers = pytest.importorskip("gdopt.guide.pictures.optimizers")

STEPS = 30


def follow(make):
    """Return the points of 30 steps along Rosenbrock's valley."""
    problem = rosenbrock()
    p = np.array(problem.start)
    optimizer, points = make(p), []
    for _ in range(STEPS):
        optimizer.step(problem.gradient(p))
        points.append(p.copy())
    return np.array(points)


def states(make, name):
    """Return a state after each of 30 gradients that are the same for all."""
    rng = np.random.default_rng(0)
    optimizer, found = make(np.zeros(3)), []
    for _ in range(STEPS):
        optimizer.step(rng.standard_normal(3))
        found.append(optimizer.state["0"][name].copy())
    return np.array(found)


def momentum_that_forgets():
    child = follow(lambda p: gdopt.Momentum(p, lr=1e-3, beta=0.0))
    return child, follow(lambda p: gdopt.SGD(p, lr=1e-3))


def nesterovs_velocity():
    child = states(lambda p: gdopt.Nesterov(p, lr=1e-3, beta=0.9), "v")
    heavy = states(lambda p: gdopt.Momentum(p, lr=1e-3, form="heavy_ball"), "v")
    return child, heavy


def adagrad_of_even_slopes():
    """Of gradients of size 1 the sum is t: the rate decays as 1 / sqrt(t)."""
    p, q = np.zeros(2), np.zeros(2)
    child = gdopt.Adagrad(p, lr=0.1)
    parent = gdopt.SGD(q, lr=gdopt.schedules.inv_sqrt(0.1))
    for step in range(STEPS):
        gradient = np.array([1.0, (-1.0) ** step])
        child.step(gradient)
        parent.step(gradient)
    return p, q


def rmsprop_in_the_first_step():
    """An average of one square, without the past, is the sum of one square."""
    p, q = np.zeros(3), np.zeros(3)
    gradient = np.array([3.0, -0.2, 50.0])
    gdopt.RMSprop(p, lr=0.1, beta=0.0).step(gradient)
    gdopt.Adagrad(q, lr=0.1).step(gradient)
    return p, q


def adams_mean():
    child = states(gdopt.Adam, "m")
    return child, states(lambda p: gdopt.Momentum(p, beta=0.9), "v")


def adam_without_momentum():
    plain = {"beta1": 0.0, "beta2": 0.9, "bias_correction": False}
    child = follow(lambda p: gdopt.Adam(p, lr=0.01, **plain))
    return child, follow(lambda p: gdopt.RMSprop(p, lr=0.01, beta=0.9))


def adamw_without_decay():
    child = follow(lambda p: gdopt.AdamW(p, lr=0.01, weight_decay=0.0))
    return child, follow(lambda p: gdopt.Adam(p, lr=0.01))


ARROWS = {
    ("SGD", "Momentum"): momentum_that_forgets,
    ("Momentum", "Nesterov"): nesterovs_velocity,
    ("SGD", "Adagrad"): adagrad_of_even_slopes,
    ("Adagrad", "RMSprop"): rmsprop_in_the_first_step,
    ("Momentum", "Adam"): adams_mean,
    ("RMSprop", "Adam"): adam_without_momentum,
    ("Adam", "AdamW"): adamw_without_decay,
}


@pytest.mark.parametrize(("parent", "child"), ARROWS)
def test_the_child_becomes_its_parent_where_the_change_is_undone(parent, child):
    one, other = ARROWS[parent, child]()
    np.testing.assert_allclose(one, other, rtol=1e-6)  # epsilons apart
    assert np.abs(one).max() > 1e-3


@pytest.mark.slow
def test_every_arrow_that_is_drawn_is_tested(run_script):
    (axis,) = run_script(optimizers).figures["family.png"].axes
    written = {text.get_text() for text in axis.texts}
    named = {name for arrow in ARROWS for name in arrow}
    assert named <= written
    assert set(ARROWS) == set(optimizers.ARROWS)
    assert set(optimizers.ARROWS.values()) <= written
    assert named == set(optimizers.BOXES)
    assert named <= set(gdopt.__all__)
