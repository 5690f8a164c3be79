"""Built-in formulas serve rules and loops of a user's own, and give the same bits."""

import numpy as np
import pytest
from twins import draw, send

import gdopt

ADAM = gdopt.rules.adam
SHAPE, BLOCKS = (12, 10), [np.s_[:5], np.s_[5:, :3], np.s_[5:, 3:]]


def wrapping(p, m, v, g, *, lr=1e-3, t):
    return gdopt.rules.adam(p, m, v, g, lr=lr, t=t)


@gdopt.rule(state=gdopt.rules.ftrl.initial, ranges=gdopt.rules.ftrl.ranges)
def like_ftrl(p, v, z, g, *, lr, l1, l2, l2_shrinkage, beta):
    given = {"l1": l1, "l2": l2, "l2_shrinkage": l2_shrinkage, "beta": beta}
    return gdopt.rules.ftrl(p, v, z, g, lr=lr, **given)


PAIRS = {
    "the formula itself": (lambda p: gdopt.Optimizer(p, ADAM), gdopt.Adam),
    "a rule that calls it": (lambda p: gdopt.Optimizer(p, wrapping), gdopt.Adam),
    "a rule with its start and ranges": (
        lambda p: gdopt.Optimizer(p, like_ftrl, **gdopt.rules.ftrl.defaults),
        gdopt.FTRL,
    ),
    "the formula, with options": (
        lambda p: gdopt.Optimizer(p, ADAM, clip_norm=0.5, ema=0.9),
        lambda p: gdopt.Adam(p, clip_norm=0.5, ema=0.9),
    ),
}


def assert_same(pair, start, rows):
    own, built_in = (make({n: a.copy() for n, a in start.items()}) for make in pair)
    for row in rows:
        own.step(row)
        built_in.step(row)
    for name, array in built_in.params.items():
        assert array.tobytes() == own.params[name].tobytes()
        for state, expected in built_in.state[name].items():
            assert expected.tobytes() == own.state[name][state].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_rule_that_wraps_a_built_in_one_gives_its_bits(pair, dtype, engine):
    rows = [draw(seed, (dtype,)) for seed in range(1, 5)]
    assert_same(PAIRS[pair], draw(0, (dtype,)), rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pair", PAIRS)
def test_on_the_device_it_gives_the_bits_too(pair, dtype, cp):
    rows = [send(cp, draw(seed, (dtype,))) for seed in range(1, 5)]
    assert_same(PAIRS[pair], send(cp, draw(0, (dtype,))), rows)


def test_a_range_taken_from_a_built_in_rule_is_kept():
    with pytest.raises(gdopt.ArgumentError, match=r"lr must be in \(0, inf\)"):
        gdopt.Optimizer(np.ones(2), like_ftrl, **{**gdopt.rules.ftrl.defaults, "lr": 0})


def in_blocks(xp, dtype):
    """Update blocks of arrays one after the other, and all at once by the optimizer."""
    start, *rows = (
        np.random.default_rng(seed).standard_normal(SHAPE).astype(dtype)
        for seed in range(4)
    )
    p, m, v = xp.asarray(start), *(xp.zeros(SHAPE, dtype) for _ in range(2))
    optimizer = gdopt.Adam(xp.asarray(start), lr=0.1, beta1=0.8)
    for t, row in enumerate(map(xp.asarray, rows), 1):
        for block in BLOCKS:
            arrays = p[block], m[block], v[block]
            optimizer.rule.kernel(*arrays, row[block], lr=0.1, beta1=0.8, t=t)
        optimizer.step(row)
    state = optimizer.state["0"]
    return (p, m, v), (optimizer.params["0"], state["m"], state["v"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_updates_blocks_as_the_optimizer_updates_arrays(dtype, engine):
    for own, expected in zip(*in_blocks(np, dtype), strict=True):
        assert own.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_the_device_a_kernel_updates_blocks_too(dtype, cp):
    for own, expected in zip(*in_blocks(cp, dtype), strict=True):
        assert own.tobytes() == expected.tobytes()


def test_a_kernel_leaves_what_is_around_its_block_alone(engine):
    p, m, v = np.full((3, *SHAPE), 7.0)
    block = np.s_[2:6, 1:9:2]
    ADAM.kernel(p[block], m[block], v[block], np.ones((4, 4)), t=1)
    for array in (p, m, v):
        assert (array != 7).sum() == 16
        array[block] = 7
        assert (array == 7).all()


@pytest.mark.parametrize("g", [0.5, np.ones((3, 2))])
def test_arguments_that_a_formula_does_not_compute_with_are_refused(g):
    scalars = dict.fromkeys(gdopt.rules.adafactor.kernel.signature.scalars, 0.5)
    p, r, c = np.ones((2, 3)), np.ones((2, 1)), np.ones((1, 3))
    with pytest.raises(gdopt.ArgumentError, match="must have arguments that fit, got"):
        gdopt.rules.adafactor(p, r, c, g, **scalars)
